"""Running plans, one after the other, with a face, and summing up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, cast

import anyio
import click

from harness.cli.faces.json_lines import JsonLinesFace
from harness.cli.faces.plain import PlainFace
from harness.cli.main import tell
from harness.cli.streams import own_stdout
from harness.engine.execute import Executed, execute
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.target import Target
from harness.errors import ExitCode
from harness.plugin.contract.deployer import PlannedNode
from harness.plugin.registry import Registry
from harness.record.render import console_for, render_table
from harness.record.rundir import slug
from harness.record.state import RunState
from harness.record.summary import matrix_table

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
    """How to run. `command` are the words of this command."""

    runs: Path
    output: str
    quiet: bool
    keep: bool
    command: tuple[str, ...]


def run_all(plans: Sequence[Plan], target: Target, registry: Registry, options: RunOptions) -> int:
    """Run all plans in turn; an interrupted one ends the series. Returns the exit code."""
    failed_observers = registry.load_observers()
    # Before the first run is begun, see that every one can be.
    placed = [anyio.run(target.check, plan) for plan in plans]
    matrix = _matrix(plans)
    states: list[RunState] = []
    codes: list[ExitCode] = []
    for number, (plan, planned) in enumerate(zip(plans, placed, strict=True), 1):
        if len(plans) > 1 and options.output == "plain" and not options.quiet:
            click.echo(f"--- run {number} of {len(plans)} ---", err=True)
        place = {**matrix, "number": number} if matrix else {}
        recorder = Recorder.create(
            options.runs, plan, target, command=options.command, keep_nodes=options.keep, matrix=place
        )
        for text in failed_observers:
            recorder.warn("plugins", text)
        recorder.observe(registry.observers())
        done = _run_one(plan, target, recorder, options, planned, registry)
        states.append(recorder.state)
        codes.append(done.outcome.exit_code)
        if done.interrupted:
            codes += [ExitCode.INTERRUPTED] if number < len(plans) else []
            break
    if len(plans) > 1 and options.output == "plain":
        click.echo()
        table = matrix_table(states, [plan.playbook.variables for plan in plans])
        render_table(table, console_for(sys.stdout))
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
        if json is not None:
            json.close()
        if plain is not None:
            plain.finish(recorder.run_dir)
    if recorder.state.finish is not None and done.outcome.reason != recorder.state.finish.reason:
        tell(done.outcome.reason)  # what happened after the last event
    return done
