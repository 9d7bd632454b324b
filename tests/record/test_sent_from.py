"""The line that says which machines sent, and how late each was."""

from __future__ import annotations

import pytest

from harness.record.sent_from import MOST, sent_from
from harness.record.state import WorkloadState


def of(machines: object) -> str:
    return sent_from(WorkloadState("transactions", {}, 0.0, machines=machines))  # type: ignore[arg-type]


def sent(count: int, p99: float, longest: float) -> dict[str, object]:
    return {"started": count, "lateness": {"n": count, "p99": p99, "max": longest}}


def test_the_latest_comes_first_with_what_it_sent() -> None:
    line = of({"near": sent(600, 0.001, 0.002), "far": sent(1600, 0.3, 0.5)})
    assert line == "transactions came from far (1,600, p99/max 300ms/500ms late), near (600, p99/max 1ms/2ms late)"


def test_of_many_only_the_latest_are_told() -> None:
    line = of({f"host{n}": sent(1, n / 1000, 1.0) for n in range(MOST + 3)})
    assert line.startswith(f"transactions came from host{MOST + 2} (") and line.endswith(
        ", and 3 more that were less late"
    )
    assert "host2 " not in line and "host3 " in line


def test_none_sent_from_there() -> None:
    assert of({}) == ""


@pytest.mark.parametrize("said", [{}, {"lateness": 3}, {"lateness": {"p99": "x", "max": float("inf")}}, "text"])
def test_whatever_a_journal_says_is_told(said: object) -> None:
    of({"near\x1b[2J": said})
    assert "\x1b" not in of({"near\x1b[2J": said})
