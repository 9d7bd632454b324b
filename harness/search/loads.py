"""What each workload's load came to in the drive of a run, for measures: from its final state and its samples."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from harness.record.state import RunState
from harness.report.charts import drive_of
from harness.report.matrix import Flow
from harness.report.samples import open_samples, read_latencies

_IN_TIME = """SELECT tracker, count(*) FROM submissions
    WHERE outcome = 'accepted' AND included_at <= ? GROUP BY tracker"""


def loads_of(state: RunState, samples: Path) -> Mapping[str, Flow]:
    """By workload, per second of the drive; none of a run that did not come so far. Achieved is what was in a block by
    the end of the drive; of what is followed into no block, what was answered well. Raises sqlite3.Error."""
    drive = drive_of(state)
    if drive is None or state.run is None:
        return {}
    # A drive may last longer than asked for, until what was begun is over: nothing is offered then.
    seconds = min(drive[1] - drive[0], state.run.duration or drive[1] - drive[0])
    if seconds <= 0:
        return {}
    in_time = _in_time(samples, state.began + drive[0] + seconds)
    latencies = read_latencies(samples, state.began).latencies
    loads = {}
    for name, workload in state.workloads.items():
        counts = workload.figures
        if not all(isinstance(counts.get(what), int) for what in ("offered", "accepted")):
            continue
        p50, p99 = workload.latency.get("p50"), workload.latency.get("p99")
        achieved = counts["accepted"]
        if "included" in counts:
            whole = latencies[name].whole if name in latencies else None
            p50, p99 = (whole.p50, whole.p99) if whole else (None, None)
            achieved = in_time.get(name, 0)
        loads[name] = Flow(counts["offered"] / seconds, counts["accepted"] / seconds, achieved / seconds, p50, p99)
    return loads


def _in_time(samples: Path, end: float) -> Mapping[str, int]:
    if not samples.exists():
        return {}
    with closing(open_samples(samples)) as db:
        return dict(db.execute(_IN_TIME, (end,)))
