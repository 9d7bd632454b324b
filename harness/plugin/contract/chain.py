"""Chains: what software the nodes run, and how to speak to it."""

from __future__ import annotations

import random
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import Unsupported
from harness.observe.blocks import Block, BlockHeader, Head
from harness.plugin.contract.base import Capability, ConfigT, Plugin
from harness.plugin.contract.machine import Address, Facts
from harness.spec.model import WalletsSpec
from harness.spec.topology import NodeSpec, Topology

if TYPE_CHECKING:  # it speaks of transactions and receipts itself
    from harness.plugin.contract.submission import DataFormat, SubmissionFormat


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """A role of a chain. `votes`: it takes part in consensus. `ports` are the names of what it listens on."""

    description: str
    votes: bool
    ports: tuple[str, ...] = ("p2p", "api")
    peer_port: str = "p2p"
    api_port: str = "api"


@dataclass(frozen=True, slots=True)
class Timing:
    """`block_interval`: mean seconds from block to block. `finality_depth`: a block is final when so many
    stand on top of it; 0 where every block is final at once. `slot`: seconds of a slot, where blocks come by a lottery
    that each slot wins or loses by itself; 0 where they come steadily, or nobody promises how. `stamped_by`: whose
    clocks a header's time is by, where it is no slot's: its proposer's, or the validators' (the median of their votes'
    times, as in BFT time)."""

    block_interval: float
    finality_depth: int
    slot: float = 0.0
    stamped_by: Literal["proposer", "validators"] = "proposer"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that a node's machine must hold before it can start: bytes, or a file of the controller."""

    name: str
    content: bytes | Path
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """How to build a container image that holds all that a node needs: a Dockerfile, the files beside it (name →
    content, or a file of the controller), and where in the image each artifact (by its name) is."""

    dockerfile: str
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    artifacts: Mapping[str, PurePosixPath] = field(default_factory=dict)
    python: str = "python3"


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer that a node is to dial, at the address that the deployer gives for this directed link."""

    node: NodeSpec
    address: Address


@dataclass(frozen=True, slots=True)
class NodeSite:
    """What a chain is told of one node's place before it writes that node's files.

    `artifacts` maps each artifact's name to its path on the machine. `dials` are the peers to dial;
    `python` is a Python 3.11+ interpreter on that machine."""

    node: NodeSpec
    directory: PurePosixPath
    bind: str
    advertise: str
    ports: Mapping[str, int]
    dials: tuple[PeerAddress, ...]
    artifacts: Mapping[str, PurePosixPath]
    python: str


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file to be written before the node starts; `path` is relative to the node's folder."""

    path: PurePosixPath
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run one node. `panic_patterns` are regular expressions (bytes are decoded as UTF-8, errors
    replaced) that no line of a healthy node's log matches."""

    argv: tuple[str, ...]
    files: tuple[NodeFile, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    stop_timeout: float = 5.0
    panic_patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wallet:
    """An account funded at genesis. `balance` is its initial one, in the chain's base unit."""

    index: int
    address: str
    balance: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction, ready to send.

    `effects` says what its inclusion does to balances, by address: what balance checks add up."""

    id: str
    payload: bytes
    sender: int
    nonce: int = 0
    effects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A node's answer to a submission. Not accepted: `reason` says why, in the node's words (untrusted text)."""

    accepted: bool
    id: str
    reason: str = ""


class TransactionFactory(ABC):
    """Makes valid transactions, keeping each wallet's nonce. The order of calls decides what comes out."""

    @abstractmethod
    def make(self, sender: int) -> Transaction:
        """The next transaction of this wallet (its index)."""

    def invalid(self, kind: str, sender: int, settled: Transaction | None = None) -> Transaction:
        """One of this kind (see Chain.invalid_kinds), which every node must refuse; the nonces of `make` stay as they
        are. `id`: under which a block would list it, "" where no block could.

        `settled` is a transaction of this sender that is final, for kinds that repeat one. Raises LookupError where
        this kind needs one."""
        raise Unsupported(f"this chain makes no {kind} transactions")

    def release(self, transaction: Transaction) -> None:
        """It certainly did not get in: its nonce, where the chain has nonces, is to be used again."""

    def resync(self, sender: int, nonce: int) -> None:
        """A node says that this wallet's next nonce is `nonce`."""


class ChainClient(ABC):
    """One connection to one node. Every method raises Unreachable when the node does not answer in time;
    a capability that the chain does not declare raises Unsupported."""

    @abstractmethod
    async def head(self) -> Head: ...

    @abstractmethod
    def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        """See harness.observe.blocks.BlockSource.follow."""

    @abstractmethod
    async def block(self, hash: str, height: int) -> Block:
        """The block with this hash. Raises LookupError when the node does not have it."""

    @abstractmethod
    async def peers(self) -> frozenset[str]:
        """Names of the nodes that this node is connected with now."""

    @abstractmethod
    async def aclose(self) -> None: ...

    async def version(self) -> str:
        """What the node says it is, "" where it does not say."""
        return ""

    async def submit(self, transaction: Transaction) -> Receipt:
        """Send its payload as it is, sound or not. A refusal is a receipt that says why; raises BrokenAnswer where the
        node answers, but neither takes nor refuses it as a sound node does."""
        raise Unsupported("this chain takes no transactions")

    async def balance(self, address: str) -> int:
        raise Unsupported("this chain has no balances")

    async def balances(self) -> Mapping[str, int]:
        """All balances at one moment, those of no wallet (where fees go) included."""
        raise Unsupported("this chain does not list its balances")

    async def nonce(self, address: str) -> int:
        """The next nonce that this node expects of the wallet, counting what is pending."""
        raise Unsupported("this chain has no nonces")

    async def pending(self) -> int:
        """How many transactions wait in this node's mempool."""
        raise Unsupported("this chain shows no mempool")

    async def write_channel(self, channel: str, payload: bytes) -> Receipt:
        """Inscribe `payload` in a data-availability channel; the receipt's id appears in a block's tx_ids."""
        raise Unsupported("this chain has no channels")

    async def disperse(self, channel: str, blob: bytes) -> Receipt:
        """Encode and disperse a blob; the receipt's id (the blob's) appears in a block's tx_ids once enough
        nodes have attested to hold their share."""
        raise Unsupported("this chain has no blobs")

    async def retrieve(self, blob: str) -> bytes:
        """Reconstruct a blob from its shares. Raises LookupError when too few good shares are to be had."""
        raise Unsupported("this chain has no blobs")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network is made from. Everything about it follows from these values alone, `genesis_time`
    (Unix seconds) included."""

    run_id: str
    seed: int
    topology: Topology
    wallets: WalletsSpec
    genesis_time: float


class Network(ABC):
    """One network of a chain: its keys, genesis and wallets, derived deterministically from its spec."""

    spec: NetworkSpec
    wallets: Sequence[Wallet]
    timing: Timing | None = None
    """An adopted network's own pace; None for the one that follows from its chain's options."""
    panic_patterns: tuple[str, ...] = ()
    """Of an adopted network, whose nodes have no Launch: see there."""
    other_power: int = 0
    """The weight of an adopted network's members that are no nodes of this run."""

    supply: int | None = None
    """What all balances come to, at any time; None where that is not constant, or not known."""

    @cached_property
    def unwanted(self) -> dict[str, int]:
        """Ids of transactions that a chain may hold so often at most (0: never), as whoever sends them says before it
        does: the newest ones, oldest first."""
        return {}

    @cached_property
    def senders(self) -> dict[int, str]:
        """Which component sends from a wallet (its index), as far as any has claimed it: two that send from the same
        one would spoil each other's nonces."""
        return {}

    @abstractmethod
    def launch(self, site: NodeSite) -> Launch:
        """Files, arguments and environment of one node. Pure: the same site gives the same bytes."""

    @abstractmethod
    def client(self, node: NodeSpec, api: Address) -> ChainClient:
        """A client with a connection of its own, not yet opened."""

    def power(self, node: NodeSpec) -> int:
        """This node's weight in consensus, 0 for one that does not vote."""
        return 1

    @abstractmethod
    def promised_blocks(self, start: float, end: float) -> float:
        """How many blocks the protocol promises between two moments (Unix seconds) if nobody is disturbed."""

    def transactions(self, rng: random.Random) -> TransactionFactory:
        raise Unsupported("this chain takes no transactions")

    def submission_format(self) -> SubmissionFormat | None:
        """How transactions are handed to nodes over HTTP, for high rates; None where only a client can do that."""
        return None

    def data_format(self) -> DataFormat | None:
        """The same of channel operations and blobs."""
        return None


class Chain(Plugin[ConfigT], ABC):
    """A kind of network software. `tolerance` is the share of the voting power that must stay below which
    nodes may be faulty at once without the protocol's promises failing (1/3 for BFT, 1/2 for longest chain)."""

    roles: ClassVar[Mapping[str, RoleInfo]]
    capabilities: ClassVar[frozenset[Capability]]
    tolerance: ClassVar[Fraction]
    invalid_kinds: ClassVar[frozenset[str]] = frozenset()
    """What TransactionFactory.invalid can make."""
    needs_python: ClassVar[bool] = False
    """Whether its nodes are started with NodeSite.python."""

    @property
    @abstractmethod
    def timing(self) -> Timing: ...

    def check(self, topology: Topology, wallets: WalletsSpec) -> Sequence[str]:
        """What this chain cannot do of what was asked, one sentence each, looked at in plan."""
        return ()

    @abstractmethod
    def artifacts(self, facts: Facts) -> Sequence[Artifact]:
        """What nodes need on such a machine. Raises UsageError saying how to get it, when it is not to be had."""

    def image(self, architecture: str) -> Image:
        """How to build an image for this architecture ("x86_64"). Raises Unsupported when the chain knows no way,
        UsageError saying what is missing."""
        raise Unsupported(f"the chain {self.name} brings no Dockerfile along; name an image")

    @abstractmethod
    def network(self, spec: NetworkSpec) -> Network: ...

    async def adopt(self, spec: NetworkSpec, apis: Mapping[str, Address]) -> Network:
        """The network that somebody else runs, as it says of itself at its nodes' APIs (node name → address): its
        genesis, keys, timing and wallets (balances as they are now) are its own; `launch` is never asked for.
        Which of its members a node is, its API says. Raises Unsupported, Unreachable, and UsageError for a network
        that is not the one that `spec` means."""
        raise Unsupported(f"the chain {self.name} cannot adopt a network that it did not make")

    @classmethod
    def doctor(cls) -> Sequence[tuple[str, bool, str]]:
        """For `harness doctor`: (what, is it there, where it is or how to get it)."""
        return ()
