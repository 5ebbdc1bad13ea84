"""``eed-edge completion``: let the shell complete commands, options, recipes, runs and bundles."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import help_examples

SHELLS = ("bash", "zsh", "fish")
# Without this, a shell whose start files do not set completion up knows no compdef.
_ZSH = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@click.command(
    "completion",
    short_help="Let the shell complete commands and recipes.",
    epilog=help_examples("eed-edge completion --install", "eed-edge completion bash > eed-edge.bash"),
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Set it up permanently for your shell.")
def command(shell: str | None, install: bool) -> None:
    """Print the completion script of a SHELL, or set it up with --install.

    Commands, options and their values, recipes, recipe fields after --set, runs and bundles are completed.
    SHELL is bash, zsh or fish (default: $SHELL). --install writes the script under ~/.local/share/eed-edge
    and a line that reads it into ~/.bashrc or ~/.zshrc; fish has a folder for such scripts.
    """
    from eed_edge.atomic_files import write_atomic

    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"expected {', '.join(SHELLS)}, got {name!r} in $SHELL; name one of these")
    script = _script(name)
    if not install:
        print_answer(script.rstrip("\n"))
        return
    if name == "fish":
        path = _folder("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "eed-edge.fish"
        write_atomic(path, script.encode())
        print_answer(f"wrote {path}; it takes effect in new shells")
        return
    path = _folder("XDG_DATA_HOME", ".local/share") / "eed-edge" / f"completion.{name}"
    write_atomic(path, script.encode())
    start = Path.home() / f".{name}rc"
    line = f'[ -r "{path}" ] && . "{path}"  # completion of eed-edge'
    before = start.read_text() if start.exists() else ""
    if line not in before.splitlines():
        with start.open("a") as stream:
            stream.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")
    print_answer(f"wrote {path}, which {start} reads; it takes effect in new shells")


def _script(shell: str) -> str:
    from eed_edge.cli import main

    completion = get_completion_class(shell)
    assert completion is not None
    source = completion(main, {}, "eed-edge", "_EED_EDGE_COMPLETE").source()
    return (_ZSH if shell == "zsh" else "") + source


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)
