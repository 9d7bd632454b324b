"""What the fault budget will refuse, as far as that is known before the run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.engine.budget import EXCEED, FaultBudget, Toll, budget_of, what
from harness.engine.components import Component, PlannedStep
from harness.engine.plan import Plan
from harness.engine.seed import derive
from harness.errors import HarnessError, Problem
from harness.plugin.contract.base import Config
from harness.plugin.contract.chain import NetworkSpec
from harness.plugin.contract.fault import Fault, FaultTurn
from harness.plugin.contract.fault_use import FaultUse
from harness.plugin.contract.workload import Workload
from harness.spec.model import SourceRef
from harness.spec.node_patterns import select_nodes

OTHERS = "heal that first, or choose other targets"
ENOUGH = 40
"""Turns that all cannot be before it is said that none can."""
SCHEDULES = 200
"""Schedules at most in which so many are looked for."""


def refused(plan: Plan) -> list[Problem]:
    """Faults of steps that cannot be when they are alone, or with those that earlier steps still hold, and nemeses of
    which no turn can be, were it alone, or none with one of several faults. Not for adopted networks, whose powers are
    not those of the plan."""
    nemeses = [workload for workload in plan.workloads if workload.cls.has_schedule and plan.recorded is None]
    if not nemeses and not any(step.disturbs is not None for step in plan.steps):
        return []
    spec = NetworkSpec("plan", plan.seed, plan.topology, plan.playbook.wallets, genesis_time=0.0)
    budget = budget_of(plan, plan.chain.network(spec))
    problems = list(_refused_steps(plan, budget))
    for nemesis in nemeses:
        try:
            problems += _refused_nemesis(plan, nemesis, budget)
        except Exception as error:  # noqa: BLE001 - a third party's code may raise anything
            problems.append(_problem(nemesis.where, nemesis.id, _failed(error)))
    return problems


def _refused_nemesis(plan: Plan, nemesis: Component[Workload[Any]], budget: FaultBudget) -> list[Problem]:
    def drawn(again: str = "") -> Sequence[FaultTurn]:
        return nemesis.make().turns(plan.view, derive(plan.seed, nemesis.id, again))

    def hint(turns: Sequence[FaultTurn]) -> str:
        return EXCEED if budget.refuses_all(turns) and not replace(budget, unlimited=True).refuses_all(turns) else ""

    problems = [
        _problem(nemesis.place_of(f"{option}:"), f"{nemesis.id}: {option}", why, hint([turn]))
        for option, (turn, why) in _in_vain(_mixed(nemesis.config), drawn, budget).items()
    ]
    if not problems and (why := budget.refuses_all(turns := drawn())):
        problems.append(_problem(nemesis.where, nemesis.id, why, hint(turns)))
    return problems


def _mixed(config: Config) -> Mapping[str, FaultUse]:
    """The faults that are items of lists of options: "faults[2]" → fault."""
    lists = ((name, items) for name, items in config if isinstance(items, list | tuple))
    return {f"{name}[{n}]": item for name, items in lists for n, item in enumerate(items) if isinstance(item, FaultUse)}


def _in_vain(
    faults: Mapping[str, FaultUse], drawn: Callable[[str], Sequence[FaultTurn]], budget: FaultBudget
) -> Mapping[str, tuple[FaultTurn, str]]:
    """Those of which no turn can be, whatever is drawn: a turn, and why not. More schedules are looked at than that of
    the plan, so that it is no matter of luck."""
    pending = dict(faults)
    tried: dict[str, list[tuple[FaultTurn, str]]] = {option: [] for option in faults}
    for number in range(SCHEDULES):
        for turn in drawn(f"again {number}" if number else ""):
            option = next((option for option, use in pending.items() if use.config is turn.config), "")
            if not option or not turn.targets or len(tried[option]) >= ENOUGH:
                continue
            if why := budget.refuses_all([turn]):
                tried[option].append((turn, why))
            else:
                del pending[option]
        if all(len(tried[option]) >= ENOUGH for option in pending):
            break
    return {option: tried[option][0] for option in pending if len(tried[option]) >= ENOUGH}


def _failed(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"it failed with {type(error).__name__}: {error}"


def _problem(where: SourceRef, what: str, why: str, hint: str = "") -> Problem:
    return Problem(where.file, where.line, where.column, what, why, hint)


def _refused_steps(plan: Plan, budget: FaultBudget) -> Iterator[Problem]:
    held: dict[str, Toll] = {}  # by the names of steps that have not been healed
    holding: dict[str, tuple[Fault[Any], Sequence[str]]] = {}
    absent = [node.name for node in plan.topology.nodes if node.late]
    for step in plan.steps:
        use = step.use
        if use.action == "heal":
            absent += _gone(plan, next(one for one in plan.steps if one.use.name == use.what))
            held.pop(use.what, None)
            holding.pop(use.what, None)
        if (component := step.disturbs) is None:
            continue
        fault, targets = component.make(), _targets(plan, step)
        try:
            toll, come = budget.toll(fault, targets), fault.comes(targets, absent)
            pointless = budget.pointless(fault, targets)
            hidden = fault.hidden(targets, budget.powers, budget.links, tuple(holding.values()))
        except Exception as error:  # noqa: BLE001 - as above
            yield _problem(use.where, use.label, _failed(error))
            continue
        if pointless:
            yield _problem(use.where, use.label, pointless, "choose other nodes, or another layout")
            continue
        if hidden:
            yield _problem(use.where, use.label, hidden, OTHERS)
            continue
        others = Toll(frozenset(absent)).union(held.values())
        if why := budget.refuses(what(fault, targets), toll, others):
            hint = EXCEED if not budget.allows(budget.lost(toll | others)) else OTHERS
            yield _problem(use.where, use.label, why, hint)
            continue
        absent = [name for name in absent if name not in come]
        if use.hold is None:
            held[use.name or use.label] = toll
            holding[use.name or use.label] = fault, targets
        else:
            absent += _gone(plan, step)


def _gone(plan: Plan, step: PlannedStep) -> list[str]:
    """Who has left the network when the fault of a step is over."""
    return sorted(step.disturbs.make().gone(_targets(plan, step))) if step.disturbs is not None else []


def _targets(plan: Plan, step: PlannedStep) -> tuple[str, ...]:
    return tuple(node.name for node in select_nodes(step.use.targets, plan.topology.nodes))
