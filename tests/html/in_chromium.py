"""The page in Chromium: nothing wider than the screen, no message on the console, details opened in print.

Run by ``make report-test``, not by ``make test``: it needs Chromium.
"""

import html
import json
import re
import shutil
import subprocess

import pytest

from eed_edge.html.inputs import PageInputs, read_inputs
from eed_edge.html.page import render
from eed_edge.manifest import parse_manifest
from tests.html import sample
from tests.html.test_front import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """<iframe id="page" width="{width}" height="800" style="border: 0" src="page.html"></iframe>
<pre id="found"></pre><script>
page.onload = () => {{
  const inside = page.contentDocument;
  const wide = () => [...inside.querySelectorAll("body *")]
    .filter(each => !each.closest(".scroll > *, svg *") && each.getBoundingClientRect().right > {width} + 1)
    .map(each => each.outerHTML.slice(0, 80));
  const root = inside.documentElement, screens = root.scrollHeight / 800;
  const folded = {{wide: wide(), width: root.scrollWidth}};
  inside.querySelectorAll("details").forEach(each => each.open = true);
  const opened = {{wide: wide(), width: root.scrollWidth}};
  found.textContent = JSON.stringify({{screens, folded, opened}});
}};
</script>"""


def chromium(*words: object) -> subprocess.CompletedProcess:
    assert CHROMIUM is not None, "expected Chromium on the PATH; install it (apt-get install chromium)"
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--allow-file-access-from-files")
    command = [CHROMIUM, *flags, "--enable-logging=stderr", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def full_page(folder) -> str:
    return render(read_inputs(sample.fill(folder / "run", sample.full_report()), sample.bundle_manifest()))


def published_page(folder) -> str:
    model = ROOT / "models" / "cifar10-resnet18-w16"
    figures = json.loads((model / "report.json").read_text())
    return render(
        PageInputs(figures, parse_manifest((model / "bundle" / "manifest.json").read_bytes()), [], {})
    )


@pytest.mark.parametrize("make", [full_page, published_page])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen_and_the_console_stays_empty(tmp_path, make, width):
    (tmp_path / "page.html").write_text(make(tmp_path))
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    done = chromium("--dump-dom", f"--window-size={width + 100},900", tmp_path / "probe.html")
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert match is not None, done.stderr
    figures = json.loads(html.unescape(match[1]))
    assert figures["folded"] == figures["opened"] == {"wide": [], "width": width}
    assert figures["screens"] < 15
    assert "CONSOLE" not in done.stderr


def test_print_has_what_is_folded_on_the_screen(tmp_path):
    (tmp_path / "page.html").write_text(full_page(tmp_path))
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}", tmp_path / "page.html")
    reader = shutil.which("pdftotext")
    assert reader is not None, "expected pdftotext on the PATH; install it (apt-get install poppler-utils)"
    text = subprocess.check_output([reader, "-layout", tmp_path / "page.pdf", "-"], text=True)
    for folded in ("Paired differences", "numpy 2.4", "AutoAttack: masked", "Kept with attacked accuracy"):
        assert folded in text
