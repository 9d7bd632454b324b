"""What is looked at: a run as it is now, or as it was at another moment."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from harness.record.state import PhaseState, RunState
from harness.record.text import sentence
from harness.tui.history import Series

SILENT = 10.0
"""Seconds without a word after which what is on the screen is no longer taken for what is."""


class Mode(enum.StrEnum):
    """The badge: what kind of truth is on the screen."""

    LIVE = "LIVE"
    FROZEN = "FROZEN"  # the display stands still, the run goes on
    PAUSED = "PAUSED"  # the run's workloads are held
    REPLAY = "REPLAY"
    DISCONNECTED = "DISCONNECTED"  # the controller is gone, and has said nothing of an end


@dataclass(frozen=True, slots=True)
class Moment:
    """`t`: which moment, in seconds since the run began; `end`: until when the run is known, and `planned_end` until
    when it is to go on at least. `speed` of a replay, 0 when it stands. `read`: the share of the journal whose history
    is known, when that is not all; without a state, nothing can be told yet. `lost`: lines of the journal that could
    not be read. `is_cut_off`: nothing more will come, and no end was told: how things stand is how they stood last."""

    state: RunState
    series: Series
    t: float
    end: float
    planned_end: float
    mode: Mode
    speed: float = 0.0
    read: float | None = None
    lost: int = 0
    is_cut_off: bool = False

    @property
    def silence(self) -> float:
        """Seconds for which a run that goes on has said nothing, 0 below SILENT: it may hang, or be stopped."""
        silent = self.t - self.state.t if self.mode in (Mode.LIVE, Mode.PAUSED) and self.state.seq else 0.0
        return silent if silent >= SILENT else 0.0

    @property
    def drive(self) -> PhaseState | None:
        return next((phase for phase in self.state.phases if phase.phase == "drive"), None)

    @property
    def remaining(self) -> float | None:
        """Seconds of the drive that are left; None before it and after it, and where nobody goes on with it: how far a
        replay goes is known."""
        drive = self.drive
        is_over = self.is_cut_off or self.mode is Mode.REPLAY
        if is_over or drive is None or drive.ok is not None or drive.budget is None:
            return None
        return max(0.0, drive.started_at + drive.budget - self.t)


def so_far(state: RunState) -> tuple[str, str]:
    """The verdict as far as it can be told, and why: never better than what is known."""
    if state.finish is not None:
        word = state.finish.verdict if state.finish.status == "done" else state.finish.status.replace("-", " ")
        return word.upper(), sentence(state.finish.reason)
    expectations = state.expectations.values()
    bad = [one.expectation for one in expectations if one.verdict == "fail" or one.violation_count > 0]
    if bad:
        return "FAIL so far", ", ".join(bad)
    unknown = [one.expectation for one in expectations if one.verdict == "unknown"]
    if unknown:
        return "UNKNOWN so far", ", ".join(unknown)
    open_ = sum(not one.verdict for one in expectations)
    return "nothing wrong so far", f"{open_} of {len(state.expectations)} to be judged" if open_ else ""
