"""The process behind one browser's screen: `python -m harness.serve.screen RUN_DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.record.rundir import RunDirectory
from harness.tui.look_only import LookOnlyApp


def main() -> None:
    LookOnlyApp(RunDirectory(Path(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
