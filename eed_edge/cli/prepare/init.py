"""``eed-edge init``: survey your own pictures and write a first recipe for them."""

from pathlib import Path

import click

from eed_edge.cli.display.output import print_answer, print_notice
from eed_edge.cli.options import help_examples
from eed_edge.printable import to_copy


@click.command(
    "init",
    short_help="Write a recipe for your own pictures.",
    epilog=help_examples(
        "eed-edge init my-pictures", "eed-edge init my-pictures --attack none --out plain.toml"
    ),
)
@click.argument("place", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The recipe's file (default: the folder's name, .toml)."
)
@click.option(
    "--attack",
    type=click.Choice(["n-fgsm", "pgd", "none"]),
    default="n-fgsm",
    show_default=True,
    help="What to train against; none: an ordinary classifier.",
)
def command(place: Path, out: Path | None, attack: str) -> None:
    """Survey the pictures in FOLDER, or in an NPZ file, and write a commented recipe that suits them.

    FOLDER has one subfolder of pictures per class, or train/ with such subfolders beside val/, test/ or both.
    """
    from eed_edge.atomic_files import write_atomic
    from eed_edge.cli.display.progress import progress_display
    from eed_edge.errors import RecipeError
    from eed_edge.recipe import load_recipe
    from eed_edge.train.data.picture_survey import survey
    from eed_edge.train.data.recipe_draft import check_enough, describe, draft_recipe, few_to_learn

    title = place.resolve().stem
    path = out or Path(f"{title}.toml")
    if path.exists():
        raise RecipeError(f"{path}: expected a new file, got one that is there; name another with --out")
    with progress_display():  # shows the log messages of ``survey``
        seen = survey(place)
    check_enough(seen)
    write_atomic(path, draft_recipe(seen, title=title, attack=attack).encode())
    recipe = load_recipe(str(path))
    print_answer(f"{place}: {describe(seen)}")
    if few := few_to_learn(seen, recipe.data):
        print_notice(f"warning: {few}")
    following = to_copy("train", path, "--data", place, "--run", "RUN")
    print_answer(f"wrote {path}; look at it, then: {following}")
