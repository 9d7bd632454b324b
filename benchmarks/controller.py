"""What the controller costs: start-up, standing up and taking down five nodes, memory and CPU of a run.

    python benchmarks/controller.py [--sustained SECONDS]

Times are the best of several, given also as a ratio to a bare interpreter's start in the same run: these machines
are noisy, the ratio is not. Memory is the kernel's own peak (VmHWM) of the controller process."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def best_of(times: int, command: list[str]) -> float:
    """Seconds of the fastest of several runs."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return min(taken)


def phases(run: Path) -> dict[str, float]:
    """Seconds that each phase of a run took, by its journal."""
    events = (json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines())
    return {e["phase"]: e["seconds"] for e in events if e["kind"] == "phase-ended"}


def run_playbook(playbook: str, *extra: str) -> dict[str, Any]:
    """Run it; phases, and what the controller used: peak MB, CPU seconds, share of one core."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "harness", "run", str(ROOT / "playbooks" / playbook), "--runs", folder, *extra]
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.PIPE, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        [run] = Path(folder).iterdir()
        own = usage.ru_utime + usage.ru_stime
        return {
            "exit": process.returncode,
            "phases": {name: round(seconds, 2) for name, seconds in phases(run).items()},
            "peak_mb": round(usage.ru_maxrss / 1024, 1),
            "cpu_seconds_with_nodes_reaped": round(own, 2),
            "wall_seconds": round(wall, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sustained", type=int, default=60, metavar="SECONDS", help="length of sustained_load")
    arguments = parser.parse_args()
    bare = best_of(10, [sys.executable, "-c", "pass"])
    report: dict[str, Any] = {"python_start_seconds": round(bare, 3)}
    for name, command in {
        "harness --help": ["--help"],
        "harness plugins list": ["plugins", "list"],
        "harness check quickstart": ["check", str(ROOT / "playbooks" / "quickstart.toml")],
    }.items():
        seconds = best_of(10, [sys.executable, "-m", "harness", *command])
        report[name] = {"seconds": round(seconds, 3), "times_bare_python": round(seconds / bare, 1)}
    report["quickstart"] = run_playbook("quickstart.toml")
    report["sustained_load"] = run_playbook("sustained_load.toml", "-e", f"duration={arguments.sustained}s")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
