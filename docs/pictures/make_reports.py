"""Makes the pictures of reports in this folder: `python docs/pictures/make_reports.py`. Needs Chromium, and minutes.

With `--runs FOLDER` from the latest runs of the two playbooks in that folder, instead of new ones."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.cli.reporting import matrix_of, write_matrix, write_report
from harness.record.rundir import RunDirectory, list_runs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH = 1280
PLAYBOOKS = {"network-partition": "100s", "load-progression": "20s"}


def make_runs(folder: Path) -> None:
    for name, duration in PLAYBOOKS.items():
        playbook = ROOT / "playbooks" / f"{name.replace('-', '_')}.toml"
        command = [sys.executable, "-m", "harness", "run", str(playbook), "-e", f"duration={duration}"]
        subprocess.run([*command, "--runs", str(folder), "--output", "plain"], check=True, cwd=ROOT)


def latest(folder: Path, name: str) -> RunDirectory:
    return [run for run in list_runs(folder) if f"-{name}-" in run.run_id][-1]


def picture(page: Path, to: Path, height: int) -> None:
    chromium = next(found for name in ("chromium", "google-chrome") if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        shot = [f"--window-size={WIDTH},{height}", f"--screenshot={to}", page.as_uri()]
        subprocess.run([chromium, *options, *shot], check=True, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as fresh:
        folder = given or Path(fresh)
        if given is None:
            make_runs(folder)
        page = Path(fresh) / "page.html"
        write_report(latest(folder, "network-partition"), page)
        picture(page, HERE / "report.png", 2175)
        write_matrix(matrix_of(latest(folder, "load-progression")), page)
        picture(page, HERE / "matrix.png", 900)


if __name__ == "__main__":
    main()
