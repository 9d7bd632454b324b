"""CometBFT as a chain of the harness: its options, and one network's keys, files and clients."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Field

from harness.api import (
    Address,
    Artifact,
    Capability,
    Chain,
    Config,
    Duration,
    Facts,
    Image,
    Launch,
    Network,
    NetworkSpec,
    NodeFile,
    NodeSite,
    NodeSpec,
    RoleInfo,
    Timing,
    Topology,
    TransactionFactory,
    UsageError,
    Wallet,
    WalletsSpec,
)
from harness_cometbft import binary, files, keys
from harness_cometbft.adopting import PANIC_PATTERNS, adopt
from harness_cometbft.client import CometClient, TransactionFormat
from harness_cometbft.transactions import INVALID_KINDS, KeyValueFactory

_PRIVATE = 0o600
_DEFAULT_POWER = 10

CONSENSUS_SECONDS = 0.05
"""What a block takes beyond `timeout_commit`: three rounds of messages. Measured with four validators and a full node
on two cores, under 5 to 10 transactions a second: 0.04 in a full mesh, 0.05 in a star, 0.06 in a chain."""

_MESSAGE_DELAY = 0.01
"""How long messages to peers wait for company. CometBFT's default of 100 ms makes a block of `timeout_commit` = 1 s
take 1.31 s; this costs 1 % of a core more a node."""

DOCKERFILE = """\
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN command -v python3 >/dev/null || { apt-get update && \\
    apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }
COPY cometbft /usr/local/bin/cometbft
RUN cometbft version
"""
"""Python is not for the node: faults are seen from there with it."""


class CometConfig(Config):
    """Options of the chain `cometbft`."""

    binary: str | None = Field(None, description="path of the cometbft binary; found by itself if not given")
    timeout_commit: Duration = Field(1.0, description="pause after each block: block time is a little more", gt=0)
    timeout_propose: Duration = Field(1.0, description="how long a round waits for its proposal", gt=0)
    timeout_prevote: Duration = Field(0.5, description="how long a round waits once 2/3 prevoted, but not alike", gt=0)
    timeout_precommit: Duration = Field(0.5, description="the same for precommits", gt=0)
    powers: dict[str, Annotated[int, Field(ge=1, le=10**12)]] = Field(
        default_factory=dict, description=f"voting power by node name; {_DEFAULT_POWER} for those not named"
    )
    mempool_size: int = Field(5000, description="transactions that a node's mempool holds", ge=1)
    log_level: str = Field(
        "state:info,*:error", description='as CometBFT has it, e.g. "info" or "consensus:debug,*:error"'
    )


class CometBFT(Chain[CometConfig]):
    """The real CometBFT 0.38 with its built-in kvstore application.

    Every validator votes; a block needs more than 2/3 of the power and is final at once. Transactions set keys:
    there are wallets, as senders, but no balances and no nonces. Peers are exactly the topology's links (peer
    exchange is off). A node that loses a peer redials it every 5 to 8 s: that is CometBFT's own pace."""

    name = "cometbft"
    Config = CometConfig
    roles: ClassVar[Mapping[str, RoleInfo]] = {
        "validator": RoleInfo("proposes and votes", votes=True),
        "full": RoleInfo("follows, relays and serves, without a vote", votes=False),
    }
    capabilities = frozenset({Capability.TRANSACTIONS, Capability.FINALITY, Capability.MEMPOOL})
    tolerance = Fraction(1, 3)
    invalid_kinds = INVALID_KINDS

    @property
    def timing(self) -> Timing:
        interval = self.config.timeout_commit + CONSENSUS_SECONDS
        return Timing(interval, finality_depth=0, stamped_by="validators")

    def check(self, topology: Topology, wallets: WalletsSpec) -> Sequence[str]:
        validators = {node.name for node in topology.with_role("validator")}
        problems = [] if validators else ["there is no validator"]
        return problems + [
            f"powers: {name!r} is no validator of this topology"
            for name in self.config.powers
            if name not in validators
        ]

    def artifacts(self, facts: Facts) -> Sequence[Artifact]:
        return [Artifact("cometbft", binary.find(self.config.binary), executable=True)]

    def image(self, architecture: str) -> Image:
        found = binary.find(self.config.binary)
        if (built_for := binary.architecture(found)) != architecture:
            raise UsageError(
                f"cometbft: {found} is for {built_for or 'no Linux'}, and the image is to run on Linux {architecture}; "
                "set HARNESS_COMETBFT or the chain's option `binary` to one that is"
            )
        return Image(DOCKERFILE, {"cometbft": found}, {"cometbft": PurePosixPath("/usr/local/bin/cometbft")})

    def network(self, spec: NetworkSpec) -> Network:
        return CometNetwork(spec, self.config, self.timing)

    async def adopt(self, spec: NetworkSpec, apis: Mapping[str, Address]) -> Network:
        return await adopt(spec, apis, self.timing)

    @classmethod
    def doctor(cls) -> Sequence[tuple[str, bool, str]]:
        go = binary.find_go()
        build = ("go", go is not None, str(go) if go else "needed to build cometbft: https://go.dev/dl")
        try:
            return [(f"cometbft {binary.SERIES}x", True, str(binary.find())), build]
        except UsageError as error:
            return [(f"cometbft {binary.SERIES}x", False, str(error)), build]


class CometNetwork(Network):
    """Keys, genesis and configuration of one network."""

    def __init__(self, spec: NetworkSpec, config: CometConfig, timing: Timing) -> None:
        self.spec = spec
        self.wallets = [Wallet(i, f"wallet-{i}", balance=0) for i in range(spec.wallets.count)]
        self._config = config
        self._timing = timing
        nodes = spec.topology.nodes
        self._node_keys = {node.name: keys.Key.derive(spec.seed, "node", node.name) for node in nodes}
        self._validator_keys = {node.name: keys.Key.derive(spec.seed, "validator", node.name) for node in nodes}
        self._node_ids = {key.node_id: name for name, key in self._node_keys.items()}
        self._proposers = {key.validator_address: name for name, key in self._validator_keys.items()}
        self._genesis = files.genesis(
            files.chain_id(spec.run_id),
            spec.genesis_time,
            [
                files.GenesisValidator(node.name, self._validator_keys[node.name], power)
                for node in nodes
                if (power := self.power(node))
            ],
        )

    def power(self, node: NodeSpec) -> int:
        return self._config.powers.get(node.name, _DEFAULT_POWER) if node.role == "validator" else 0

    def launch(self, site: NodeSite) -> Launch:
        name = site.node.name
        return Launch(
            argv=(str(site.artifacts["cometbft"]), "start", "--home", str(site.directory)),
            files=(
                NodeFile(PurePosixPath("config/genesis.json"), self._genesis),
                NodeFile(PurePosixPath("config/config.toml"), files.toml(self._node_config(site))),
                NodeFile(PurePosixPath("config/node_key.json"), self._node_keys[name].node_key_file(), _PRIVATE),
                NodeFile(
                    PurePosixPath("config/priv_validator_key.json"),
                    self._validator_keys[name].validator_key_file(),
                    _PRIVATE,
                ),
                NodeFile(PurePosixPath("data/priv_validator_state.json"), keys.UNSIGNED_STATE, _PRIVATE),
            ),
            panic_patterns=PANIC_PATTERNS,
        )

    def _node_config(self, site: NodeSite) -> Mapping[str, Mapping[str, str | int | bool]]:
        """What differs from CometBFT's defaults, or must not depend on them."""
        config, bind = self._config, site.bind
        linked = sorted(self._node_keys[peer].node_id for peer in self.spec.topology.peers_of(site.node.name))
        dials = [f"{self._node_keys[peer.node.name].node_id}@{peer.address}" for peer in site.dials]
        return {
            "": {
                # The persistent one keeps its state on disk: the in-memory one would replay the whole chain at
                # each restart.
                "proxy_app": "persistent_kvstore",
                "moniker": site.node.name,
                "log_level": config.log_level,
            },
            "rpc": {"laddr": f"tcp://{Address(bind, site.ports['api'])}", "grpc_laddr": "", "pprof_laddr": ""},
            "p2p": {
                "laddr": f"tcp://{Address(bind, site.ports['p2p'])}",
                "persistent_peers": ",".join(dials),
                # Peers of the topology are beyond CometBFT's limits of 40 in, 10 out: the hub of a star needs it.
                "unconditional_peer_ids": ",".join(linked),
                "pex": False,
                "addr_book_strict": False,
                "allow_duplicate_ip": True,
                "flush_throttle_timeout": files.milliseconds(_MESSAGE_DELAY),
            },
            "mempool": {"size": config.mempool_size},
            "consensus": {
                "timeout_commit": files.milliseconds(config.timeout_commit),
                "timeout_propose": files.milliseconds(config.timeout_propose),
                "timeout_prevote": files.milliseconds(config.timeout_prevote),
                "timeout_precommit": files.milliseconds(config.timeout_precommit),
                "peer_gossip_sleep_duration": files.milliseconds(_MESSAGE_DELAY),
            },
            "instrumentation": {"prometheus": False},
        }

    def client(self, node: NodeSpec, api: Address) -> CometClient:
        return CometClient(
            node.name,
            api,
            node_ids=self._node_ids,
            proposers=self._proposers,
            block_interval=self._timing.block_interval,
        )

    def promised_blocks(self, start: float, end: float) -> float:
        """One each block interval, as long as every proposer is there."""
        return (end - start) / self._timing.block_interval

    def transactions(self, rng: random.Random) -> TransactionFactory:
        return KeyValueFactory(self.wallets, rng)

    def submission_format(self) -> TransactionFormat:
        return TransactionFormat()
