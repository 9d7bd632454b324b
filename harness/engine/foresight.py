"""What the fault budget will refuse, as far as that is known before the run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.engine.budget import EXCEED, FaultBudget, Toll, budget_of, what
from harness.engine.components import PlannedStep
from harness.engine.plan import Plan
from harness.engine.seed import derive
from harness.errors import HarnessError, Problem
from harness.plugin.contract.chain import NetworkSpec
from harness.spec.model import SourceRef
from harness.spec.node_patterns import select_nodes

OTHERS = "heal that first, or choose other targets"


def refused(plan: Plan) -> list[Problem]:
    """Faults of steps that cannot be when they are alone, or with those that earlier steps still hold, and nemeses of
    which no turn can be, were it alone. Not for adopted networks, whose powers are not those of the plan."""
    nemeses = [workload for workload in plan.workloads if workload.cls.has_schedule and plan.recorded is None]
    if not nemeses and not any(step.disturbs is not None for step in plan.steps):
        return []
    spec = NetworkSpec("plan", plan.seed, plan.topology, plan.playbook.wallets, genesis_time=0.0)
    budget = budget_of(plan, plan.chain.network(spec))
    problems = list(_refused_steps(plan, budget))
    for nemesis in nemeses:
        try:
            turns = nemesis.make().turns(plan.view, derive(plan.seed, nemesis.id, ""))
            why = budget.refuses_all(turns)
            hint = "" if replace(budget, unlimited=True).refuses_all(turns) else EXCEED
        except Exception as error:  # noqa: BLE001 - a third party's code may raise anything
            why, hint = _failed(error), ""
        if why:
            problems.append(_problem(nemesis.where, nemesis.id, why, hint))
    return problems


def _failed(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"it failed with {type(error).__name__}: {error}"


def _problem(where: SourceRef, what: str, why: str, hint: str = "") -> Problem:
    return Problem(where.file, where.line, where.column, what, why, hint)


def _refused_steps(plan: Plan, budget: FaultBudget) -> Iterator[Problem]:
    held: dict[str, Toll] = {}  # by the names of steps that have not been healed
    absent = [node.name for node in plan.topology.nodes if node.late]
    for step in plan.steps:
        use = step.use
        if use.action == "heal":
            absent += _gone(plan, next(one for one in plan.steps if one.use.name == use.what))
            held.pop(use.what, None)
        if (component := step.disturbs) is None:
            continue
        fault, targets = component.make(), _targets(plan, step)
        try:
            toll, come = budget.toll(fault, targets), fault.comes(targets, absent)
            pointless = budget.pointless(fault, targets)
        except Exception as error:  # noqa: BLE001 - as above
            yield _problem(use.where, use.label, _failed(error))
            continue
        if pointless:
            yield _problem(use.where, use.label, pointless, "choose other nodes, or another layout")
            continue
        others = Toll(frozenset(absent)).union(held.values())
        if why := budget.refuses(what(fault, targets), toll, others):
            hint = EXCEED if not budget.allows(budget.lost(toll | others)) else OTHERS
            yield _problem(use.where, use.label, why, hint)
            continue
        absent = [name for name in absent if name not in come]
        if use.hold is None:
            held[use.name or use.label] = toll
        else:
            absent += _gone(plan, step)


def _gone(plan: Plan, step: PlannedStep) -> list[str]:
    """Who has left the network when the fault of a step is over."""
    return sorted(step.disturbs.make().gone(_targets(plan, step))) if step.disturbs is not None else []


def _targets(plan: Plan, step: PlannedStep) -> tuple[str, ...]:
    return tuple(node.name for node in select_nodes(step.use.targets, plan.topology.nodes))
