"""Tasks: what readies a machine before nodes come to it. `[[prepare]]` of a playbook is a list of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.plugin.contract.base import ConfigT, Plugin
from harness.plugin.contract.machine import Machine
from harness.spec.template import fill_in


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task did to a machine, or (asked by `check`) would do.

    `detail` says it in a few words, "" where there is nothing to say. `diff` is for people: from what is there to what
    is wanted, as `diff -u` has it; `check` gives it."""

    changed: bool
    detail: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """One host's view of a task. `variables` are the host's, of the inventory, but its secrets; `become`: whatever is
    done there is to be done as root (`Machine.run(become=)`)."""

    variables: Mapping[str, Any]
    become: bool = False

    def render(self, text: str, more: Mapping[str, Any] | None = None) -> str:
        """Fill in the templates of a text, with the host's variables and `more`, which win. Raises ValueError, which
        says in which line and why."""
        return fill_in(text, {**self.variables, **(more or {})})


class Task(Plugin[ConfigT], ABC):
    """Something to be done to a machine, unless it is done already.

    One instance deals with all hosts of a run, several at once. `Config` has none of the keys that stand beside every
    task in a playbook: `use`, `name`, `hosts`, `become`. Files of the controller are options of the type `LocalPath`.
    Both methods raise InfrastructureError with the machine's own words when it cannot be done."""

    def problems(self, ctx: TaskContext) -> Sequence[str]:
        """What of its options cannot be done on such a host. Asked in plan, with no machine at hand."""
        return ()

    @abstractmethod
    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        """Do it. The second time nothing is changed, as far as the task can see."""

    @abstractmethod
    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        """Say what `apply` would do, touching nothing."""
