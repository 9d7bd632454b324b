"""Playing the schedules of faults of an earlier run again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from pydantic import ValidationError

from harness.engine.by_hand import BY_HAND
from harness.engine.plan import Plan, RecordedFaults
from harness.errors import PluginLoadError, UnknownPluginError, UsageError
from harness.plugin.contract.fault import FaultTurn
from harness.plugin.contract.fault_use import FAULTS
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.record.events import FaultsScheduled, Recorded
from harness.record.turns import ABOUT_TURNS, TurnTaken, turns_taken
from harness.spec.durations import format_duration
from harness.spec.local_path import context_for


def replayed(plan: Plan, registry: Registry, run_id: str, journal: Iterable[Recorded]) -> Plan:
    """The same plan, whose nemeses do just what those of an earlier run did: turns that it skipped, or did not come to,
    are not taken either. Faults of steps are the playbook's own; those that were injected by hand cannot be played
    again, which the run that is made of the plan tells.

    Raises UsageError with all that keeps the two from matching: nemeses that one has and the other has not; and of
    turns that were taken, nodes that are not there, faults that cannot be made any more, a drive that is too short."""
    journal = [one for one in journal if isinstance(one.event, ABOUT_TURNS)]
    schedules = [one.event for one in journal if isinstance(one.event, FaultsScheduled)]
    recorded = {schedule.component: schedule for schedule in schedules}
    if not recorded:
        raise UsageError(f"{run_id} recorded no schedule of faults: it had no nemesis, or ended before its drive")
    nemeses = {workload.id for workload in plan.workloads if workload.cls.has_schedule}
    problems = [f"it has {one}, which the playbook has not" for one in sorted(recorded.keys() - nemeses)]
    problems += [f"the playbook has {one}, which it has not" for one in sorted(nemeses - recorded.keys())]
    turns: dict[str, list[FaultTurn]] = {component: [] for component in recorded}
    by_hand = []
    for taken in turns_taken(journal):
        if taken.turn is None:
            if taken.component == BY_HAND:
                at = format_duration(taken.at)
                by_hand.append(f"{taken.fault} of {', '.join(taken.targets)}, {BY_HAND} at {at} in {run_id}")
        elif (turn := _turn(taken, plan, registry, problems)) is not None:
            turns[taken.component].append(turn)
    if problems:
        told = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise UsageError(f"the faults of {run_id} cannot be played again here:\n{told}")
    made = {component: tuple(ones) for component, ones in turns.items()}
    return replace(plan, recorded=RecordedFaults(run_id, schedules[0].seed, made, tuple(by_hand)))


def _turn(turn: TurnTaken, plan: Plan, registry: Registry, problems: list[str]) -> FaultTurn | None:
    """The turn as it is to be played; None where that is not possible, having said why, or not needed."""
    taken = turn.outcome not in ("skipped", "not reached")
    at, name, duration = turn.at, turn.fault, turn.duration or 0.0
    here = f"{turn.component} at {format_duration(at)}"
    if at >= plan.duration:
        if taken:
            problems.append(f"{here}: the drive is over after {format_duration(plan.duration)}")
        return None
    missing = [target for target in turn.targets if taken and target not in plan.view.node_names]
    problems += [f"{here}: there is no node {target}" for target in missing]
    try:
        fault = registry.get(Kind.FAULT, name)
        context = {**context_for(plan.playbook.source), FAULTS: partial(registry.get, Kind.FAULT)}
        config = fault.Config.model_validate(turn.options, context=context)
    except (UnknownPluginError, PluginLoadError) as error:
        problems.append(f"{here}: {error}")
        return None
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) + f": {one['msg']}" for one in error.errors())
        problems.append(f"{here}: {name} does not take its options any more: {wrong}")
        return None
    return FaultTurn(at, fault, config, turn.targets, duration, taken)
