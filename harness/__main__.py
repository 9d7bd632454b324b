"""`harness` and `python -m harness`."""

from __future__ import annotations

import sys


def main() -> None:
    from harness.cli.main import cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
