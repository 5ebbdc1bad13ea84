"""``eed-edge web``: a bundle as a page in the browser."""

import contextlib
from pathlib import Path

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import PATH, bundle_argument, help_examples


@click.command(
    "web",
    short_help="Show a bundle at work, as a page in the browser.",
    epilog=help_examples("eed-edge web bundle --run run", "eed-edge web bundle --run run --out page"),
)
@bundle_argument
@click.option("--run", type=PATH, help="The run it was exported from: test images, stored attacks, dense.")
@click.option("--out", type=PATH, help="Write the page as a folder for any static host; serve nothing.")
def command(bundle: Path, run: Path | None, out: Path | None) -> None:
    """Show BUNDLE as a page in the browser, served to this machine alone until interrupted.

    The networks run in the browser; no picture leaves it. BUNDLE may be hf:OWNER/NAME@REVISION, as in run.
    """
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.runtime.bundle.hub import local_path
    from eed_edge.web.browser_engine import read_engine
    from eed_edge.web.page_site import build_site, write_site

    folder = Path(local_path(bundle))
    open_bundle(folder)  # first, so that a wrong BUNDLE is reported before a missing onnxruntime-web
    site = build_site(folder, run, read_engine())
    if out is None:
        serve_page(site)
    else:
        write_site(site, out)
        print_answer(f"page: {out / 'index.html'}; it needs a web server, any static one")


def serve_page(site: dict[str, bytes]) -> None:
    """Serve the page until the command is interrupted."""
    from eed_edge.web.page_server import PageServer

    with PageServer(site) as server:
        print_answer(f"page: {server.address}  (end it with Ctrl-C)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
