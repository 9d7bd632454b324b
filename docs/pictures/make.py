"""Makes pictures of the terminal: `python docs/pictures/make.py [NAME …]`. The runs are real, recorded for tests."""

from __future__ import annotations

import asyncio
import gzip
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp
from harness.tui.screens.node import NodeScreen

HERE = Path(__file__).absolute().parent
JOURNALS = HERE.parents[1] / "tests/tui/journals"
PICTURES = {
    "partition": ("partitioned", 88.0, ""),
    "failed": ("failing", None, ""),
    "node": ("two_hundred", 66.0, "validator-12"),
}
"""Name of the picture → recorded run, the moment that is looked at (seconds; None: its end), and the node, if any."""
SIZE = (132, 38)


async def picture(name: str, journal: str, t: float | None, node: str) -> None:
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        directory = RunDirectory(Path(f"2026-01-31T12-00-00-{journal}-7f3a"))
        directory.logs.mkdir(parents=True)
        directory.journal.write_bytes(gzip.decompress((JOURNALS / f"{journal}.jsonl.gz").read_bytes()))
        for log in (JOURNALS / journal).glob("*.log"):
            directory.log(log.stem).write_bytes(log.read_bytes())
        app = RunApp(directory)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause(1.0)
            if t is not None:
                app.watching.seek(t)
                await pilot.pause(0.5)
            if node:
                await app.push_screen(NodeScreen(node))
                await pilot.pause(0.5)
            (HERE / f"{name}.svg").write_text(app.export_screenshot(title="harness watch"))


async def main() -> None:
    for name, shown in PICTURES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            await picture(name, *shown)


if __name__ == "__main__":
    asyncio.run(main())
