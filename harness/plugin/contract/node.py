"""Nodes as workloads, faults and expectations handle them."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.chain import ChainClient, Launch
from harness.plugin.contract.machine import Address, Exit, Machine, Usage
from harness.spec.topology import NodeSpec


class NodeState(enum.StrEnum):
    """What the harness has done with a node, or seen of it. `exited`: it ended without being asked to."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    EXITED = "exited"


class Node(ABC):
    """One running member of the network. `adopted`: somebody else runs it; the harness only looks, and controls it
    where the inventory allows that, as `capabilities` says. Control calls are serialised per node and journalled.

    Faults use these calls through `ctx.faults`, which writes the ledger first; a workload that calls them
    directly leaves no ledger entry and must not."""

    spec: NodeSpec
    machine: Machine
    capabilities: frozenset[MachineCapability]
    launch: Launch
    log_path: Path
    directory: PurePosixPath | None = None
    """Its folder on its machine; None where it is somebody else's."""
    adopted: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    @abstractmethod
    def state(self) -> NodeState: ...

    @property
    @abstractmethod
    def exits(self) -> Sequence[tuple[Exit, bool]]:
        """Every end of its process so far, and whether the harness had asked for just that: a node that did not obey
        its stop signal and had to be killed, or that crashed on it, did not end as it was asked to."""

    @abstractmethod
    async def start(self, launch: Launch | None = None) -> None:
        """Start it; returns once its process runs (see `wait_ready`). With a `launch`, that is how from now on: other
        arguments, files, environment. Raises InfrastructureError, Unsupported for one that somebody else runs."""

    @abstractmethod
    async def stop(self) -> Exit:
        """Its chain's stop signal, then SIGKILL after the stop timeout. Returns how it ended."""

    @abstractmethod
    async def kill(self) -> Exit:
        """SIGKILL at once."""

    @abstractmethod
    async def pause(self) -> None:
        """Suspend its processes (SIGSTOP). Needs PAUSE."""

    @abstractmethod
    async def resume(self) -> None: ...

    @abstractmethod
    async def wait_ready(self, timeout: float) -> None:
        """Wait until its API answers. Raises NotReadyError, with the last lines of its log, when its process
        ends or `timeout` seconds are over."""

    @abstractmethod
    async def process_state(self) -> str:
        """What its machine's kernel says now: "running", "paused" or "gone"."""

    async def sync_log(self) -> None:
        """Wait until what it has written up to now is in `log_path`. Raises InfrastructureError."""

    async def usage(self) -> Usage | None:
        """What its processes use now, None where that cannot be told. Raises InfrastructureError."""
        return None

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Process id while it runs."""

    @abstractmethod
    def endpoint(self, port: str = "") -> Address:
        """Where the controller reaches this port; by default that of its API."""

    @abstractmethod
    def client(self) -> ChainClient:
        """The control client of this node, shared: do not close it. For load or following, ask `new_client`."""

    @abstractmethod
    def new_client(self) -> ChainClient:
        """A client with a connection of its own; the caller closes it."""
