"""What must hold, and how that stands."""

from __future__ import annotations

from rich.text import Text

from harness.record.state import ExpectationState
from harness.tui.look import DIM, clock, cut, of_expectation
from harness.tui.moment import Moment

_NAME = 24


def expectations(moment: Moment, width: int) -> Text:
    """A line for each; those that went wrong come first, with what was seen."""
    state = moment.state
    if not state.expectations:
        return Text("nothing is asked for", DIM)
    text = Text(no_wrap=True)
    is_driven = any(phase.phase == "drive" for phase in state.phases)
    ordered = sorted(state.expectations.values(), key=lambda one: not _is_bad(one))
    for index, one in enumerate(ordered):
        look = of_expectation(one, is_driven, moment.is_cut_off)
        text.append("\n" if index else "")
        text.append(f"{look.glyph} {look.word:<9}", f"bold {look.style}")
        text.append(f"{cut(one.expectation, _NAME):<{_NAME}} ")
        text.append(cut(_evidence(one), max(0, width - _NAME - 13)), look.style if _is_bad(one) else DIM)
    return text


def _is_bad(one: ExpectationState) -> bool:
    return one.verdict in ("fail", "unknown") or bool(one.violation_count and not one.verdict)


def _evidence(one: ExpectationState) -> str:
    source = one.source.rpartition("/")[2]
    where = f"  {source}" if source else ""
    if one.verdict:
        return f"{one.measured}{where}"
    if one.violations:
        last = one.violations[-1]
        more = f", {one.violation_count:,} in all" if one.violation_count > 1 else ""
        return f"at {clock(last.t)}: {last.message}{more}{where}"
    return where.strip()
