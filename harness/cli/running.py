"""Running plans, one after the other, with a face, and summing up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, TypeVar, cast

import anyio
import click

from harness.cli.attached import announce
from harness.cli.faces.json_lines import JsonLinesFace
from harness.cli.faces.plain import PlainFace
from harness.cli.main import tell
from harness.cli.reporting import write_matrix, write_report
from harness.cli.streams import own_stdout
from harness.engine.execute import Executed, execute
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.target import Target
from harness.errors import ExitCode
from harness.plugin.contract.deployer import PlannedNode
from harness.plugin.registry import Registry
from harness.record.render import console_for, render_table
from harness.record.rundir import RunDirectory, slug
from harness.record.state import RunState
from harness.record.summary import matrix_table, short_path
from harness.record.text import one_line

_GRAVITY = (
    ExitCode.PASS,
    ExitCode.UNKNOWN,
    ExitCode.FAIL,
    ExitCode.INFRASTRUCTURE,
    ExitCode.TEARDOWN,
    ExitCode.USAGE,
    ExitCode.INTERRUPTED,
)
"""Exit codes of single runs; a matrix exits with its gravest."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. `command` are the words of this command; `announce` is where each run is told to whoever shows it."""

    runs: Path
    output: str
    quiet: bool
    keep: bool
    command: tuple[str, ...]
    announce: int | None = None


def run_all(plans: Sequence[Plan], target: Target, registry: Registry, options: RunOptions) -> int:
    """Run all plans in turn; an interrupted one ends the series. Returns the exit code."""
    failed_observers = registry.load_observers()
    # Before the first run is begun, see that every one can be.
    placed = [anyio.run(target.check, plan) for plan in plans]
    matrix = _matrix(plans)
    states: list[RunState] = []
    runs: list[RunDirectory] = []
    codes: list[ExitCode] = []
    for number, (plan, planned) in enumerate(zip(plans, placed, strict=True), 1):
        if len(plans) > 1 and options.output == "plain" and not options.quiet:
            click.echo(f"--- run {number} of {len(plans)} ---", err=True)
        place = {**matrix, "number": number} if matrix else {}
        recorder = Recorder.create(
            options.runs, plan, target, command=options.command, keep_nodes=options.keep, matrix=place
        )
        if options.announce is not None:
            announce(options.announce, recorder.run_dir)
        for text in failed_observers:
            recorder.warn("plugins", text)
        recorder.observe(registry.observers())
        done = _run_one(plan, target, recorder, options, planned, registry)
        states.append(recorder.state)
        runs.append(recorder.run_dir)
        codes.append(done.outcome.exit_code)
        if done.interrupted:
            codes += [ExitCode.INTERRUPTED] if number < len(plans) else []
            break
    if len(plans) > 1 and options.output == "plain":
        click.echo()
        table = matrix_table(states, [plan.playbook.variables for plan in plans])
        render_table(table, console_for(sys.stdout))
    if len(plans) > 1 and (page := _write(write_matrix, runs)) and options.output == "plain":
        click.echo()
        click.echo(one_line(f"report of all runs  {short_path(page)}"))
    return max(codes, key=_GRAVITY.index)


def _matrix(plans: Sequence[Plan]) -> dict[str, Any]:
    """What the runs of these plans have in common, as RunStarted tells it; nothing of a single run."""
    if len(plans) < 2:
        return {}
    variables = [plan.playbook.variables for plan in plans]
    first = variables[0]
    names = dict.fromkeys(name for one in variables for name in one)
    varies = [name for name in names if any(one.get(name) != first.get(name) for one in variables)]
    return {"id": f"{slug(plans[0].playbook.name)}-{token_hex(4)}", "of": len(plans), "varies": varies}


T = TypeVar("T")


def _write(write: Callable[[T], Path], what: T) -> Path | None:
    """Write a report, which can be made again at any time: no run's result hangs on it."""
    try:
        return write(what)
    except KeyboardInterrupt:
        tell("the report was not finished; `harness report` writes it")
    except Exception as error:  # noqa: BLE001 - told, and the run's exit code stays its own
        tell(f"the report was not written: {type(error).__name__}: {error}")
    return None


def _run_one(
    plan: Plan,
    target: Target,
    recorder: Recorder,
    options: RunOptions,
    planned: tuple[PlannedNode, ...],
    registry: Registry,
) -> Executed:
    with own_stdout() as stdout:
        json = (
            JsonLinesFace(recorder.run_dir.journal, cast(BinaryIO, stdout.buffer)) if options.output == "json" else None
        )
        plain = PlainFace(stdout, sys.stderr, quiet=options.quiet) if options.output == "plain" else None
        face = json or plain
        if face is not None:
            recorder.subscribe(face)
        uvloop = {"use_uvloop": True}
        done = anyio.run(execute, plan, target, recorder, planned, registry, backend="asyncio", backend_options=uvloop)
        _write(write_report, recorder.run_dir)
        if json is not None:
            json.close()
        if plain is not None:
            plain.finish(recorder.run_dir)
    if recorder.state.finish is not None and done.outcome.reason != recorder.state.finish.reason:
        tell(done.outcome.reason)  # what happened after the last event
    return done
