"""Deployers: they make machines ready for nodes, and take them down again. Nodes run *on* machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from harness.plugin.contract.base import ConfigT, MachineCapability, Plugin
from harness.plugin.contract.chain import Artifact
from harness.plugin.contract.machine import Address, Machine
from harness.spec.topology import Link, NodeSpec


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host of the inventory with its resolved variables."""

    name: str
    vars: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node, the host that it goes to, and the names of the ports that its chain wants for it.

    `peer_port` is the one that other nodes dial."""

    spec: NodeSpec
    host: HostSpec
    ports: tuple[str, ...]
    peer_port: str


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """Everything that a deployer needs to know, decided in plan. `run_dir` is the controller's."""

    run_id: str
    run_dir: Path
    nodes: tuple[PlannedNode, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a node lives: its machine, its folder there, what it binds, and its ports by name.

    `advertise` is the host name or address under which other nodes reach this one."""

    node: NodeSpec
    machine: Machine
    directory: PurePosixPath
    bind: str
    advertise: str
    ports: Mapping[str, int]


class Deployment(ABC):
    """Machines that are ready for nodes. Closing the context manager that gave it tears everything down."""

    placements: Mapping[str, Placement]

    @abstractmethod
    def link_address(self, link: Link) -> Address:
        """The address that `link.src` is to dial to reach `link.dst`. One for each directed link, so that a
        relay can stand between. Constant through the deployment's life."""

    @abstractmethod
    def endpoint(self, node: str, port: str) -> Address:
        """Where the controller reaches this node's named port."""

    @abstractmethod
    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        """Have an artifact on a machine, sent at most once; returns its path there."""

    async def set_links(self, cut: frozenset[Link]) -> None:
        """Cut exactly these directed links and mend all others. Needs LINK_CONTROL."""
        raise NotImplementedError("this deployer has no link control")


class Deployer(Plugin[ConfigT], ABC):
    """Puts a network's nodes on machines."""

    capabilities: ClassVar[frozenset[MachineCapability]]

    def offered(self) -> frozenset[MachineCapability]:
        """What this deployer, configured as it is, can do: looked at in plan."""
        return self.capabilities

    async def check(self, nodes: Sequence[PlannedNode]) -> Sequence[str]:
        """Look, touch nothing: what stands in the way, one sentence each ("docker: no engine at …")."""
        return ()

    @abstractmethod
    def deploy(self, request: DeployRequest) -> AbstractAsyncContextManager[Deployment]:
        """Make the machines ready. Leaving the context removes all that was made, raising TeardownError
        with what is left. Raises DeployError."""

    @abstractmethod
    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Remove what a dead run left behind, and say what that was, one line each."""
