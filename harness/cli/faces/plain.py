"""`--output plain`: progress on stderr, the summary on stdout.

Progress lines begin with the seconds since the run began. There is one for each phase's begin and end, each change that
a task of `[[prepare]]` made, each fault's injection, proof and healing, each unasked exit of a node, warning and
violation as it happens, and between them, every few seconds, how high and how fast the network is. With `--quiet` there
are none, and the summary is the expectations, the verdict and the run's directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, cast

from rich.text import Text

from harness.cli.faces.writer import BackgroundWriter
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
from harness.record.reduce import reduce
from harness.record.render import STYLES, console_for, render_summary
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.record.summary import figures_line, moment, prepare_line, summarize
from harness.record.tables import Mood
from harness.record.text import counted, one_line
from harness.spec.units import format_duration

STATUS_EVERY = 5.0
"""Seconds between two lines of heights and rates."""
_FIGURES = 6
_VIOLATIONS = 3
_MOMENT_WIDTH = 9
_STEERED = {"pause": "workloads paused", "resume": "workloads resumed", "abort": "aborted", "fault": "fault asked for"}


class PlainFace:
    """Subscribe it to a run's journal; call `finish` when the run is over."""

    def __init__(self, stdout: IO[str], stderr: IO[str], *, quiet: bool = False) -> None:
        self._stdout = stdout
        self._quiet = quiet
        self._writer = BackgroundWriter(stderr)
        self._console = console_for(cast(IO[str], self._writer))
        self._state = RunState()
        self._status_at = 0.0

    def __call__(self, recorded: Recorded) -> None:
        self._state = reduce(self._state, recorded)
        if self._quiet:
            return
        text, mood = self._describe(recorded)
        if text:
            self._print(recorded.t, text, mood)
        if recorded.t - self._status_at >= STATUS_EVERY and (status := status_line(self._state)):
            self._status_at = recorded.t
            self._print(recorded.t, status, Mood.PLAIN)

    def close(self) -> None:
        """Wait until all progress is written. May be called twice."""
        self._writer.close()

    def finish(self, directory: RunDirectory | None = None, command: Sequence[str] = ()) -> None:
        """Close, then print the summary. `command` as for `summarize`."""
        self.close()
        summary = summarize(self._state, directory, command=command)
        console = console_for(self._stdout)
        if not self._quiet:
            console.print()
        render_summary(summary, console, brief=self._quiet)

    def _print(self, t: float, text: str, mood: Mood) -> None:
        line = Text.assemble((moment(t).rjust(_MOMENT_WIDTH), "dim"), "  ", (one_line(text), STYLES[mood]))
        self._console.print(line, soft_wrap=True)

    def _describe(self, recorded: Recorded) -> tuple[str, Mood]:
        """The event's own line, "" for one that has none."""
        match recorded.event:
            case RunStarted() as run:
                nodes = f"{counted(len(run.nodes), 'node')} of {run.chain} by {run.deployer}"
                return f"{run.name}: {nodes}, seed {run.seed}, run {run.run_id}", Mood.PLAIN
            case PhaseStarted(phase, budget):
                return f"{phase} …" + (f" ({format_duration(budget)})" if budget else ""), Mood.PLAIN
            case PhaseEnded("prepare", True, seconds):
                return f"prepare done in {format_duration(seconds)}: {prepare_line(self._state)}", Mood.PLAIN
            case PhaseEnded(phase, True, seconds):
                return f"{phase} done in {format_duration(seconds)}", Mood.PLAIN
            case PhaseEnded(phase, False, seconds, error):
                return f"{phase} failed after {format_duration(seconds)}: {error}", Mood.BAD
            case TaskRan(host, task, _, _, _, error) if error:
                return f"{host}: {task}: failed: {error}", Mood.BAD
            case TaskRan(host, task, True, detail):
                return f"{host}: {task}: changed" + (f" ({detail})" if detail else ""), Mood.PLAIN
            case StepStaged(step, what, stage, detail):
                return self._describe_step(step, what, stage, detail)
            case FaultStaged() as fault:
                return self._describe_fault(fault)
            case NodeChanged(node, "exited", _, why, False):
                return f"{node} exited unasked: {why or 'no reason known'}", Mood.BAD
            case ViolationSeen() as violation:
                return self._describe_violation(violation)
            case Steered(what, by, detail):
                return f"{_STEERED.get(what, what)} by {by}" + (f": {detail}" if detail else ""), Mood.DOUBTFUL
            case Note(component, level, message) if level != "info":
                known = self._state.warnings.get((component, level, message))
                text = f"{level}: {component}: {message}" if known is not None and known.count == 1 else ""
                return text, Mood.BAD if level == "error" else Mood.DOUBTFUL
            case _:
                return "", Mood.PLAIN

    @staticmethod
    def _describe_step(step: str, what: str, stage: str, detail: str) -> tuple[str, Mood]:
        mood = {"failed": Mood.BAD, "skipped": Mood.DOUBTFUL}.get(stage, Mood.PLAIN)
        return f"{step}: {what}: {stage}" + (f": {detail}" if detail else ""), mood

    def _describe_fault(self, event: FaultStaged) -> tuple[str, Mood]:
        fault = self._state.faults[event.id]
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
                return f"{name}: {event.stage.replace('-', ' ').upper()}: {event.error}", Mood.BAD
            case _:
                return "", Mood.PLAIN

    def _describe_violation(self, event: ViolationSeen) -> tuple[str, Mood]:
        count = self._state.expectations[event.expectation].violation_count
        if count > _VIOLATIONS:
            return "", Mood.BAD
        more = "; further ones are in the journal" if count == _VIOLATIONS else ""
        return f"{event.expectation} violated: {event.message}{more}", Mood.BAD


def status_line(state: RunState) -> str:
    """How high, how fast, how loaded (figures that are not nought), how disturbed; "" before there is a block."""
    if state.highest is None:
        return ""
    followed = [node.height for node in state.nodes.values() if node.connected]
    heights = followed or [node.height for node in state.nodes.values()]
    parts = [f"height {min(heights)}" if min(heights) == max(heights) else f"heights {min(heights)}–{max(heights)}"]
    if (rate := state.block_rate()) is not None:
        parts.append(f"{rate:.2f} blocks/s")
    for workload in state.workloads.values():
        if told := {name: value for name, value in workload.figures.items() if value}:
            parts.append(f"{workload.workload}: {figures_line(told, _FIGURES)}")
    away = [node.name for node in state.nodes.values() if node.connected is False]
    if away:
        parts.append(f"no answer from {', '.join(away[:3])}{' …' if len(away) > 3 else ''}")
    if state.active_faults:
        parts.append(
            "active: " + ", ".join(f"{fault.fault} on {'+'.join(fault.targets)}" for fault in state.active_faults)
        )
    return " | ".join(parts)
