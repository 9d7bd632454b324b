"""An hour of load in a few minutes: does what the controller keeps of it stay bounded?

    python benchmarks/load_memory.py [--rate 1000] [--seconds 3600]

The controller's record of transactions is driven as senders drive it, on a clock that only counts: so many a second are
prepared, told of in batches of 20 ms, put into a block a second and settled; each is written to samples.sqlite, and
each sender's second too. Told are the resident bytes as they grow (proc(5)), and what is in the file at the end. A
controller has its network beside that: see `Maximum resident set size` of a real run."""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

from harness.clock import SystemClock
from harness.load.tally import Tally, Told, count
from harness.observe.blocks import Block, BlockHeader
from harness.observe.samples import SampleStore
from harness.observe.tracker import Tracker

STEP = 0.02


class CountedClock(SystemClock):
    """Time is what somebody says that it is."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0

    def now(self) -> float:
        return self.moment


def resident() -> float:
    """Megabytes of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=3600)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clock = CountedClock()
        samples = SampleStore(Path(folder) / "samples.sqlite", clock)
        tracker = Tracker("load", clock, 6, record=samples.submission, record_load=samples.load)
        account = tracker.sent_by([""])
        began = time.monotonic()
        for second in range(asked.seconds):
            _second(tracker, clock, second, asked.rate)
            tally = Tally(offered=asked.rate, started=asked.rate, taken=asked.rate)
            for number in range(asked.rate):
                count(tally.response, number * 7e-6)
            account.told(0, Told(float(second), second + 1.0, tally, 0, 0.1, 0))
            if second % 600 == 0 or second == asked.seconds - 1:
                print(f"{second:5d} s: {resident():6.1f} MB, {tracker.figures()['included']:,} included", flush=True)
        samples.close()
        with sqlite3.connect(Path(folder) / "samples.sqlite") as file:
            (rows,) = file.execute("SELECT count(*) FROM submissions").fetchone()
        size = (Path(folder) / "samples.sqlite").stat().st_size
        print(f"{rows:,} submissions in {size / 1e6:.0f} MB of samples.sqlite, {samples.dropped:,} not written")
        print(f"{time.monotonic() - began:.0f} s of this clock for {asked.seconds} s of that one")


def _second(tracker: Tracker, clock: CountedClock, second: int, rate: int) -> None:
    ids = [f"{second:08x}{number:056x}" for number in range(rate)]
    effects = [{f"from-{number % 100}": -3, f"to-{number % 77}": 2} for number in range(rate)]
    tickets = [tracker.prepare(id, effect) for id, effect in zip(ids, effects, strict=True)]
    for step in range(int(1 / STEP)):
        clock.moment = second + (step + 1) * STEP
        for number in range(step * rate // 50, (step + 1) * rate // 50):
            intended = second + number / rate
            tracker.sent(tickets[number], intended, intended)
            tracker.accepted(tickets[number], ids[number], "n", at=intended + 0.002)
    header = BlockHeader(second + 1, f"block-{second}", f"block-{second - 1}", float(second), "n", rate)
    tracker.saw(Block(header, tuple(ids)), "n", clock.moment)


if __name__ == "__main__":
    main()
