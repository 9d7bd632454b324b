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
from harness.record.events import Recorded
from harness.record.reduce import reduce
from harness.record.render import STYLES, console_for, render_summary
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.record.summary import figures_line, moment, summarize
from harness.record.tables import Mood
from harness.record.telling import told
from harness.record.text import one_line

STATUS_EVERY = 5.0
"""Seconds between two lines of heights and rates."""
_FIGURES = 6
_MOMENT_WIDTH = 9


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
        text, mood = told(recorded, self._state)
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
