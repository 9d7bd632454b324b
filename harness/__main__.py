"""`harness` and `python -m harness`."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from harness.cli.main import cli

        code = cli()
    except KeyboardInterrupt:  # while it was still being loaded, or already on its way out
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
