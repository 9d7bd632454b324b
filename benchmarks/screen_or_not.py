"""Whether a run minds being watched: `python benchmarks/screen_or_not.py [SECONDS] [ROUNDS]`.

The same playbook with the same seed, for so many seconds (60), is run in a pseudo-terminal of 120×36 with and without
the screen, by turns, so many times each (3). Compared are verdicts, what was offered, accepted and included, latencies
from the intended send to the answer (which is how late it was sent and how long it took) and to the final block, and
CPU seconds of the controller alone. What the screen itself takes is told besides: it is a process of its own."""

from __future__ import annotations

import fcntl
import json
import math
import os
import pty
import select
import sqlite3
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PLAYBOOK = """
name = "watched or not"
chain = {{ use = "devnet", slot_duration = "500ms" }}
duration = "{seconds}s"
seed = 7
[topology]
validators = 4
[wallets]
count = 200
[[workloads]]
use = "transactions"
rate = "{rate}/s"
users = 50
[[expectations]]
use = "consensus-liveness"
[[expectations]]
use = "no-forks"
[[expectations]]
use = "nodes-healthy"
"""
RATE = 50
LEAVE_AFTER = 2.0
"""Seconds after its end for which the screen is left on, before `q` is typed."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """Times in seconds."""

    output: str
    verdict: str
    offered: int
    accepted: int
    included: int
    answer_p50: float
    answer_p99: float
    latency_p50: float
    latency_p99: float
    controller: float
    screen: float | None


def cpu(pid: int) -> float | None:
    """User and system seconds so far; None of a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(folder: Path, output: str, seconds: int) -> Measured:
    folder.mkdir()
    (folder / "watched.toml").write_text(PLAYBOOK.format(seconds=seconds, rate=RATE))
    pid, descriptor = pty.fork()
    if pid == 0:
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment.pop("CI", None)
        os.chdir(folder)
        time.sleep(0.1)  # until the size is set
        words = [sys.executable, "-m", "harness", "run", "watched.toml", "--runs", "runs", "--output", output]
        os.execvpe(words[0], words, environment)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    controller, screen = 0.0, 0.0
    ended: float | None = None
    while True:
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                if not os.read(descriptor, 1 << 16):
                    break
            except OSError:  # its other end is closed
                break
        screen = cpu(pid) or screen
        for owner in folder.glob("runs/*/controller.json"):
            controller = cpu(json.loads(owner.read_text())["pid"]) or controller
        if ended is None and any(folder.glob("runs/*/result.json")):
            ended = time.monotonic()
        if ended is not None and output == "screen" and time.monotonic() - ended > LEAVE_AFTER:
            os.write(descriptor, b"q")
            ended = math.inf
    os.waitpid(pid, 0)
    os.close(descriptor)
    [run] = (folder / "runs").iterdir()
    return read(run, output, controller, screen if output == "screen" else None)


def read(run: Path, output: str, controller: float, screen: float | None) -> Measured:
    result = json.loads((run / "result.json").read_text())
    figures = result["workloads"]["transactions"]
    with sqlite3.connect(run / "samples.sqlite") as samples:
        rows = samples.execute("SELECT intended_at, answered_at, included_at FROM submissions").fetchall()
    answers = sorted(answered - intended for intended, answered, _ in rows if answered is not None)
    latencies = sorted(included - intended for intended, _, included in rows if included is not None)
    return Measured(
        output,
        ", ".join([result["verdict"], *(f"{one['id']} {one['verdict']}" for one in result["expectations"])]),
        figures["offered"],
        figures["accepted"],
        figures["included"],
        percentile(answers, 0.5),
        percentile(answers, 0.99),
        percentile(latencies, 0.5),
        percentile(latencies, 0.99),
        controller,
        screen,
    )


def percentile(values: Sequence[float], share: float) -> float:
    return values[max(1, math.ceil(share * len(values))) - 1]


def main() -> None:
    seconds, rounds = (int(word) for word in (*sys.argv[1:3], *("60", "3")[len(sys.argv) - 1 :]))
    print(f"{seconds} s at {RATE} transactions/s; load before: {os.getloadavg()[0]:.1f}")
    print(f"{'':8}{'offered':>9}{'accepted':>10}{'included':>10}{'answer p50':>12}{'p99':>9}{'included p50':>14}"
          f"{'p99':>9}{'controller':>12}{'screen':>9}")  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 * rounds):
            one = measure(Path(folder) / str(number), ("plain", "screen")[number % 2], seconds)
            found.append(one)
            took = "" if one.screen is None else f"{one.screen:.2f} s"
            print(f"{one.output:8}{one.offered:9,}{one.accepted:10,}{one.included:10,}{one.answer_p50 * 1e3:9.1f} ms"
                  f"{one.answer_p99 * 1e3:6.0f} ms{one.latency_p50 * 1e3:11.0f} ms{one.latency_p99 * 1e3:6.0f} ms"
                  f"{one.controller:10.2f} s{took:>9}", flush=True)  # fmt: skip
    verdicts = {one.verdict for one in found}
    print(f"verdicts: {' / '.join(verdicts)}")
    if len(verdicts) > 1:
        raise SystemExit("not all runs came to the same verdict")


if __name__ == "__main__":
    main()
