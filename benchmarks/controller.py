"""What the controller costs: start-up, standing up and taking down five nodes, memory and CPU of a run.

    python benchmarks/controller.py [--sustained SECONDS]

Times are the best of several, given also as a ratio to a bare interpreter's start in the same run: these machines
are noisy, the ratio is not. Linux only: CPU and memory are read from /proc."""

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


FIFTY = """
name = "fifty nodes"
chain = { use = "devnet", slot_duration = "500ms", active_slot_coeff = 0.5 }
duration = "30s"
ready_timeout = "120s"
[topology]
layout = "random"
degree = 4
validators = 40
executors = 10
[[expectations]]
use = "consensus-liveness"
[[expectations]]
use = "no-forks"
"""
"""One block a second on average, at each of fifty real nodes."""


def run_playbook(playbook: Path, *extra: str) -> dict[str, Any]:
    """Run it. Seconds of each phase; the controller's own CPU during the drive, as a share of one core (its
    children's not counted), and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "harness", "run", str(playbook), "--runs", folder, "--output", "json", *extra]
        seconds: dict[str, float] = {}
        busy = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as controller:
            assert controller.stdout is not None
            for line in controller.stdout:
                event = json.loads(line)
                if event["kind"] == "phase-started" and event["phase"] == "drive":
                    busy = -cpu_seconds(controller.pid)
                if event["kind"] == "phase-ended":
                    seconds[event["phase"]] = round(event["seconds"], 2)
                    if event["phase"] == "drive":
                        busy += cpu_seconds(controller.pid)
                    if event["phase"] == "teardown":
                        peak = peak_mb(controller.pid)
    return {
        "exit": controller.returncode,
        "phase_seconds": seconds,
        "controller_core_share_in_drive": round(busy / seconds["drive"], 3),
        "controller_peak_mb": round(peak, 1),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of this process alone (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The kernel's own record of a process's greatest resident memory (VmHWM of proc(5) status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


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
    report["quickstart"] = run_playbook(ROOT / "playbooks" / "quickstart.toml")
    duration = f"duration={arguments.sustained}s"
    report["sustained_load"] = run_playbook(ROOT / "playbooks" / "sustained_load.toml", "-e", duration)
    with tempfile.TemporaryDirectory() as folder:
        fifty = Path(folder) / "fifty.toml"
        fifty.write_text(FIFTY)
        report["fifty nodes, a block a second"] = run_playbook(fifty)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
