"""A run that is looked at: its journal as far as it was read, and which moment of it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.record.events import Recorded
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.tui.follow import Follower
from harness.tui.history import History
from harness.tui.moment import Mode, Moment

READ_FOR = 0.04
"""Seconds that reading may take at once, so that keys are answered in between."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the controller is there."""
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Watching:
    """`told` is called with each event and the state after it, in order. A run that is over, or `replay`, is a replay:
    it is played from the beginning (`replay`) or stands at its end."""

    def __init__(
        self,
        directory: RunDirectory,
        told: Callable[[Recorded, RunState], None],
        *,
        replay: bool = False,
        speed: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Raises OSError, as `advance` does, when the journal cannot be read."""
        self.directory = directory
        self.speed = speed
        self.playing = replay
        self._replay = replay
        self._told = told
        self._now = now
        self._follower = Follower(directory.journal)
        self.history = History(directory.journal)
        self._cursor: float | None = 0.0 if replay else None  # None: the newest there is
        self._alive = directory.is_alive()
        self._looked_at = time.monotonic()
        self._seen_at = time.monotonic()

    def advance(self, seconds: float) -> bool:
        """Read what is new, and play on by so many seconds. Whether there is more to be read at once."""
        began = time.monotonic()
        self._look(began)
        more = True
        while more and time.monotonic() - began < READ_FOR:
            events = self._follower.read()
            for place, recorded in events:
                self.history.add(place, recorded)
                self._told(recorded, self.history.state)
            more = bool(events)
        if self.playing and self._cursor is not None:
            self._cursor += seconds * self.speed
            if self._cursor >= self.end and not self._is_live:
                self._cursor, self.playing = self.end, False
        return more

    @property
    def is_loading(self) -> bool:
        """Whether much of the journal has not been read yet."""
        return self._follower.behind > 1 << 20

    @property
    def moment(self) -> Moment:
        """What is to be shown. Raises OSError when the journal cannot be read any more."""
        history, end = self.history, self.end
        t = end if self._cursor is None else min(self._cursor, end)
        state = history.state if self._cursor is None else history.at(t)
        return Moment(state, history.series, t, end, self._planned_end, self.mode, self.speed if self.playing else 0.0)

    @property
    def _planned_end(self) -> float:
        drive = next((phase for phase in self.history.state.phases if phase.phase == "drive"), None)
        if not self._is_live or drive is None or drive.budget is None or drive.ok is not None:
            return 0.0
        return drive.started_at + drive.budget

    @property
    def end(self) -> float:
        """Until when the run is known: now, while it goes on."""
        state = self.history.state
        if self._is_live and state.began:
            return max(state.t, self._now() - state.began)
        return state.t

    @property
    def mode(self) -> Mode:
        if self._replay or self.history.state.finish is not None:
            return Mode.REPLAY
        if not self._is_live:
            return Mode.DISCONNECTED
        if self._cursor is not None:
            return Mode.FROZEN
        return Mode.PAUSED if self.history.state.paused_at is not None else Mode.LIVE

    @property
    def shows_all(self) -> bool:
        """Whether what is shown is all that there is."""
        return self._cursor is None

    @property
    def can_steer(self) -> bool:
        """Whether there is a run to ask anything of."""
        return self._is_live

    def freeze(self) -> None:
        """Hold the display, or let it go on: from the newest, or where it stood in a replay."""
        if self.mode is Mode.REPLAY:
            if not self.playing and self._cursor is not None and self._cursor >= self.end:
                self._cursor = 0.0
            self._cursor = self.end if self._cursor is None else self._cursor
            self.playing = not self.playing
        else:
            self._cursor = self.end if self._cursor is None else None

    def seek(self, t: float) -> None:
        """Show that moment; the display stands there."""
        self._cursor = min(max(0.0, t), self.end)
        if self.mode is not Mode.REPLAY:
            self.playing = False

    def seek_by(self, seconds: float) -> None:
        self.seek((self.end if self._cursor is None else self._cursor) + seconds)

    def newest(self) -> None:
        """Back to what is happening, or to the end."""
        self._cursor = None
        self.playing = False

    def faster(self, by: int) -> None:
        """The next speed of a replay, or the one before."""
        nearest = min(range(len(SPEEDS)), key=lambda index: abs(SPEEDS[index] - self.speed))
        self.speed = SPEEDS[min(len(SPEEDS) - 1, max(0, nearest + by))]

    def close(self) -> None:
        self._follower.close()

    @property
    def _is_live(self) -> bool:
        return self._alive and self.history.state.finish is None

    def _look(self, now: float) -> None:
        if self._alive and now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._alive = self.directory.is_alive()
