"""What the terminal costs: `python benchmarks/terminal.py live [SECONDS]` or `… attach [NODES …]`.

`live`: a run of 200 nodes with a block a second each and 2,000 events a second in all is written, as its controller
would, beside `harness watch` in a pseudo-terminal. Told are the share of a core that the app takes, and how long it
takes from a key to what it shows. `attach`: how long it takes from the command to the first right screen of a run of
an hour (of 5, 50 and 200 nodes). CPU is user and system seconds of the app alone: the machine may have other things
to do."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from harness.record.codec import encode
from harness.record.events import (
    BlockObserved,
    CommandRan,
    Event,
    FaultStaged,
    NodeChanged,
    NodeMeasured,
    Note,
    PhaseStarted,
    Recorded,
    RunStarted,
    WorkloadProgress,
)
from harness.record.owner import Owner
from harness.record.rundir import RunDirectory

HOUR = 3600
VITALS_EVERY = 5
KEYS = (
    ("help", b"?", "What is looked at", b"\x1b", "3 expectations"),
    ("freeze", b" ", "FROZEN", b" ", "LIVE"),
    ("palette", b"\x10", "Search for commands", b"\x1b", "3 expectations"),
    ("node", b"\r", "what became of it", b"\x1b", "3 expectations"),
)
"""What a key shows, the key, words that are seen then; the key that undoes it, and words that are seen then."""
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>()][0-9A-B]?")


def beginning(nodes: int, duration: float) -> Iterator[Event]:
    names = names_of(nodes)
    about = {name: {"role": "validator", "machine": f"m{i % 8}", "links": []} for i, name in enumerate(names)}
    yield RunStarted(
        "bench", "bench", 1, "0", "devnet", "process", duration, 1, 6, "", about, ("transactions",), ("no-forks",)
    )
    yield PhaseStarted("drive", duration)
    for name in names:
        yield NodeChanged(name, "running", 1000)


def names_of(nodes: int) -> list[str]:
    return [f"validator-{n}" for n in range(nodes)]


def second(names: list[str], height: int, at: float, extra: int = 0) -> Iterator[Event]:
    """What a second of a run tells; with so many events more than blocks, figures and nodes' vitals make."""
    for name in names:
        yield BlockObserved(name, height, f"{height:064x}", f"{height - 1:064x}", at, names[height % len(names)], 40)
    yield WorkloadProgress("transactions", {"offered": 99 * height, "accepted": 98 * height, "included": 97 * height})
    for index, name in enumerate(names):
        if index % VITALS_EVERY == height % VITALS_EVERY:
            yield NodeMeasured(name, len(names) - 1, "devnet 1.0", 0.2, 50 << 20)
    for number in range(extra):
        name = names[number % len(names)]
        yield (
            NodeMeasured(name, len(names) - 1, "devnet 1.0", number / 1000, 50 << 20)
            if number % 4
            else CommandRan("m1", ("/usr/bin/tc", "qdisc", "show", "dev", "eth0"), 0, 0.01)
        )
    if height % 60 == 0:
        for stage in ("injected", "proven", "healing", "healed"):
            yield FaultStaged(f"f{height}", "restart", (names[height % len(names)],), stage)
        yield Note("engine", "warning", f"warning at {height}")


class Writer:
    """A journal, second by second."""

    def __init__(self, directory: RunDirectory, nodes: int, duration: float, began: float) -> None:
        self._file = directory.journal.open("wb", buffering=0)
        self._seq = 0
        self.began = began
        self.names = names_of(nodes)
        self.write(0.0, beginning(nodes, duration))

    def write(self, t: float, events: Iterator[Event]) -> int:
        lines = []
        for event in events:
            self._seq += 1
            lines.append(encode(Recorded(self._seq, round(self.began + t, 6), round(t, 6), event)))
        self._file.write(b"".join(lines))
        return len(lines)


def owned(root: Path) -> RunDirectory:
    """A run of this process."""
    directory = RunDirectory.create(root, "bench", time.time())
    directory.controller.write_text(json.dumps(asdict(Owner.current())))
    return directory


class Screen:
    """`harness watch` of a run, in a pseudo-terminal."""

    def __init__(self, directory: RunDirectory, columns: int = 120, rows: int = 36) -> None:
        self.began = time.monotonic()
        self.text = b""
        self.written = 0
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            environment.pop("CI", None)
            program = [sys.executable, "-m", "harness", "watch", str(directory.path)]
            time.sleep(0.1)  # until the size is set
            os.execvpe(program[0], program, environment)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float) -> None:
        if select.select([self._descriptor], [], [], seconds)[0]:
            data = os.read(self._descriptor, 1 << 16)
            self.written += len(data)
            self.text = (self.text + ESCAPES.sub(b"", data))[-(1 << 20) :]

    def drain(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self.read(left)

    def until(self, words: str, seconds: float) -> float:
        """Seconds until it shows them. Raises TimeoutError."""
        began = time.monotonic()
        while words.encode() not in self.text:
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{words!r} did not come; the end of what did: {self.text[-600:]!r}")
            self.read(0.5)
        return time.monotonic() - began

    def press(self, keys: bytes) -> None:
        self.text = b""
        os.write(self._descriptor, keys)

    def cpu(self) -> float:
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._descriptor)


def write_on(writer: Writer, height: int, extra: int) -> None:
    """For ever, in pieces of a tenth of a second."""
    while True:
        height += 1
        events = list(second(writer.names, height, writer.began + height, extra))
        for piece in range(10):
            writer.write(time.time() - writer.began, iter(events[piece::10]))
            time.sleep(max(0.0, writer.began + height + (piece + 1) / 10 - time.time()))


def live(root: Path, seconds: float, nodes: int = 200, events: int = 2000) -> None:
    directory = owned(root)
    extra = events - nodes - nodes // VITALS_EVERY - 1
    writer = Writer(directory, nodes, 600, time.time())
    child = os.fork()
    if child == 0:
        write_on(writer, 0, extra)
    screen = Screen(directory)
    try:
        screen.until("blocks/s", 30)
        screen.drain(time.monotonic() + 3)
        before, began, written = screen.cpu(), time.monotonic(), screen.written
        screen.drain(began + seconds)
        share = (screen.cpu() - before) / (time.monotonic() - began)
        rate = (screen.written - written) / (time.monotonic() - began)
        print(f"live, {nodes} nodes, {events} events/s: {share:.1%} of a core, {rate / 1024:.0f} kB/s drawn")
        for what in KEYS:
            pressed(screen, *what)
    finally:
        screen.close()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def pressed(screen: Screen, what: str, key: bytes, shows: str, back: bytes, returns: str) -> None:
    """Press a key and the one that undoes it, 20 times. CPU seconds are those of both, without what goes on anyhow."""
    before, began = screen.cpu(), time.monotonic()
    screen.drain(began + 3)
    idle = (screen.cpu() - before) / (time.monotonic() - began)
    taken, returned = [], []
    before, began = screen.cpu(), time.monotonic()
    for _ in range(20):
        screen.press(key)
        taken.append(screen.until(shows, 10))
        screen.drain(time.monotonic() + 0.2)
        screen.press(back)
        returned.append(screen.until(returns, 10))
        screen.drain(time.monotonic() + 0.2)
    spent = (screen.cpu() - before - idle * (time.monotonic() - began)) / 20
    print(f"  {what:8} shown after {told(taken)}; gone after {told(returned)}; {spent * 1e3:.0f} ms of CPU for both")


def told(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms (worst {max(seconds) * 1e3:.0f})"


def attach(root: Path, nodes: int) -> None:
    directory = owned(root)
    writer = Writer(directory, nodes, HOUR + 60, time.time() - HOUR)
    count = sum(
        writer.write(float(height), second(writer.names, height, writer.began + height)) for height in range(1, HOUR)
    )
    size = directory.journal.stat().st_size
    screen = Screen(directory)
    try:
        screen.until(f"height {HOUR - 1:,}", 300)
        first, cpu = time.monotonic() - screen.began, screen.cpu()
        print(
            f"attach, {nodes} nodes, {count:,} events, {size >> 20} MB: first right screen after {first:.2f} s "
            f"({cpu:.2f} s of CPU)"
        )
    finally:
        screen.close()
        directory.journal.unlink()


def main() -> None:
    what, numbers = (sys.argv[1:2] or ["live"])[0], [int(word) for word in sys.argv[2:] if word.isdecimal()]
    with tempfile.TemporaryDirectory() as folder:
        if what == "live":
            live(Path(folder), numbers[0] if numbers else 20)
        else:
            for nodes in numbers or [5, 50, 200]:
                attach(Path(folder), nodes)


main()
