"""A run's state as a page shows it: values only, texts as they came (the page makes them harmless). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.record.evidence import MECHANISM, WRONG
from harness.record.state import ExpectationState, FaultState, NodeStatus, RunState, WorkloadState
from harness.record.summary import moment, sentence_of
from harness.record.tables import NONE, Mood, Row, Table, mood_of
from harness.record.text import counted, figure, one_line, sentence
from harness.report.charts import span
from harness.report.evidence import MAX_CELL, Group, evidence_groups, is_empty, is_number, words
from harness.report.observed import Observed
from harness.report.samples import SampleReading

MAX_ROWS = 250
"""Rows of a table, faults and nodes alike."""
_MAX_PROOF = 6
_MAX_WRONG = 12


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure to be seen at a glance."""

    label: str
    value: str
    detail: str = ""
    mood: Mood = Mood.PLAIN


@dataclass(frozen=True, slots=True)
class ExpectationView:
    """`wrong` come before any other evidence. `is_open`: to be read at once."""

    name: str
    verdict: str
    mood: Mood
    measured: str
    asked: str
    source: str
    wrong: tuple[str, ...]
    evidence: tuple[Group, ...]
    is_open: bool


def expectation_views(state: RunState) -> tuple[ExpectationView, ...]:
    """Those that do not hold first, otherwise as they were asked for."""
    order = {Mood.BAD: 0, Mood.DOUBTFUL: 1}
    views = [_expectation(one) for one in state.expectations.values()]
    return tuple(sorted(views, key=lambda view: order.get(view.mood, 2)))


def _expectation(one: ExpectationState) -> ExpectationView:
    verdict = one.verdict or ("violated" if one.violation_count else "not judged")
    mood = mood_of(one.verdict) if one.verdict else Mood.BAD if one.violation_count else Mood.DOUBTFUL
    violations = [f"{moment(seen.t)} {one_line(seen.message, MAX_CELL)}" for seen in one.violations]
    if one.violation_count > len(violations) > 0:
        violations.append(f"… and {one.violation_count - len(violations):,} more violations in the journal")
    evidence = one.evidence or (one.violations[0].evidence if one.violations else {})
    groups = evidence_groups(evidence)
    said = evidence.get(WRONG)
    wrong = [one_line(line, MAX_CELL) for line in said[:_MAX_WRONG]] if isinstance(said, list | tuple) else []
    return ExpectationView(
        one.expectation,
        verdict,
        mood,
        one.measured or NONE,
        one.asked or NONE,
        one.source,
        (*violations, *wrong),
        groups,
        mood is not Mood.GOOD and bool(violations or wrong or groups),
    )


def fault_table(observed: Observed) -> Table:
    """Every fault: when it was there, what proved it and how soon, and how soon its nodes had caught up again."""
    faults = sorted(observed.state.faults.values(), key=lambda fault: not fault.broken)
    if len(faults) <= MAX_ROWS:
        faults = list(observed.state.faults.values())
    columns = (
        "id", "fault", "targets", "by", "injected", "held", "proven", "what proved it", "healed", "caught up",
    )  # fmt: skip
    rows = tuple(_fault(fault, observed.caught_up.get(fault.id)) for fault in faults[:MAX_ROWS])
    notes = [f"{fault.id}: {sentence(fault.error)}" for fault in faults[:MAX_ROWS] if fault.error]
    if len(faults) > MAX_ROWS:
        notes.append(f"… and {len(faults) - MAX_ROWS:,} more in the journal")
    numeric = frozenset({"injected", "held", "proven", "healed", "caught up"})
    return Table("faults", columns, rows, numeric, frozenset({"what proved it"}), tuple(notes))


def _fault(fault: FaultState, caught_up: float | None) -> Row:
    reached = fault.reached
    options = ", ".join(f"{key} {figure(value)}" for key, value in fault.options.items())
    proven = _after(reached, "injected", "proven")
    healed = _after(reached, "healing", "healed")
    if "proven" not in reached and reached.keys() & {"not-applied", "healing", "healed", "not-healed"}:
        proven = "unknown" if "unproven" in reached else "NO"
    if "healed" not in reached:
        healed = "unknown" if "healing-unproven" in reached else "NO" if "not-healed" in reached else NONE
    name = f"{fault.fault} by {fault.mechanism}" if fault.mechanism else fault.fault
    cells = (
        fault.id,
        f"{name} ({options})" if options else name,
        ", ".join(fault.targets) or NONE,
        fault.by or NONE,
        moment(reached.get("injected")),
        "holds" if fault.active and fault.held is None else span(fault.held),
        proven,
        _proof(fault),
        healed,
        span(caught_up),
    )
    return Row(cells, Mood.BAD if fault.broken else Mood.DOUBTFUL if fault.doubtful else Mood.PLAIN)


def _after(reached: Mapping[str, float], start: str, end: str) -> str:
    if end not in reached:
        return NONE
    return f"in {span(max(0.0, reached[end] - reached[start]))}" if start in reached else "yes"


def _proof(fault: FaultState) -> str:
    """What was looked at when it was proven: what the fault sums up itself, else what is told of each node."""
    seen = {key: value for key, value in fault.seen.get("proven", {}).items() if key != MECHANISM}
    short = {key: value for key, value in seen.items() if not isinstance(value, Mapping) and not is_empty(value)}
    told = short or dict(list(seen.items())[:_MAX_PROOF])
    more = f", … and {len(seen) - _MAX_PROOF} more" if not short and len(seen) > _MAX_PROOF else ""
    return one_line("; ".join(f"{key}: {figure(value)}" for key, value in told.items()), MAX_CELL) + more or NONE


def node_table(state: RunState, alive: bool) -> Table:
    """Every node and how it ended; those that something happened to come first where not all can be shown."""
    nodes = list(state.nodes.values())
    if len(nodes) > MAX_ROWS:
        nodes.sort(key=lambda node: not node.exits)
    rows = tuple(_node(node, state, alive) for node in nodes[:MAX_ROWS])
    notes = [f"{node.name}: {node.last_error}" for node in nodes[:MAX_ROWS] if node.exits]
    if len(nodes) > MAX_ROWS:
        notes.append(f"… and {len(nodes) - MAX_ROWS:,} more in result.json")
    columns: tuple[str, ...] = (
        "node",
        "role",
        "machine",
        "version",
        "state",
        "height",
        "behind",
        "unasked exits",
        "faults",
    )
    if any(node.reach for node in nodes[:MAX_ROWS]):
        columns += ("how to reach it",)
        rows = tuple(
            replace(row, cells=(*row.cells, one_line(shlex.join(node.reach), MAX_CELL) or NONE))
            for node, row in zip(nodes, rows, strict=False)
        )
    numeric = frozenset({"height", "behind", "unasked exits", "faults"})
    return Table("nodes", columns, rows, numeric, frozenset({"how to reach it"}), tuple(notes))


def _node(node: NodeStatus, state: RunState, alive: bool) -> Row:
    lag = state.lag(node.name)
    is_gone = not alive and state.finish is None and node.state in ("starting", "running", "paused")
    faults = sum(node.name in fault.targets for fault in state.faults.values())
    cells = (
        node.name,
        node.role or NONE,
        node.machine or NONE,
        node.version or NONE,
        "gone" if is_gone else node.state,
        f"{node.height:,}",
        NONE if lag is None else f"{lag:,}",
        str(node.exits),
        str(faults),
    )
    return Row(cells, Mood.BAD if node.exits else Mood.PLAIN)


def workload_table(state: RunState, samples: SampleReading) -> Table:
    """Figures of each workload, and its latencies where there are samples."""
    rows = []
    names = list(dict.fromkeys(key for one in state.workloads.values() for key in one.figures))
    shown = [name for name in names if any(one.figures.get(name) for one in state.workloads.values())]
    for workload in state.workloads.values():
        if not workload.figures:
            continue
        cells = [figure(workload.figures[name]) if name in workload.figures else NONE for name in shown]
        latency = samples.latencies.get(workload.workload)
        whole = latency.whole if latency else None
        times = (whole.p50, whole.p90, whole.p99, whole.max) if whole else _told(workload)
        rows.append(Row((workload.workload, *cells, *map(span, times))))
    columns = ("workload", *map(words, shown), "p50", "p90", "p99", "longest")
    notes = [
        f"{name}: latencies without {one.warming:,} of the warm-up"
        for name, one in samples.latencies.items()
        if one.warming
    ]
    return Table("workloads", columns, tuple(rows), frozenset(columns[1:]), notes=tuple(notes))


def _told(workload: WorkloadState) -> Sequence[float | None]:
    """p50, p90, p99 and the longest, of a workload that has told them itself: what it sends goes into no block."""
    told = workload.latency
    if "included" in workload.figures or not told.get("n"):
        return (None,) * 4
    return [told.get(name) for name in ("p50", "p90", "p99", "max")]


def step_table(state: RunState) -> Table:
    rows = []
    for step in state.steps.values():
        begun = step.reached.get("begun", min(step.reached.values(), default=0.0))
        took = max(step.reached.values(), default=begun) - begun
        mood = Mood.BAD if step.stage == "failed" else Mood.DOUBTFUL if step.stage == "skipped" else Mood.PLAIN
        cells = (step.step, step.what, moment(begun), span(took), step.stage, step.detail or NONE, step.source)
        rows.append(Row(cells, mood))
    columns = ("step", "what", "at", "took", "came to", "detail", "asked for at")
    return Table("steps", columns, tuple(rows[:MAX_ROWS]), frozenset({"at", "took"}), frozenset({"detail"}))


def warning_table(state: RunState, skipped: int) -> Table:
    rows = [
        Row(
            (moment(one.t), one.level, one.component, sentence_of(one)),
            Mood.BAD if one.level == "error" else Mood.DOUBTFUL,
        )
        for one in state.warnings.values()
    ]
    if skipped:
        said = f"{counted(skipped, 'line')} of the journal could not be read: what was said there is not in this report"
        rows.append(Row((NONE, "warning", "journal", said), Mood.DOUBTFUL))
    columns = ("at", "level", "from", "message")
    return Table("warnings", columns, tuple(rows), frozenset({"at"}), frozenset({"message"}))


def tiles(observed: Observed, samples: SampleReading) -> tuple[Tile, ...]:
    """What is to be seen first."""
    return tuple(_tiles(observed, samples))


def _tiles(observed: Observed, samples: SampleReading) -> Iterator[Tile]:
    state = observed.state
    judged = list(state.expectations.values())
    if judged:
        held = sum(one.verdict == "pass" for one in judged)
        mood = Mood.GOOD if held == len(judged) else Mood.BAD if any(_is_bad(one) for one in judged) else Mood.DOUBTFUL
        yield Tile("expectations held", f"{held} of {len(judged)}", mood=mood)
    if observed.seen_blocks:
        highest = state.highest
        yield Tile("blocks", f"{observed.seen_blocks:,}", f"up to height {highest.height:,}" if highest else "")
    for name, workload in state.workloads.items():
        what = "included" if "included" in workload.figures else "accepted"
        offered, good = workload.figures.get("offered"), workload.figures.get(what)
        if is_number(offered) and is_number(good) and offered:
            yield Tile(
                f"{name}: {what}",
                f"{100 * min(1.0, (good or 0) / offered):.4g} %",
                f"of {figure(offered)} offered",
            )
    counted = [(name, one.whole) for name, one in samples.latencies.items() if one.whole]
    for name, whole in counted[:2]:
        yield Tile(f"{name}: p99", span(whole.p99), f"p50 {span(whole.p50)}")
    if state.faults:
        faults = list(state.faults.values())
        proven = sum("proven" in fault.reached for fault in faults)
        healed = sum(fault.stage == "healed" for fault in faults)
        mood = (
            Mood.BAD
            if any(f.broken for f in faults)
            else Mood.DOUBTFUL
            if any(f.doubtful for f in faults)
            else Mood.PLAIN
        )
        yield Tile("faults", f"{len(faults):,}", f"{proven:,} proven, {healed:,} proven to be gone", mood)
        if observed.caught_up:
            last = span(max(observed.caught_up.values()))
            yield Tile("slowest catch-up", last, "from a fault's end to the height that the network had then")
    exits = sum(node.exits for node in state.nodes.values())
    yield Tile(
        "nodes", f"{len(state.nodes):,}", f"{exits} unasked exits" if exits else "", Mood.BAD if exits else Mood.PLAIN
    )


def _is_bad(one: ExpectationState) -> bool:
    return one.verdict == "fail" or (not one.verdict and one.violation_count > 0)


def list_of_phases(state: RunState) -> Sequence[str]:
    return [
        f"{phase.phase} {span(phase.seconds)}"
        + (f" (failed: {one_line(sentence(phase.error), 200)})" if phase.ok is False else "")
        for phase in state.phases
    ]
