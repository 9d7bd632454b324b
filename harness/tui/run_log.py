"""What happened in the run, a line each, to be read along."""

from __future__ import annotations

from bisect import bisect_right

from rich.text import Text

from harness.record.events import Recorded
from harness.record.render import STYLES
from harness.record.state import RunState
from harness.record.summary import moment
from harness.record.tables import Mood
from harness.record.telling import told
from harness.tui.look import DIM, cut

_MOMENT = 9


class RunLog:
    """A source of lines. `until` hides what came after a moment."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._lines: list[tuple[str, Mood]] = []
        self.until = float("inf")

    def add(self, recorded: Recorded, state: RunState) -> None:
        text, mood = told(recorded, state)
        if text:
            self._times.append(recorded.t)
            self._lines.append((text, mood))

    def __len__(self) -> int:
        return bisect_right(self._times, self.until)

    def heading(self, width: int) -> Text:
        return Text()

    def line(self, index: int, width: int) -> Text:
        text, mood = self._lines[index]
        when = f"{moment(self._times[index]):>{_MOMENT}}  "
        return Text.assemble((when, DIM), (cut(text, width - len(when)), STYLES[mood]), no_wrap=True)
