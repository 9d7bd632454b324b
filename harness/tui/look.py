"""How things look: a glyph, a word and a style for each state, so that colour is never all that tells them apart."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from harness.record.state import ExpectationState, NodeStatus
from harness.record.text import one_line
from harness.spec.durations import format_duration
from harness.spec.verdict import Verdict

GOOD, DOUBTFUL, BAD, PLAIN, DIM, ACCENT = "green", "yellow", "red", "", "dim", "cyan"
NONE = "–"


@dataclass(frozen=True, slots=True)
class Look:
    glyph: str
    word: str
    style: str

    def text(self) -> Text:
        return Text().append(f"{self.glyph} {self.word}", self.style)  # what is put behind has a style of its own


_NODES = {
    "created": Look("·", "not started", DIM),
    "starting": Look("◌", "starting", DOUBTFUL),
    "running": Look("●", "running", GOOD),
    "paused": Look("‖", "paused", DOUBTFUL),
    "stopped": Look("■", "stopped", DIM),
    "exited": Look("✗", "exited", BAD),
}
NO_ANSWER = Look("○", "no answer", DOUBTFUL)
_STAGES = {
    "pending": Look("…", "pending", DIM),
    "holding": Look("●", "holding", GOOD),
    "violated": Look("✗", "violated", BAD),
    Verdict.PASS: Look("✓", "pass", GOOD),
    Verdict.FAIL: Look("✗", "fail", BAD),
    Verdict.UNKNOWN: Look("?", "unknown", DOUBTFUL),
}


def of_node(node: NodeStatus) -> Look:
    """A state that this version does not know is shown by its name."""
    if node.state == "running" and node.connected is False:
        return NO_ANSWER
    if node.state == "exited" and not node.exits:
        return Look("■", "exited", DIM)
    return _NODES.get(node.state) or Look("?", one_line(node.state, 12), DOUBTFUL)


def as_last_seen(node: NodeStatus) -> Look:
    """Of a run whose controller is gone: nobody knows what a node that it had running does now."""
    look = of_node(node)
    return look if node.state in ("stopped", "exited") else Look("?", f"was {look.word}", DOUBTFUL)


def of_expectation(one: ExpectationState, is_driven: bool = False, is_cut_off: bool = False) -> Look:
    """Silence is no evidence: one that has seen nothing wrong is pending until it is judged, unless it looks all the
    time (`is_driven`: there is something to look at). `is_cut_off`: it never will be."""
    if is_cut_off and not one.verdict and not one.violation_count:
        return Look("?", "unjudged", DOUBTFUL)
    silent = "holding" if one.watched and is_driven else "pending"
    key = one.verdict or ("violated" if one.violation_count else silent)
    return _STAGES.get(key) or Look("?", one_line(key, 12), DOUBTFUL)


def clock(seconds: float | None) -> str:
    """`4:05`, `1:04:05`: for what ticks."""
    if seconds is None:
        return NONE
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def span(seconds: float | None) -> str:
    return NONE if seconds is None else format_duration(seconds)


def number(value: float | None) -> str:
    """In at most six characters where it can be: `1,234`, `12.3k`, `4.5M`."""
    if value is None:
        return NONE
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.1f}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def size(count: float) -> str:
    """Bytes: `34M`, `1.2G`."""
    for unit, letter in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")):
        if count >= unit:
            return f"{count / unit:.1f}{letter}" if count < 10 * unit else f"{count / unit:.0f}{letter}"
    return f"{count:.0f}"


def cut(text: str, width: int) -> str:
    """One line of harmless text, of so many characters at most."""
    return one_line(text, width) if width > 0 else ""
