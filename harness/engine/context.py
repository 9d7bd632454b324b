"""The engine's side of what workloads and expectations are handed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio

from harness.clock import Clock
from harness.engine.faults import Faults
from harness.engine.load_source import LoadSource
from harness.engine.plan import Plan
from harness.engine.seed import derive
from harness.engine.steering import Steering
from harness.errors import HarnessError, InfrastructureError
from harness.load.job import Job
from harness.load.senders import Senders
from harness.observe.feed import BlockFeed
from harness.observe.tracker import Tracker
from harness.plugin.contract.chain import Network
from harness.plugin.contract.context import Context, Window
from harness.plugin.contract.machine import Address
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, Note, WorkloadProgress
from harness.spec.node_patterns import select_nodes

T = TypeVar("T")


@dataclass
class RunShared:
    """What all components of one run share. `window` is set when drive begins.

    `kept` is what components hold for as long as the run goes on.
    `failures` is what went wrong with the run itself, not with the network; `failed` is set by the first."""

    run_id: str
    run_dir: Path
    plan: Plan
    network: Network
    nodes: Mapping[str, Node]
    clock: Clock
    feed: BlockFeed
    emit: Callable[[Event], None]
    make_tracker: Callable[[str], Tracker]
    steering: Steering
    load: LoadSource
    faults: Faults = field(init=False)
    trackers: dict[str, Tracker] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    window: Window | None = None
    quiet: bool = False
    kept: AsyncExitStack = field(default_factory=AsyncExitStack)
    failures: list[HarnessError] = field(default_factory=list)
    failed: anyio.Event = field(default_factory=anyio.Event)

    def fail(self, component: str, error: HarnessError, trace: str = "") -> None:
        """The run itself has failed: its drive ends, what was seen is still judged, and the result says so."""
        self.failures.append(InfrastructureError(f"{component}: {error}"))
        self.failed.set()
        self.emit(Note(component, "error", str(error), {"traceback": trace} if trace else {}))


class ComponentContext(Context):
    """One component's view of the run."""

    def __init__(self, shared: RunShared, component: str) -> None:
        self._shared = shared
        self.component = component
        self.run_id = shared.run_id
        self.run_dir = shared.run_dir
        self.seed = shared.plan.seed
        self.chain = shared.plan.chain
        self.network = shared.network
        self.nodes = shared.nodes
        self.clock = shared.clock
        self.feed = shared.feed
        self.faults = shared.faults
        self.block_interval = shared.plan.timing.block_interval
        self.finality_depth = shared.plan.timing.finality_depth

    @property
    def quiet(self) -> bool:  # type: ignore[override]
        return self._shared.quiet

    @property
    def window(self) -> Window:
        if self._shared.window is None:
            raise RuntimeError("the drive has not begun: there is no window yet")
        return self._shared.window

    @property
    def deadline(self) -> float:
        return self.window.start + self._shared.plan.duration

    def rng(self, name: str = "") -> random.Random:
        return derive(self.seed, self.component, name)

    def tracker(self, name: str) -> Tracker:
        trackers = self._shared.trackers
        if name not in trackers:
            trackers[name] = self._shared.make_tracker(name)
        return trackers[name]

    def trackers(self) -> Mapping[str, Tracker]:
        return self._shared.trackers

    async def unpaused(self) -> float:
        return await self._shared.steering.unpaused()

    async def until_paused(self) -> None:
        await self._shared.steering.until_paused()

    def senders(
        self, job: Job, peak: float, processes: int | None = None, most: int | None = None
    ) -> AbstractAsyncContextManager[Senders]:
        return self._shared.load.senders(job, peak, processes, most)

    def sent_to(self, node: Node, port: str = "") -> Address:
        return self._shared.load.reaches(node, port)

    async def keep(self, resource: AbstractAsyncContextManager[T]) -> T:
        return await self._shared.kept.enter_async_context(resource)

    def note(self, message: str, **data: Any) -> None:
        self._shared.emit(Note(self.component, "info", message, data))

    def warn(self, message: str, **data: Any) -> None:
        self._shared.emit(Note(self.component, "warning", message, data))

    def progress(self, **figures: float | int | str) -> None:
        known = self._shared.figures.setdefault(self.component, {})
        known.update(figures)
        self._shared.emit(WorkloadProgress(self.component, dict(known)))

    def select(self, pattern: str) -> Sequence[Node]:
        there = [node for node in self.nodes.values() if not node.spec.late or node.state is not NodeState.CREATED]
        specs = select_nodes(pattern, [node.spec for node in there])
        return tuple(self.nodes[spec.name] for spec in specs)
