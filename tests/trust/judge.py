"""Judge files in a process of its own, asked and answered in lines of JSON, killed when it takes too long."""

import json
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 120  # each is refused in one second of CPU; the machine may be busy


class Judge:
    """A process that judges one file after another; one that hangs is killed and started again."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, kind: str, path: Path) -> tuple[str, str]:
        """``accepted``, ``refused``, ``unexpected`` or ``hung``, and the message."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.trust.judge"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], MOST_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._end()
            return ("unexpected", "the process died") if ready else ("hung", f"after {MOST_SECONDS} seconds")
        verdict, message = json.loads(line)
        return verdict, message

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def verdict_of(kind: str, path: Path) -> tuple[str, str]:
    """Read a file as its kind, and say what came of it."""
    from eed_edge.errors import EedError

    try:
        if kind == "bundle":
            return _checked(path)
        _reader(kind)(path)
    except EedError as error:
        text = str(error)
        return ("refused" if "\n" not in text and len(text) < 1000 else "unexpected"), text
    except Exception as error:
        return "unexpected", f"{type(error).__name__}: {error}"
    return "accepted", ""


def _checked(path: Path) -> tuple[str, str]:
    """The command line's word on a bundle."""
    from click.testing import CliRunner

    from eed_edge.cli import main

    result = CliRunner().invoke(main, ["check", str(path)])
    if result.exit_code == 0:
        return "accepted", result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    plain = result.exit_code == 1 and len(errors) == 1 and result.stderr.replace("\n", "").isprintable()
    return ("refused" if plain and "unexpected" not in errors[0] else "unexpected"), result.stderr


def _reader(kind: str) -> Callable[[Path], object]:
    if kind == "picture":
        from eed_edge.images.preprocess import open_picture
        from eed_edge.manifest import InputSpec, Preprocess

        size = (224, 224)
        steps = Preprocess(resize=size)
        spec = InputSpec(name="images", shape=("N", 3, *size), channels="RGB", preprocess=steps)
        return lambda path: open_picture(path, spec)
    if kind == "npz":
        from eed_edge.images.npz import read_npz

        return read_npz
    from eed_edge.train.networks.checkpoint import load_network

    return load_network


def main() -> None:
    """Answer until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        kind, path = json.loads(line)
        print(json.dumps(verdict_of(kind, Path(path))), file=answers, flush=True)


if __name__ == "__main__":
    main()
