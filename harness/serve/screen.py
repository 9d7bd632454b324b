"""The process behind one browser's screen: `python -m harness.serve.screen RUN_DIRECTORY`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.record.rundir import RunDirectory
from harness.tui.look_only import LookOnlyApp

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the server is there."""


class ServedApp(LookOnlyApp):
    """Ends with its server also where that was killed, and could not say so."""

    def on_mount(self) -> None:
        self._server = os.getppid()
        self.set_interval(LOOK_EVERY, self._look)

    def _look(self) -> None:
        if os.getppid() != self._server:
            os._exit(0)  # nobody reads what is drawn any more: there is nothing to be put back in order


def main() -> None:
    ServedApp(RunDirectory(Path(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
