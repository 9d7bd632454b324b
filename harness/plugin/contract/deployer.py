"""Deployers: they make machines ready for nodes, and take them down again. Nodes run *on* machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar

from harness.errors import Unsupported
from harness.plugin.contract.base import ConfigT, MachineCapability, Plugin
from harness.plugin.contract.chain import Artifact, Chain
from harness.plugin.contract.machine import Address, CommandRecord, Facts, Machine
from harness.spec.connection import Connection
from harness.spec.links import Flow, LinkShape
from harness.spec.model import SourceRef
from harness.spec.topology import Link, NodeSpec


@dataclass(frozen=True)
class HostSpec:
    """A host of the inventory with its resolved variables, and where each was written."""

    name: str
    vars: Mapping[str, Any]
    places: Mapping[str, SourceRef] = field(default_factory=dict)

    @cached_property
    def connection(self) -> Connection:
        """How to reach it. Raises SpecError for variables that are wrong, at their places."""
        return Connection.of(self.name, self.vars, self.places)


@dataclass(frozen=True, slots=True)
class Adoption:
    """How a node that somebody else runs is looked at, and controlled where `control` allows it.

    `unit` is its systemd unit and `pid_file` the file with its pid, on its machine; with neither, nothing is known
    of its machine. `endpoints` are what it listens at, by the chain's names for ports: as its machine reaches them
    (`Deployment.endpoint` says how the controller does), as the controller does where there is no machine. `log` is
    a log file on the machine, "" for the unit's journal."""

    endpoints: Mapping[str, Address]
    unit: str = ""
    pid_file: str = ""
    log: str = ""
    control: bool = False

    @property
    def has_machine(self) -> bool:
        return bool(self.unit or self.pid_file)


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node, the host that it goes to, and the names of the ports that its chain wants for it.

    `peer_port` is the one that other nodes dial. With an `adoption` it is there already, run by somebody else: its
    deployer gives it a machine and nothing more.

    A `sender` is no node of the network, but what sends load from that host: it needs the network's nodes in reach, a
    Python 3.11+ and nothing of the chain, and its ports are for the controller alone. It is in no link, and links are
    shaped without regard to it.

    `libraries` are shared ones that faults are to have its process load: their paths on its machine, or in its
    image."""

    spec: NodeSpec
    host: HostSpec
    ports: tuple[str, ...]
    peer_port: str
    adoption: Adoption | None = None
    sender: bool = False
    libraries: frozenset[str] = frozenset()


def unaudited(record: CommandRecord) -> None:
    """For whoever wants no record of the commands."""


def untold(machine: str, message: str) -> None:
    """For whoever wants to hear nothing of machines."""


@dataclass(frozen=True, slots=True)
class Access:
    """How machines are to be dealt with, whatever kind they are: `forks` at once at most. `audit` is told of every
    command that was run on one; `warn` (machine, sentence) of what people should know of one although the run goes on:
    a link that was lost, and found again. Both are called from the event loop's thread."""

    forks: int = 20
    audit: Callable[[CommandRecord], None] = unaudited
    warn: Callable[[str, str], None] = untold


@dataclass(frozen=True, slots=True)
class HostReport:
    """What was seen of a host without touching it. `problems` stand in the way of any run ("no route to host"), one
    sentence each, without the host's name; `lacks` says why a capability that one might expect is not there, `instead`,
    in a sentence, what provides one that is there in the place of what one might expect, and why. `unusable`: of its
    nodes' libraries those that no process there can load, by their paths, each with a sentence that says why."""

    host: str
    capabilities: frozenset[MachineCapability] = frozenset()
    problems: tuple[str, ...] = ()
    lacks: Mapping[MachineCapability, str] = field(default_factory=dict)
    facts: Facts | None = None
    instead: Mapping[MachineCapability, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealReport:
    """What `heal` did, and which runs it let alone since they are alive, or may be: a sentence each, with the machine's
    name in front where there are several, the latter with whose the run is and until when it holds what it has."""

    done: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """Everything that a deployer needs to know, decided in plan. `run_dir` is the controller's."""

    run_id: str
    run_dir: Path
    nodes: tuple[PlannedNode, ...]
    links: tuple[Link, ...]
    chain: Chain[Any]
    access: Access = field(default_factory=Access)
    needs: frozenset[MachineCapability] = frozenset(MachineCapability)
    """What will be asked of the machines: what takes effort to have there is left out where it is not needed."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a node lives: its machine, its folder there, what it binds, and its ports by name.

    `advertise` is the host name or address under which other nodes reach this one. `reach` are words for a shell at the
    controller that bring a person to the node, with no secret in them: `ssh -p 22 admin@db1`, `docker exec -it db1 sh`,
    `cd /srv/db1`; empty where nobody knows. Of an adopted node only the machine and `reach` count."""

    node: NodeSpec
    machine: Machine
    directory: PurePosixPath
    bind: str
    advertise: str
    ports: Mapping[str, int]
    reach: tuple[str, ...] = ()


class Deployment(ABC):
    """Machines that are ready for nodes. Closing the context manager that gave it tears everything down.

    `hosts` are the inventory's hosts as machines, by their names, where they are machines before there are nodes on
    them: empty where machines are made for nodes (containers)."""

    placements: Mapping[str, Placement]
    hosts: Mapping[str, Machine] = MappingProxyType({})

    @abstractmethod
    def link_address(self, link: Link) -> Address:
        """The address that `link.src` is to dial to reach `link.dst`. One for each directed link, so that a
        relay can stand between. Constant through the deployment's life."""

    @abstractmethod
    def endpoint(self, node: str, port: str) -> Address:
        """Where the controller reaches this node's named port. Constant through the deployment's life."""

    @abstractmethod
    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        """Have an artifact on a machine, sent at most once; returns its path there."""

    async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
        """Do exactly this to traffic between nodes, and nothing to all other traffic; undone when the deployment ends,
        whichever way. Nodes may be restarted meanwhile. Needs LINK_CONTROL, LINK_DELAY … as the shapes do; where it was
        not asked for in `DeployRequest.needs`, it may be refused. Raises FaultError when it is not certain that all is
        as it is to be."""
        raise Unsupported("this deployer has no link control")

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        """What `shape_links` does that by: "relay", "nft", "tc". Empty where it does not say."""
        return frozenset()

    def passage(self, link: Link, port: int) -> AbstractAsyncContextManager[Address]:
        """The address by which `link.src` reaches this port of the machine of `link.dst`, instead of that node's own:
        whatever is done to the link's traffic is done to what goes there. As long as the context is open. Entering it
        raises InfrastructureError."""
        raise Unsupported("this deployer has no other way than the nodes' own")


class Deployer(Plugin[ConfigT], ABC):
    """Puts a network's nodes on machines."""

    capabilities: ClassVar[frozenset[MachineCapability]]
    """What its machines can do at best; `inspect` says what those at hand can."""

    @abstractmethod
    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        """Look, touch nothing: for each host, once, what it can do and what stands in the way. Called in plan."""

    def connect(self, hosts: Sequence[HostSpec], access: Access) -> AbstractAsyncContextManager[Mapping[str, Machine]]:
        """Hosts as machines, without a run: for `harness exec`, `harness inventory ping`. Entering it connects with
        none: each connects when it is first used, and raises MachineLost then. Raises Unsupported where hosts are
        no machines without a run."""
        raise Unsupported(f"the deployer {self.name} has no machines but those that a run makes")

    def hold(
        self, hosts: Sequence[HostSpec], access: Access, who: str
    ) -> AbstractAsyncContextManager[Mapping[str, Machine]]:
        """The same for who changes them: where runs have a machine for themselves, so has this, which is called `who`
        for those who are refused meanwhile. Of a machine that cannot be reached every use raises MachineLost. Raises
        DeployError for one that somebody has, saying who and since when; TeardownError; and what `connect` does."""
        return self.connect(hosts, access)

    @abstractmethod
    def deploy(self, request: DeployRequest) -> AbstractAsyncContextManager[Deployment]:
        """Make the machines ready. Leaving the context removes all that was made, raising TeardownError
        with what is left. Raises DeployError; TeardownError from it when what had been made by then is not gone."""

    @abstractmethod
    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Remove what a dead run left behind, from what it wrote into its `run_dir`; say what that was, one line
        each. Raises TeardownError for what is left in spite of that."""

    async def heal(self, hosts: Sequence[HostSpec], access: Access) -> HealReport:
        """The same without any run directory: from what dead runs have written on these machines themselves.

        A run whose lease is not over is left alone. Raises TeardownError."""
        return HealReport()
