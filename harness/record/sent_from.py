"""Which machines a workload's load came from, and how late each was, in a line. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.record.state import WorkloadState
from harness.record.text import figure, one_line
from harness.spec.durations import format_duration

MOST = 6


def sent_from(workload: WorkloadState) -> str:
    """The latest ones first, so many at most; "" where no machine of the group `load` sent."""
    machines = [(name, said) for name, said in workload.machines.items() if isinstance(said, Mapping)]
    if not machines:
        return ""
    machines.sort(key=lambda one: -_late(one[1], "p99"))
    shown = [
        f"{one_line(name)} ({figure(said.get('started', 0))}, p99/max {format_duration(_late(said, 'p99'))}/"
        f"{format_duration(_late(said, 'max'))} late)"
        for name, said in machines[:MOST]
    ]
    if more := machines[MOST:]:
        shown.append(f"and {len(more)} more that were less late")
    return f"{one_line(workload.workload)} came from {', '.join(shown)}"


def _late(said: Mapping[str, Any], name: str) -> float:
    lateness = said.get("lateness")
    value = lateness.get(name) if isinstance(lateness, Mapping) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else 0.0
