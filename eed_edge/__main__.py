"""``python -m eed_edge`` is the command ``eed-edge``."""

from eed_edge.cli import main

if __name__ == "__main__":
    main(prog_name="eed-edge")
