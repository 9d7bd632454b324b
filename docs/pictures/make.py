"""Makes the pictures of the terminal: `python docs/pictures/make.py`. The runs are real ones, recorded for tests."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from pathlib import Path

from harness.record.rundir import RunDirectory
from harness.tui.app import RunApp

HERE = Path(__file__).parent
JOURNALS = HERE.parents[1] / "tests/tui/journals"
PICTURES = {"partition": ("partitioned", 95.0), "failed": ("failing", None)}
"""Name of the picture → recorded run, and the moment that is looked at (seconds), None for its end."""
SIZE = (132, 38)


async def picture(name: str, journal: str, t: float | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / f"2026-01-31T12-00-00-{journal}-7f3a")
        directory.logs.mkdir(parents=True)
        directory.journal.write_bytes(gzip.decompress((JOURNALS / f"{journal}.jsonl.gz").read_bytes()))
        app = RunApp(directory)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause(1.0)
            if t is not None:
                app.watching.seek(t)
                await pilot.pause(0.5)
            (HERE / f"{name}.svg").write_text(app.export_screenshot(title="harness watch"))


async def main() -> None:
    for name, (journal, t) in PICTURES.items():
        await picture(name, journal, t)


if __name__ == "__main__":
    asyncio.run(main())
