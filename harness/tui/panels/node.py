"""One node: what is known of it, its charts, and what has become of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from rich.text import Text

from harness.record.events import FeedChanged, NodeChanged, Recorded
from harness.record.state import FaultState, NodeStatus, RunState
from harness.tui.bars import chart
from harness.tui.file_lines import FileLines
from harness.tui.history import Track, percentile, spread
from harness.tui.look import (
    ACCENT,
    BAD,
    DIM,
    DOUBTFUL,
    GOOD,
    NO_ANSWER,
    NONE,
    Look,
    as_last_seen,
    clock,
    cut,
    number,
    of_node,
    size,
    span,
)
from harness.tui.moment import Moment
from harness.tui.trail import Trail

LEAST, A_COLUMN = 120.0, 5.0
"""Seconds that charts look back at least, and that a column stands for: nodes are measured every five seconds."""
HOLDS = 12.0
"""Seconds for which what was measured is taken to hold: until the next time but one."""
SAMPLES = 4
"""How often in a column it is looked how far a node is behind."""
ANSWERS = Look("●", "answers", GOOD)
_SCALE = 6
_WORD = 8


def about(moment: Moment, name: str, log_command: str, width: int) -> Text:
    """How it stands, what is known of it, and how to get at it."""
    state = moment.state
    node = state.nodes.get(name)
    text = Text(no_wrap=True).append(cut(name, 60), "bold")
    if node is None:
        return text.append("  is not known at this moment", DIM)
    look = as_last_seen(node) if moment.is_cut_off else of_node(node)
    text.append("  ").append_text(look.text())
    if node.why and node.why != look.word:
        text.append(f" ({cut(node.why, 80)})", DIM)
    for line in _wrapped([f"{key} {cut(value, 40)}" for key, value in _facts(state, node).items()], width):
        text.append(f"\n{line}")
    if node.last_error:
        text.append(f"\n✗ {cut(node.last_error, width - 2)}", BAD)
    if node.reach:
        word = "reach" if state.finish is None else "was at"
        text.append_text(_command("c", word, cut(shlex.join(node.reach), 1000)))
    if node.directory and node.directory not in node.reach:
        text.append_text(_command(" ", "folder", cut(node.directory, 1000)))
    return text.append_text(_command("y" if node.reach else "c", "log", cut(log_command, 1000)))


def _command(key: str, word: str, value: str) -> Text:
    """With the key that copies it."""
    return Text().append(f"\n{key} ", "bold").append(f"{word:<{_WORD}}", DIM).append(value, ACCENT)


def _facts(state: RunState, node: NodeStatus) -> dict[str, str]:
    lag = state.lag(node.name)
    facts = {
        "role": node.role or NONE,
        "machine": node.machine or NONE,
        "version": node.version or NONE,
        "pid": NONE if node.pid is None else str(node.pid),
        "peers": NONE if node.peers is None else f"{node.peers:,}",
        "height": f"{node.height:,}" if node.hash else NONE,
        "behind": NONE if lag is None else f"{lag:,}",
        "exits unasked": f"{node.exits:,}",
    }
    if node.clock_correction:
        facts["clock"] = f"{node.clock_correction:+.3g}s off, ±{span(node.clock_uncertainty)}: set right in logs"
    return facts


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    """Put together with dots between, in as few lines as they need."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} · {part}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def window(moment: Moment, columns: int) -> tuple[float, float]:
    """From when to when the charts show."""
    return max(0.0, moment.t - max(LEAST, A_COLUMN * columns)), moment.t


def behind(trail: Trail, moment: Moment, width: int, height: int) -> Text:
    """By how many blocks it was behind the highest seen anywhere."""
    columns = _columns(width)
    start, end = window(moment, columns)
    step = (end - start) / columns
    lags = [
        max((lag for lag in looks if lag is not None), default=None)
        for looks in (
            [_lag(trail, moment, start + (i + (k + 1) / SAMPLES) * step) for k in range(SAMPLES)]
            for i in range(columns)
        )
    ]
    known = [lag for lag in lags if lag is not None]
    now = _lag(trail, moment, moment.t)
    figures = f"now {number(now)} · max {number(max(known, default=None))}"
    return _drawn(lags, max([4.0, *known]), number, figures, width, height)


def _lag(trail: Trail, moment: Moment, t: float) -> float | None:
    highest, own = moment.series.highest.at(t), trail.heights.at(t)
    return max(0.0, highest - own) if highest is not None and own is not None else None


def intervals(trail: Trail, moment: Moment, width: int, height: int) -> Text:
    """From block to block, as they came there."""
    columns = _columns(width)
    start, end = window(moment, columns)
    values = trail.intervals.between(start, end)[1]
    longest = [max(stretch, default=None) for stretch in spread(trail.intervals, start, end, columns)]
    expected = moment.state.run.block_interval if moment.state.run else 0.0
    figures = f"p50 {span(percentile(values, 0.5))} · max {span(max(values, default=None))}"
    return _drawn(longest, max([1.5 * expected, *values], default=1.0), span, figures, width, height)


def cpu(trail: Trail, moment: Moment, width: int, height: int) -> Text:
    """In shares of a core."""
    return _measured(trail, trail.cpu, moment, _share, 0.1, width, height)


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.0995 or not value else f"{value:.1%}"


def memory(trail: Trail, moment: Moment, width: int, height: int) -> Text:
    return _measured(trail, trail.memory, moment, size, 1.0, width, height)


def _measured(
    trail: Trail, track: Track, moment: Moment, told: Callable[[float], str], least: float, width: int, height: int
) -> Text:
    columns = _columns(width)
    start, end = window(moment, columns)
    step, values = (end - start) / columns, []
    for index, stretch in enumerate(spread(track, start, end, columns)):
        before = track.since(start + (index + 1) * step, HOLDS)
        values.append(max(stretch) if stretch else before)
    node = moment.state.nodes.get(trail.node)
    now = track.since(moment.t, HOLDS) if node is not None and node.state == "running" else None
    known = [value for value in values if value is not None]
    figures = f"now {NONE if now is None else told(now)} · max {told(max(known)) if known else NONE}"
    return _drawn(values, max([least, *known]), told, figures, width, height)


def _columns(width: int) -> int:
    return max(1, width - _SCALE - 1)


def _drawn(
    values: Sequence[float | None], top: float, told: Callable[[float], str], figures: str, width: int, height: int
) -> Text:
    """Bars with what the highest could be at their side, and figures in the last line."""
    if all(value is None for value in values):
        return Text("not known", DIM)
    rows = max(1, height - 1)
    text = Text(no_wrap=True)
    for index, line in enumerate(chart(values, top, rows)):
        label = told(top) if index == 0 else "0" if index == rows - 1 else ""
        text.append(f"{cut(label, _SCALE):>{_SCALE}} ", DIM).append(line, ACCENT).append("\n")
    return text.append(cut(figures, width), DIM)


class LogUntil:
    """A source of lines: the first so many of a log."""

    def __init__(self, lines: FileLines, count: int) -> None:
        self._lines = lines
        self._count = count

    def __len__(self) -> int:
        return self._count

    def heading(self, width: int) -> Text:
        return Text()

    def line(self, index: int, width: int) -> Text:
        return self._lines.line(index, width)


class Story:
    """A source of lines: what has become of a node up to a moment, faults on it too, oldest first."""

    def __init__(self, trail: Trail, moment: Moment) -> None:
        lines = [_change(recorded) for recorded in trail.changes if recorded.t <= moment.t]
        for fault in moment.state.faults.values():
            if trail.node in fault.targets:
                lines += [_stage(fault, stage, t) for stage, t in fault.reached.items() if stage != "intended"]
        self._lines = sorted(lines, key=lambda line: line[0])

    def __len__(self) -> int:
        return len(self._lines)

    def heading(self, width: int) -> Text:
        return Text()

    def line(self, index: int, width: int) -> Text:
        t, text = self._lines[index]
        shown = Text(no_wrap=True).append(f"{clock(t):>7} ", DIM).append_text(text)
        shown.truncate(width, overflow="ellipsis")
        return shown


def _change(recorded: Recorded) -> tuple[float, Text]:
    why = ""
    match recorded.event:
        case FeedChanged(_, connected, error):
            look, why = ANSWERS if connected else NO_ANSWER, error
        case NodeChanged(node, state, _, said, expected):
            look = of_node(NodeStatus(node, state=state, exits=not expected))
            why = said if said != look.word else ""
    text = Text().append_text(look.text())
    return recorded.t, text.append(f" {cut(why, 200)}", DIM) if why else text


def _stage(fault: FaultState, stage: str, t: float) -> tuple[float, Text]:
    style = GOOD if stage == "healed" else BAD if stage.startswith("not-") else DOUBTFUL
    text = Text().append(f"⚡ {cut(fault.fault, 30)} {stage.replace('-', ' ')}", style)
    text.append(f" {cut(fault.id, 20)}", DIM)
    if fault.error and stage.startswith("not-"):
        text.append(f": {cut(fault.error, 200)}", DIM)
    return t, text
