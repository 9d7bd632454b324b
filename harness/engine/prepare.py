"""`[[prepare]]`: tasks that ready machines. One task after the other, each on all of its hosts at once (the linear
order of Ansible); a host on which one fails is left out of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio

from harness.clock import Clock
from harness.engine.components import PlannedTask
from harness.engine.tasks import all_of
from harness.errors import HarnessError, Problem, SpecError, UsageError
from harness.plugin.contract.deployer import HostSpec, PlannedNode
from harness.plugin.contract.machine import Machine
from harness.plugin.contract.task import Task, TaskContext, TaskResult
from harness.spec.inventory import Inventory
from harness.spec.model import SourceRef
from harness.spec.secrets import Secret


@dataclass(frozen=True, slots=True)
class Step:
    """A task, and its view of each host that it is for."""

    task: PlannedTask
    plugin: Task[Any]
    hosts: Mapping[str, TaskContext]


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What a task came to on one host. `result` is None when it failed, and `error` says why."""

    host: str
    step: Step
    seconds: float
    result: TaskResult | None = None
    error: str = ""

    @property
    def told(self) -> str:
        """The failure as a whole: host, task and place."""
        use = self.step.task.use
        return f"{self.host}: {use.label} ({use.use.where}): {self.error}"


def hosts_to_prepare(nodes: Sequence[PlannedNode]) -> Mapping[str, HostSpec]:
    """The hosts that these nodes go to, but those of which somebody else is master."""
    adopted = {node.host.name for node in nodes if node.adoption is not None}
    return {node.host.name: node.host for node in nodes if node.host.name not in adopted}


def assign(tasks: Sequence[PlannedTask], hosts: Mapping[str, HostSpec], inventory: Inventory) -> tuple[Step, ...]:
    """Which task goes to which of these hosts. Raises SpecError with all that is wrong and can be known before a
    machine is touched: patterns that match nothing of the inventory, and what tasks say of hosts."""
    problems: list[Problem] = []
    steps = []
    for task in tasks:
        step = Step(task, task.component.make(), {})
        try:
            names = [name for name in inventory.select(task.use.hosts) if name in hosts]
            step = replace(step, hosts={name: _view(task, hosts[name]) for name in names})
        except SpecError as error:
            problems += error.problems
        except UsageError as error:
            problems.append(_problem(task.use.hosts_at, task, str(error)))
        problems += _complaints(step)
        steps.append(step)
    if problems:
        raise SpecError(set(problems))
    return tuple(steps)


def _view(task: PlannedTask, host: HostSpec) -> TaskContext:
    """Without the inventory's secrets: a file with what is shown in place of one would be of no use to anybody."""
    become = host.connection.become if task.use.become is None else task.use.become
    variables = {key: value for key, value in host.vars.items() if not isinstance(value, Secret)}
    return TaskContext({**variables, "inventory_hostname": host.name}, become)


def _complaints(step: Step) -> Iterator[Problem]:
    hosts: dict[str, list[str]] = {}
    for host, view in step.hosts.items():
        for complaint in step.plugin.problems(view):
            hosts.setdefault(complaint, []).append(host)
    for complaint, of in hosts.items():
        more = f" (and {len(of) - 1} more)" if len(of) > 1 else ""
        yield _problem(step.task.use.use.where, step.task, f"host {of[0]}{more}: {complaint}")


def _problem(where: SourceRef, task: PlannedTask, message: str) -> Problem:
    return Problem(where.file, where.line, where.column, "", f"{task.label}: {message}")


async def prepare(
    steps: Sequence[Step],
    machines: Mapping[str, Machine],
    *,
    forks: int,
    clock: Clock,
    tell: Callable[[TaskOutcome], None],
    check: bool = False,
) -> Sequence[TaskOutcome]:
    """Do all tasks, `forks` hosts at once at most, and tell of each on each host as it ends. With `check` nothing is
    touched: tasks say what they would do. Returns what failed, at most one task a host."""
    failed: dict[str, TaskOutcome] = {}
    places = anyio.Semaphore(forks)

    async def one(step: Step, host: str) -> None:
        async with places:
            outcome = await _try(step, host, machines[host], clock, check)
        if outcome.result is None:
            failed[host] = outcome
        tell(outcome)

    for step in steps:
        await all_of(partial(one, step, host) for host in step.hosts if host not in failed)
    return tuple(failed.values())


async def _try(step: Step, host: str, machine: Machine, clock: Clock, check: bool) -> TaskOutcome:
    do = step.plugin.check if check else step.plugin.apply
    began = clock.now()
    try:
        result = await do(machine, step.hosts[host])
    except HarnessError as error:
        why = (str(error) or type(error).__name__).removeprefix(f"{host}: ")
        return TaskOutcome(host, step, clock.now() - began, error=why)
    return TaskOutcome(host, step, clock.now() - began, result)
