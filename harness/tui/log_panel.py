"""The log of everything, with what of it is shown: filters, search, and whether its end is followed."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from harness.record.summary import moment
from harness.tui.lines import Lines
from harness.tui.look import ACCENT, BAD, DIM, DOUBTFUL, cut
from harness.tui.merged_log import RUN, Filtered, MergedLog
from harness.tui.screens.pick import Pick
from harness.tui.stamps import Level

GROW_FOR = 0.02
SEARCH_FOR = 0.04
"""Seconds that may go by at once in taking in lines, and in searching them."""
_MOMENT, _SOURCE = 9, 14
CORRECTED = "~"
"""Stands after the time of a line whose node's clock is known to be off."""
_STYLES = {Level.ERROR: BAD, Level.WARNING: DOUBTFUL, Level.DEBUG: DIM}
_LEVELS = (Level.UNKNOWN, Level.INFO, Level.WARNING, Level.ERROR)
_LEVEL_NAMES = {Level.UNKNOWN: "all", Level.INFO: "info and worse", Level.WARNING: "warnings and errors",
                Level.ERROR: "errors"}  # fmt: skip


def corrections(ahead: Mapping[str, float]) -> str:
    """What is taken from the times that nodes' clocks tell, "" where nothing is."""
    told = [f"{cut(name, _SOURCE)} {-seconds:+.3g}s" for name, seconds in ahead.items()]
    if len(told) > 2:
        return f"{len(told)} clocks corrected, by up to {max(map(abs, ahead.values())):.3g}s"
    return f"{CORRECTED} clock corrected: {', '.join(told)}" if told else ""


class LogView:
    """A source of lines: those that are wanted, as far as the moment that is looked at."""

    def __init__(self, filtered: Filtered, count: int, found: re.Pattern[str] | None) -> None:
        self._filtered = filtered
        self._count = count
        self._found = found
        self._corrected = filtered.log.corrected

    def __len__(self) -> int:
        return self._count

    def heading(self, width: int) -> Text:
        return Text()

    def line(self, index: int, width: int) -> Text:
        log = self._filtered.log
        place = self._filtered.index(index)
        source = log.source(place)
        mark = CORRECTED if source in self._corrected else " "
        text = Text(no_wrap=True).append(f"{moment(log.time(place)):>{_MOMENT}}{mark}", DIM)
        text.append(f"{cut(source, _SOURCE):<{_SOURCE}} ", ACCENT if source == RUN else "bold")
        shown = Text(cut(log.text(place), max(1, width - text.cell_len)), _STYLES.get(log.level(place), ""))
        if self._found is not None:
            shown.highlight_regex(self._found, "reverse")
        return text.append_text(shown)


class LogPanel(Vertical):
    """To be told of by `advance` again and again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search"),
        Binding("ampersand", "filter", "Only…"),
        Binding("n", "find(1)", "Next", show=False),
        Binding("N", "find(-1)", "Previous", show=False),
        Binding("e", "level", "Level"),
        Binding("o", "sources", "Nodes"),
    ]

    def __init__(self, log: MergedLog, *, id: str) -> None:
        super().__init__(id=id)
        self._log_of_all = log
        self._filtered = Filtered(log)
        self._found: re.Pattern[str] | None = None
        self._until = float("inf")
        self._asking = ""
        self._shown_title = ""
        self._searching: tuple[int, int] | None = None  # where, and in which direction
        self._return_to: int | None = None  # the place in the whole log where one was when other lines were asked for

    def compose(self) -> ComposeResult:
        yield Lines("4 log", id="log-lines", follow=True)
        yield Input(id="log-input", placeholder="a regular expression")

    def on_mount(self) -> None:
        self._input.display = False

    @property
    def lines(self) -> Lines:
        return self.query_one(Lines)

    @property
    def _input(self) -> Input:
        return self.query_one(Input)

    def advance(self, until: float) -> bool:
        """Take in what is new and show what there was until then; whether there is more to be taken in."""
        self._until = until
        more = self._log_of_all.grow(GROW_FOR)
        more = self._filtered.grow(GROW_FOR) or more
        more = self._search_on() or more
        count = len(self._filtered) if until == float("inf") else self._filtered.until(until)
        self.lines.show(LogView(self._filtered, count, self._found))
        self._go_back()
        title = self._title(more)
        if title != self._shown_title:
            self._shown_title = title
            self.lines.border_title = title
        return more

    def _title(self, more: bool) -> str:
        parts = [f"4 log · {len(self.lines.source):,} lines"]
        if self._filtered.least:
            parts.append(_LEVEL_NAMES[self._filtered.least])
        if self._filtered.sources:
            parts.append(f"{len(self._filtered.sources)} of {len(self._log_of_all.names)} sources")
        if self._filtered.pattern is not None:
            parts.append(f"only {cut(self._filtered.pattern.pattern, 30)}")
        if told := corrections(self._log_of_all.corrected):
            parts.append(told)
        if unreadable := self._log_of_all.unreadable:
            name, why = next(iter(unreadable.items()))
            more_of_them = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
            parts.append(cut(f"log of {name}{more_of_them} cannot be read: {why}", 60))
        if self._searching is not None:
            parts.append("searching …")
        elif more:
            parts.append("reading …")
        if not self.lines.follow:
            parts.append("end: follow")
        return Text(" · ".join(parts)).markup

    def action_search(self) -> None:
        self._ask("search")

    def action_filter(self) -> None:
        self._ask("filter")

    def _ask(self, what: str) -> None:
        self._asking = what
        field = self._input
        pattern = self._found if what == "search" else self._filtered.pattern
        field.value = pattern.pattern if pattern is not None else ""
        field.border_title = "search" if what == "search" else "show only lines with (empty: all)"
        field.display = True
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            pattern = re.compile(event.value, re.IGNORECASE) if event.value else None
        except re.error as error:
            self.app.notify(f"no regular expression: {error}", severity="warning", markup=False)
            return
        self._close()
        if self._asking == "filter":
            self._show_only(pattern=pattern)
        else:
            self._found = pattern
            self.action_find(-1 if self.lines.follow else 1)

    def key_escape(self) -> None:
        """Out of the field, where one is open."""
        if self._input.display:
            self._close()

    def _close(self) -> None:
        self._input.display = False
        self.lines.focus()

    def action_level(self) -> None:
        """The next level as the least that is shown."""
        now = _LEVELS.index(self._filtered.least)
        self._show_only(level=_LEVELS[(now + 1) % len(_LEVELS)])

    def action_sources(self) -> None:
        """Choose whose lines are shown."""
        log = self._log_of_all
        chosen = self._filtered.sources or frozenset(log.names)

        def picked(names: frozenset[str] | None) -> None:
            if names is not None:
                self._show_only(sources=frozenset() if len(names) in (0, len(log.names)) else names)

        self.app.push_screen(Pick("Whose lines?", log.names, chosen), picked)

    def _show_only(
        self,
        *,
        sources: frozenset[str] | None = None,
        level: Level | None = None,
        pattern: re.Pattern[str] | bool | None = False,
    ) -> None:
        before = self._filtered
        if not self.lines.follow and self.lines.cursor < len(before):
            self._return_to = before.index(self.lines.cursor)
        self._filtered = Filtered(
            self._log_of_all,
            sources=before.sources if sources is None else sources,
            level=before.least if level is None else level,
            pattern=before.pattern if isinstance(pattern, bool) else pattern,
        )
        self._searching = None
        self.advance(self._until)

    def _go_back(self) -> None:
        """To where one was in the log, as soon as it was looked through so far."""
        if self._return_to is not None and (index := self._filtered.near(self._return_to)) is not None:
            self._return_to = None
            self.lines.go_to(index)
            self.lines.follow = False  # also where that is the last now

    def action_find(self, step: int) -> None:
        """The next line, or the one before, in which what is searched for is found."""
        if self._found is not None:
            self._searching = self.lines.cursor + step, step
            self._search_on()

    def _search_on(self) -> bool:
        """Whether there is more to be searched."""
        if self._searching is None or self._found is None:
            return False
        index, step = self._searching
        give_up, count = time.monotonic() + SEARCH_FOR, len(self.lines.source)
        while 0 <= index < count:
            if self._found.search(self._log_of_all.text(self._filtered.index(index))):
                self._searching = None
                self.lines.go_to(index)
                return False
            index += step
            if index % 64 == 0 and time.monotonic() > give_up:
                self._searching = index, step
                return True
        self._searching = None
        self.app.notify(f"{self._found.pattern} is in no line {'after' if step > 0 else 'before'} this", markup=False)
        return False
