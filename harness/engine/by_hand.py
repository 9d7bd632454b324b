"""Faults by hand: what somebody who watches a run injects into it, proven, journalled and healed like any other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio.abc
from pydantic import ValidationError

from harness.control.protocol import BadRequest, FaultRequest
from harness.engine.context import RunShared
from harness.errors import FaultError, PluginLoadError, UnknownPluginError
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.fault import Fault
from harness.plugin.contract.fault_use import FAULTS
from harness.plugin.contract.node import Node
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.problems import problems_from_validation

BY_HAND = "by hand"
"""As who these faults are injected."""
SEEN_BY_FAULTS = frozenset({MachineCapability.OWN_DISK, MachineCapability.CLOCK})
"""What a fault looks for itself when it is injected, and no node says of itself."""


class FaultsByHand:
    """Of one drive. They are held in `holding`, and healed at `deadline` at the latest."""

    def __init__(self, shared: RunShared, registry: Registry, holding: anyio.abc.TaskGroup, deadline: float) -> None:
        self._shared = shared
        self._registry = registry
        self._holding = holding
        self._deadline = deadline

    def offered(self) -> Sequence[dict[str, Any]]:
        """Every fault that there is: see ControlClient.faults."""
        return [self._about(name) for name in self._registry.names(Kind.FAULT)]

    def _about(self, name: str) -> dict[str, Any]:
        try:
            cls: type[Fault[Any]] = self._registry.get(Kind.FAULT, name)
        except PluginLoadError as error:
            return {"name": name, "about": "", "options": {}, "why": str(error)}
        about = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        try:
            why = self._lacking(cls(cls.Config()), tuple(self._shared.nodes.values()))
        except ValidationError:  # it has options that must be given: what it needs may depend on them
            why = ""
        return {"name": name, "about": about, "options": cls.Config.model_json_schema(), "why": why}

    async def inject(self, request: FaultRequest, begun: Callable[[], None]) -> None:
        """Returns when it is proven to be there; `begun` is called before it is tried. Raises BadRequest, or FaultError
        when it was not applied."""
        fault = self._fault(request)
        if unknown := [name for name in request.targets if name not in self._shared.nodes]:
            raise BadRequest(f"there is no node {', '.join(unknown)}; there are {', '.join(self._shared.nodes)}")
        targets = [self._shared.nodes[name] for name in request.targets]
        if lacking := self._lacking(fault, targets):
            raise BadRequest(f"{request.fault}: {lacking}")
        if complaints := fault.check(self._shared.plan.view):
            raise BadRequest(f"{request.fault}: {'; '.join(complaints)}")
        begun()
        await self._holding.start(self._hold, fault, targets, request.duration)

    def _fault(self, request: FaultRequest) -> Fault[Any]:
        find = partial(self._registry.get, Kind.FAULT)
        try:
            cls: type[Fault[Any]] = find(request.fault)
        except (UnknownPluginError, PluginLoadError) as error:
            raise BadRequest(str(error)) from None
        try:
            return cls(cls.Config.model_validate(dict(request.options), context={FAULTS: find}))
        except ValidationError as error:
            told = problems_from_validation(error, None, (), cls.Config, data=dict(request.options))
            raise BadRequest(f"{request.fault}: {'; '.join(f'{one.path}: {one.message}' for one in told)}") from None

    def _lacking(self, fault: Fault[Any], targets: Sequence[Node]) -> str:
        """Why these nodes cannot have it in this run, "" when they can. Links are controlled only where that was asked
        for when the network was deployed."""
        for capability in sorted(fault.requires_machine() - SEEN_BY_FAULTS):
            if capability.name.startswith("LINK_"):
                if capability not in self._shared.plan.machine_needs:
                    return f"the network was deployed without {capability}: nothing in the playbook needs it"
            elif lacking := ", ".join(node.name for node in targets if capability not in node.capabilities):
                return f"it needs {capability}, which {lacking} does not allow"
        return ""

    async def _hold(
        self,
        fault: Fault[Any],
        targets: Sequence[Node],
        duration: float,
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        clock, told = self._shared.clock, False
        try:
            async with self._shared.faults.apply(fault, targets, by=BY_HAND):
                task_status.started()
                told = True
                await clock.sleep_until(min(clock.now() + duration, self._deadline))
        except FaultError as error:
            if told or not self._is_gone(targets):
                self._shared.fail(BY_HAND, error)
            if not told:
                raise

    def _is_gone(self, targets: Sequence[Node]) -> bool:
        """Whether nothing is left of the last one on these targets, which was not applied."""
        names = tuple(node.name for node in targets)
        mine = [one for one in self._shared.faults.history if one.by == BY_HAND and one.targets == names]
        return not mine or mine[-1].injected_at is None or mine[-1].healing_proven is True
