"""`result.json`: what a run came to, for programs.

The keys below are stable; new ones may be added, and `format` counts up when one changes its meaning.

    format        1
    run           id, name, playbook, chain, deployer, seed, version, variables, duration (seconds asked for),
                  block_interval, finality_depth, started_at (UTC, ISO 8601; null when not known),
                  matrix {id, number, of, varies} ({} for a run of its own)
    verdict       pass, unknown or fail; null for a run without an end
    exit_code     as `harness run` exits; null for a run without an end
    status        done, interrupted, not-usable, infrastructure-failed, teardown-incomplete, running or
                  dead
    reason        one sentence
    seconds       the whole run's
    paused_for    seconds for which somebody held the workloads
    phases        [{phase, ok, seconds, error}]
    prepare       {tasks: [name], hosts: {name: {ok, changed, error}}}
    expectations  [{id, verdict, measured, asked, source, evidence, violation_count, violations: [{t, message, evidence}]}]
    workloads     {id: {figure: value}}
    faults        [{id, fault, targets, by, stage, reached: {stage: t}, seen, error, options}]
    steps         [{step, what, stage, reached: {stage: t}, detail, source}]
    nodes         {name: {role, machine, state, height, hash, lag, exits, version, last_error, directory, reach: [word],
                  clock_ahead, clock_uncertainty (seconds)}}
    highest       {height, hash, node}; null when no block was seen
    warnings      [{t, component, level, message, count}]

Times called `t` are seconds since the run began. Texts are as nodes and plugins gave them: escape them for your medium.
"""  # noqa: E501 - a table

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.record.codec import jsonable
from harness.record.rundir import write_atomically
from harness.record.state import ExpectationState, RunState

FORMAT = 1


def result_of(state: RunState, *, alive: bool = False) -> dict[str, Any]:
    """The content of `result.json`; `alive` as for RunState.status."""
    finish, highest = state.finish, state.highest
    content = {
        "format": FORMAT,
        "run": _run(state),
        "verdict": finish.verdict if finish else None,
        "exit_code": finish.exit_code if finish else None,
        "status": state.status(alive),
        "reason": finish.reason if finish else "",
        "seconds": finish.seconds if finish else state.t,
        "paused_for": state.paused_for,
        "phases": [
            {"phase": phase.phase, "ok": phase.ok, "seconds": phase.seconds, "error": phase.error}
            for phase in state.phases
        ],
        "prepare": {
            "tasks": state.tasks,
            "hosts": {
                host.host: {"ok": host.ok, "changed": host.changed, "error": host.error}
                for host in state.prepared.values()
            },
        },
        "expectations": [_expectation(one) for one in state.expectations.values()],
        "workloads": {workload.workload: workload.figures for workload in state.workloads.values()},
        "faults": list(state.faults.values()),
        "steps": list(state.steps.values()),
        "nodes": {
            node.name: {
                "role": node.role,
                "machine": node.machine,
                "state": node.state,
                "height": node.height,
                "hash": node.hash,
                "lag": state.lag(node.name),
                "exits": node.exits,
                "version": node.version,
                "last_error": node.last_error,
                "directory": node.directory,
                "reach": node.reach,
                "clock_ahead": node.clock_ahead,
                "clock_uncertainty": None if node.clock_ahead is None else node.clock_uncertainty,
            }
            for node in state.nodes.values()
        },
        "highest": {"height": highest.height, "hash": highest.hash, "node": highest.node} if highest else None,
        "warnings": list(state.warnings.values()),
    }
    plain: dict[str, Any] = jsonable(content)
    return plain


def _run(state: RunState) -> dict[str, Any] | None:
    run, started = state.run, state.started
    if run is None:
        return None
    return {
        "id": run.run_id,
        "name": run.name,
        "playbook": run.playbook,
        "chain": run.chain,
        "deployer": run.deployer,
        "seed": run.seed,
        "version": run.version,
        "variables": run.variables,
        "duration": run.duration,
        "block_interval": run.block_interval,
        "finality_depth": run.finality_depth,
        "matrix": run.matrix,
        "started_at": started.isoformat(timespec="milliseconds") if started else None,
    }


def _expectation(one: ExpectationState) -> dict[str, Any]:
    return {
        "id": one.expectation,
        "verdict": one.verdict or None,
        "measured": one.measured,
        "asked": one.asked,
        "source": one.source,
        "evidence": one.evidence,
        "violation_count": one.violation_count,
        "violations": list(one.violations),
    }


def write_result(path: Path, state: RunState) -> None:
    """Write `result.json`, all of it or nothing. Raises OSError."""
    write_atomically(path, json.dumps(result_of(state), indent=2, allow_nan=False) + "\n")
