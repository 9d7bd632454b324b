"""A run that is looked at: its journal as far as it was read, and which moment of it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.record.events import Recorded
from harness.record.reduce import FREQUENT
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.tui.follow import Follower
from harness.tui.gist import Gist
from harness.tui.history import History, Series
from harness.tui.moment import Mode, Moment

READ_FOR = 0.03
"""Seconds that reading may take at once, so that keys are answered in between."""
LONG = 4 << 20
"""Bytes of a journal from which on its newest state is looked for first, and its history read behind that."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the controller is there."""
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Watching:
    """`told` is called with each event that is not frequent, and the state after it, in order. A run that is over, or
    `replay`, is a replay: it is played from the beginning (`replay`) or stands at its end."""

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
        self.trouble = ""
        """Why earlier moments could not be shown, "" where they could."""
        self.speed = speed
        self.playing = replay
        self._replay = replay
        self._told = told
        self._now = now
        self._follower = Follower(directory.journal)
        self.history = History(directory.journal)
        self._gist = Gist(directory.journal) if self._follower.behind > LONG else None
        self._newest: tuple[History, Follower] | None = None  # ahead of the history, while that is read
        self._held: tuple[float, RunState, Series] | None = None
        self._cursor: float | None = 0.0 if replay else None  # None: the newest there is
        self._alive = directory.is_alive()
        self._looked_at = time.monotonic()

    def advance(self, seconds: float) -> bool:
        """Read what is new, and play on by so many seconds. Whether there is more to be read at once."""
        began = time.monotonic()
        self._look(began)
        if self._gist is not None:
            if not self._gist.look(READ_FOR):
                self._newest = self._begin_with(self._gist)
                self._gist = None
            return True
        if self._newest is not None:
            newest, follower = self._newest
            for place, recorded in follower.read():
                newest.add(place, recorded)
        more = True
        while more and time.monotonic() - began < READ_FOR:
            more = self._read()
        if not more and self._newest is not None:
            self._newest[1].close()
            self._newest = None
        if self.playing and self._cursor is not None:
            self._cursor += seconds * self.speed
            if self._newest is not None:
                self._cursor = min(self._cursor, self.history.state.t)
            if self._cursor >= self.end and not self._is_live:
                self._cursor, self.playing = self.end, False
        return more

    def _read(self) -> bool:
        events = self._follower.read()
        for place, recorded in events:
            self.history.add(place, recorded)
            if type(recorded.event) not in FREQUENT:
                self._told(recorded, self.history.state)
        return bool(events)

    def _begin_with(self, gist: Gist) -> tuple[History, Follower]:
        newest = History(self.directory.journal)
        for place, recorded in gist.events():
            newest.add(place, recorded)
        return newest, Follower(self.directory.journal, gist.place)

    @property
    def latest(self) -> RunState:
        """The newest state that is known."""
        return self._front.state

    @property
    def _front(self) -> History:
        return self.history if self._newest is None else self._newest[0]

    @property
    def read(self) -> float | None:
        """The share of the journal whose history is known, None for all of it."""
        if self._gist is not None:
            return 0.0
        if self._newest is None:
            return None
        return self._follower.place / max(1, self._follower.place + self._follower.behind)

    @property
    def moment(self) -> Moment:
        """What is to be shown; the newest that is known when the journal is not there any more to seek in."""
        try:
            return self._moment()
        except OSError as error:
            self.trouble = f"{error.filename}: {error.strerror}"
            self.newest()
            return self._moment()

    def _moment(self) -> Moment:
        end = self.end
        t = end if self._cursor is None else min(self._cursor, end)
        state, series = self._shown(t)
        speed = self.speed if self.playing else 0.0
        is_cut_off = t >= end and not self._is_live and self.latest.finish is None
        lost = self._follower.skipped
        return Moment(state, series, t, end, self._planned_end, self.mode, speed, self.read, lost, is_cut_off)

    def _shown(self, t: float) -> tuple[RunState, Series]:
        front = self._front
        if self._cursor is None:
            return front.state, front.series
        if self._newest is None or t <= self.history.state.t:
            return self.history.at(t), self.history.series
        if self._held is None or self._held[0] != t:
            self._held = t, front.state, front.series
        return self._held[1:]

    @property
    def _planned_end(self) -> float:
        drive = next((phase for phase in self.latest.phases if phase.phase == "drive"), None)
        if not self._is_live or drive is None or drive.budget is None or drive.ok is not None:
            return 0.0
        return drive.started_at + drive.budget

    @property
    def end(self) -> float:
        """Until when the run is known: now, while it goes on."""
        state = self.latest
        if self._is_live and state.began:
            return max(state.t, self._now() - state.began)
        return state.t

    @property
    def mode(self) -> Mode:
        if self._replay or self.latest.finish is not None:
            return Mode.REPLAY
        if not self._is_live:
            return Mode.DISCONNECTED
        if self._cursor is not None:
            return Mode.FROZEN
        return Mode.PAUSED if self.latest.paused_at is not None else Mode.LIVE

    @property
    def shows_all(self) -> bool:
        """Whether what is shown is all that there is."""
        return self._cursor is None

    @property
    def stands(self) -> bool:
        """Whether it shows the same until a key is pressed."""
        return not self._is_live and not self.playing

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

    def seek(self, t: float) -> bool:
        """Show that moment; the display stands there. False where that has not been read yet: nothing happens."""
        t = min(max(0.0, t), self.end)
        if self.read is not None and self.history.state.t < t < self.end:
            return False
        self._cursor = t
        if self.mode is not Mode.REPLAY:
            self.playing = False
        return True

    def seek_by(self, seconds: float) -> bool:
        return self.seek((self.end if self._cursor is None else self._cursor) + seconds)

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
        if self._gist is not None:
            self._gist.close()
        if self._newest is not None:
            self._newest[1].close()

    @property
    def _is_live(self) -> bool:
        return self._alive and self.latest.finish is None

    def _look(self, now: float) -> None:
        if self._alive and now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._alive = self.directory.is_alive()
