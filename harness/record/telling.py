"""What happens in a run, a line an event: for whoever reads along.

There is a line for each phase's begin and end, each change that a task of `[[prepare]]` made, each fault's injection,
proof and healing, each unasked exit of a node, and each warning, violation and step, and for whatever somebody does by
hand."""

from __future__ import annotations

from harness.record.events import (
    FaultStaged,
    NodeChanged,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunStarted,
    Steered,
    StepStaged,
    TaskRan,
    ViolationSeen,
)
from harness.record.state import RunState
from harness.record.summary import prepare_line
from harness.record.tables import Mood
from harness.record.text import counted, sentence
from harness.spec.durations import format_duration

_VIOLATIONS = 3
"""Of one expectation, lines; the others are in the journal."""
_STEERED = {"pause": "workloads paused", "resume": "workloads resumed", "abort": "aborted", "fault": "fault asked for"}


def told(recorded: Recorded, state: RunState) -> tuple[str, Mood]:
    """An event's own line, "" for one that has none. `state` is that after it; texts are as they came."""
    match recorded.event:
        case RunStarted() as run:
            nodes = f"{counted(len(run.nodes), 'node')} of {run.chain} by {run.deployer}"
            return f"{run.name}: {nodes}, seed {run.seed}, run {run.run_id}", Mood.PLAIN
        case PhaseStarted(phase, budget):
            return f"{phase} …" + (f" ({format_duration(budget)})" if budget else ""), Mood.PLAIN
        case PhaseEnded("prepare", True, seconds):
            return f"prepare done in {format_duration(seconds)}: {prepare_line(state)}", Mood.PLAIN
        case PhaseEnded(phase, True, seconds):
            return f"{phase} done in {format_duration(seconds)}", Mood.PLAIN
        case PhaseEnded(phase, False, seconds, error):
            return f"{phase} failed after {format_duration(seconds)}: {sentence(error)}", Mood.BAD
        case TaskRan(host, task, _, _, _, error) if error:
            return f"{host}: {task}: failed: {error}", Mood.BAD
        case TaskRan(host, task, True, detail):
            return f"{host}: {task}: changed" + (f" ({detail})" if detail else ""), Mood.PLAIN
        case StepStaged(step, what, stage, detail):
            return _step(step, what, stage, detail)
        case FaultStaged() as fault:
            return _fault(fault, state)
        case NodeChanged(node, "exited", _, why, False):
            return f"{node} exited unasked: {why or 'no reason known'}", Mood.BAD
        case ViolationSeen() as violation:
            return _violation(violation, state)
        case Steered(what, by, detail):
            return f"{_STEERED.get(what, what)} by {by}" + (f": {detail}" if detail else ""), Mood.DOUBTFUL
        case Note(component, level, message) if level != "info":
            known = state.warnings.get((component, level, message))
            text = f"{level}: {component}: {sentence(message)}" if known is not None and known.count == 1 else ""
            return text, Mood.BAD if level == "error" else Mood.DOUBTFUL
        case _:
            return "", Mood.PLAIN


def _step(step: str, what: str, stage: str, detail: str) -> tuple[str, Mood]:
    mood = {"failed": Mood.BAD, "skipped": Mood.DOUBTFUL}.get(stage, Mood.PLAIN)
    return f"{step}: {what}: {stage}" + (f": {sentence(detail)}" if detail else ""), mood


def _fault(event: FaultStaged, state: RunState) -> tuple[str, Mood]:
    fault = state.faults[event.id]
    name = f"fault {fault.id}: {fault.fault} on {', '.join(fault.targets)}"
    match event.stage:
        case "injected" | "proven":
            return f"{name}: {event.stage}", Mood.DOUBTFUL
        case "unproven" | "healing-unproven":
            what = "is there" if event.stage == "unproven" else "is gone"
            return f"{name}: cannot be told whether it {what}", Mood.DOUBTFUL
        case "healed":
            held = f", held {format_duration(fault.held)}" if fault.held is not None else ""
            return f"{name}: healed{held}", Mood.GOOD
        case "not-applied" | "not-healed":
            return f"{name}: {event.stage.replace('-', ' ').upper()}: {sentence(event.error)}", Mood.BAD
        case _:
            return "", Mood.PLAIN


def _violation(event: ViolationSeen, state: RunState) -> tuple[str, Mood]:
    count = state.expectations[event.expectation].violation_count
    if count > _VIOLATIONS:
        return "", Mood.BAD
    more = "; further ones are in the journal" if count == _VIOLATIONS else ""
    return f"{event.expectation} violated: {event.message}{more}", Mood.BAD
