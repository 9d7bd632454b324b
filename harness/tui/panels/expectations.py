"""What must hold, and how that stands."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass

from rich.text import Text

from harness.record.state import ExpectationState
from harness.record.text import one_line
from harness.tui.look import DIM, Look, clock, cut, of_expectation
from harness.tui.moment import Moment

_NAME = 24
"""Columns of a name at most."""
_WORD = 11
"""Columns before the name: a glyph and a word."""
_BESIDE = 24
"""So many columns are enough to tell beside the name what was seen."""
_LONGEST = 2000
_URGENT = {"fail": 0, "violated": 1, "unknown": 2, "unjudged": 3}


def expectations(moment: Moment, width: int, height: int) -> Text:
    """One below the other, what went wrong first: at the right where it is asked for, beside the name or beneath what
    was seen, as far as there is room: what went wrong has it before the others do. What there is no room for at all is
    counted."""
    state = moment.state
    if not state.expectations:
        return Text("nothing is asked for", DIM)
    is_driven = any(phase.phase == "drive" for phase in state.phases)
    entries = [_Entry(of_expectation(one, is_driven, moment.is_cut_off), one) for one in state.expectations.values()]
    entries.sort(key=lambda entry: _URGENT.get(entry.look.word, len(_URGENT)))
    shown = entries if len(entries) <= height else entries[: max(1, height - 1)]
    names = min(_NAME, max(len(name) for name in state.expectations))
    in_full = [entry.lines(names, width, height) for entry in shown]
    spare = height - len(shown) - (len(shown) < len(entries))
    is_room_for_all = sum(map(len, in_full)) <= height
    lines: list[Text] = []
    for entry, full in zip(shown, in_full, strict=True):
        most = 1 + (max(0, spare) if entry.is_urgent or is_room_for_all else 0)
        taken = full if len(full) <= most else entry.lines(names, width, most)
        spare -= len(taken) - 1
        lines += taken
    left = Counter(entry.look.word for entry in entries[len(shown) :])
    if left and height > 1:
        lines.append(Text(cut("… and " + ", ".join(f"{count} {word}" for word, count in left.items()), width), DIM))
    return Text("\n", no_wrap=True).join(lines)


@dataclass(frozen=True, slots=True)
class _Entry:
    look: Look
    one: ExpectationState

    @property
    def is_urgent(self) -> bool:
        return self.look.word in _URGENT

    def lines(self, names: int, width: int, most: int) -> list[Text]:
        """In so many lines at most, with so many columns for its name."""
        source = one_line(self.one.source.rpartition("/")[2])
        seen = one_line(_evidence(self.one), _LONGEST).strip()
        line = Text(f"{self.look.glyph} {self.look.word:<9}", f"bold {self.look.style}")
        line = Text.assemble(line, f"{cut(self.one.expectation, names):<{names}}  ")
        beside = width - line.cell_len
        with_source = beside - len(source) - 2
        if not source or with_source < 0 or (seen and most == 1 and with_source < min(_BESIDE, len(seen))):
            source, with_source = "", beside
        style = self.look.style if self.is_urgent else DIM
        further: list[str] = []
        if most == 1 or len(seen) <= with_source:
            line.append(cut(seen, max(0, with_source)), style)
        else:
            indent = line.cell_len if with_source >= _BESIDE else _WORD
            if with_source >= _BESIDE:
                head = textwrap.wrap(seen, with_source)[0]
                line.append(head, style)
                seen = seen[len(head) :].strip()
            room = max(1, width - indent)
            further = [" " * indent + more for more in textwrap.wrap(seen, room, max_lines=most - 1, placeholder="…")]
        if source:
            line.pad_right(max(0, width - line.cell_len - len(source)))
            line.append(source, DIM)
        return [line, *(Text(more, style) for more in further)]


def _evidence(one: ExpectationState) -> str:
    if one.verdict:
        return one.measured
    if one.violations:
        last = one.violations[-1]
        more = f", {one.violation_count:,} in all" if one.violation_count > 1 else ""
        return f"at {clock(last.t)}: {last.message}{more}"
    return ""
