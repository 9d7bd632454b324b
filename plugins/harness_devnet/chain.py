"""The chain `devnet`: its options, and networks of it, made deterministically from a NetworkSpec."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

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
    Size,
    Timing,
    Topology,
    TransactionFactory,
    Wallet,
    WalletsSpec,
)
from harness_devnet.adopting import adopt
from harness_devnet.bundle import NAME, devnet_pyz
from harness_devnet.client import DevnetClient
from harness_devnet.invalid import KINDS
from harness_devnet.network import PANICS, GenesisNetwork
from harness_devnet.node import misbehave
from harness_devnet.node.codec import digest, encode
from harness_devnet.node.genesis import FEE, MAX_SHARES, parse
from harness_devnet.node.lottery import threshold
from harness_devnet.wallets import Transfers, address, secret

EPOCH_PER_K = 10
"""An epoch, after which the lottery's seed changes, has 10k/f slots, as in Ouroboros."""

DOCKERFILE = f"""\
ARG BASE=debian:bookworm-slim
FROM ${{BASE}}
RUN command -v python3 >/dev/null || {{ apt-get update && \\
    apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }}
RUN python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "devnet needs Python 3.11 or newer")'
COPY {NAME} /opt/harness/{NAME}
"""


def _known_switch(text: str) -> str:
    try:
        misbehave.parse(text)
    except misbehave.NotAllowed as error:
        raise ValueError(str(error)) from None
    return text


class DevnetConfig(Config):
    """Options of the chain `devnet`."""

    slot_duration: Duration = Field(0.5, ge=0.02, description="length of a slot")
    active_slot_coeff: float = Field(0.5, gt=0, le=1, description="share of slots that have a leader (Praos' f)")
    security_param: int = Field(10, ge=1, le=2160, description="a block is final when so many stand on top of it (k)")
    block_txs: int = Field(1000, ge=1, le=100_000, description="transactions that a block may hold")
    block_size: Size = Field(1 << 20, ge=4096, le=4 << 20, description="bytes of transactions that a block may hold")
    inscription_size: Size = Field(16 << 10, ge=1, le=64 << 10, description="bytes of one channel write")
    blob_size: Size = Field(1 << 20, ge=1, le=2 << 20, description="bytes of one blob")
    stakes: dict[str, Annotated[int, Field(ge=1, le=10**12)]] = Field(
        {}, description="stake by validator's node name; 1 where not given"
    )
    misbehave: dict[str, Annotated[str, AfterValidator(_known_switch)]] = Field(
        {},
        description='how nodes break the rules, by node name: "switch" or "switch@height", of '
        + ", ".join(misbehave.SWITCHES)
        + f". To test a harness with; needs {misbehave.PERMISSION}=allowed in the environment",
    )


class Devnet(Chain[DevnetConfig]):
    """The embedded chain: a stake-weighted slot lottery, longest chain, finality after k blocks, wallets with
    transfers, and blobs coded over the validators. Small and honest; its machines need Python 3.11, nothing else."""

    name = "devnet"
    Config = DevnetConfig
    needs_python = True
    roles: ClassVar[Mapping[str, RoleInfo]] = {
        "validator": RoleInfo("proposes blocks in the slots it wins; keeps and attests shares of blobs", votes=True),
        "executor": RoleInfo("full node that serves channels and blobs", votes=False),
    }
    capabilities = frozenset(
        {
            Capability.TRANSACTIONS,
            Capability.TRANSFERS,
            Capability.BALANCES,
            Capability.BLOBS,
            Capability.FINALITY,
            Capability.MEMPOOL,
        }
    )
    tolerance = Fraction(1, 2)
    invalid_kinds = KINDS

    @property
    def timing(self) -> Timing:
        """A slot has a leader with probability f, whatever the stakes: a block every slot_duration/f seconds."""
        slot = self.config.slot_duration
        return Timing(slot / self.config.active_slot_coeff, self.config.security_param, slot)

    def check(self, topology: Topology, wallets: WalletsSpec) -> Sequence[str]:
        problems = []
        validators = {node.name for node in topology.with_role("validator")}
        if not 1 <= len(validators) <= MAX_SHARES:
            problems.append(f"{len(validators)} validators; devnet needs 1 to {MAX_SHARES}")
        for name in sorted(self.config.stakes.keys() - validators):
            problems.append(f"stakes names {name!r}, which is no validator of this topology")
        for name in sorted(self.config.misbehave.keys() - {node.name for node in topology.nodes}):
            problems.append(f"misbehave names {name!r}, which is no node of this topology")
        for name, text in self.config.misbehave.items():
            if (switch := misbehave.parse(text).switch) in misbehave.OF_VALIDATORS and name not in validators:
                problems.append(f"misbehave: {switch!r} is for validators, which {name!r} is not")
        if self.config.misbehave and not misbehave.permitted():
            problems.append(f"misbehave breaks nodes on purpose; set {misbehave.PERMISSION}=allowed to permit it")
        if wallets.count and not FEE < wallets.balance <= 10**12:
            problems.append(f"wallets.balance is {wallets.balance}; devnet takes {FEE + 1} to {10**12}")
        if wallets.count > 100_000:
            problems.append(f"{wallets.count} wallets; devnet takes up to 100000")
        return problems

    def artifacts(self, facts: Facts) -> Sequence[Artifact]:
        return (Artifact(NAME, devnet_pyz()),)

    def image(self, architecture: str) -> Image:
        return Image(DOCKERFILE, {NAME: devnet_pyz()}, {NAME: PurePosixPath("/opt/harness", NAME)})

    def network(self, spec: NetworkSpec) -> DevnetNetwork:
        return DevnetNetwork(spec, self.config)

    async def adopt(self, spec: NetworkSpec, apis: Mapping[str, Address]) -> Network:
        return await adopt(spec, apis)

    @classmethod
    def doctor(cls) -> Sequence[tuple[str, bool, str]]:
        return ((NAME, True, f"built in, {len(devnet_pyz()) >> 10} KiB"),)


class DevnetNetwork(GenesisNetwork):
    """One network: genesis, keys and wallets."""

    def __init__(self, spec: NetworkSpec, config: DevnetConfig) -> None:
        self._config = config
        self._secrets = {node.name: secret(spec.seed, "node", node.name) for node in spec.topology.nodes}
        self.wallets = tuple(
            Wallet(i, address(secret(spec.seed, "wallet", str(i))), spec.wallets.balance)
            for i in range(spec.wallets.count)
        )
        self.genesis_document = encode(self._genesis(spec))
        super().__init__(spec, parse(self.genesis_document))

    def power(self, node: NodeSpec) -> int:
        """A validator's stake; 0 for an executor."""
        return self._config.stakes.get(node.name, 1) if node.role == "validator" else 0

    def _genesis(self, spec: NetworkSpec) -> dict[str, Any]:
        config = self._config
        total = sum(self.power(node) for node in spec.topology.nodes)
        members = [
            {
                "name": node.name,
                "role": node.role,
                "key": address(self._secrets[node.name]),
                "stake": self.power(node),
                "threshold": f"{threshold(self.power(node), total, config.active_slot_coeff):064x}",
            }
            for node in spec.topology.nodes
        ]
        return {
            "run": spec.run_id,
            "time": round(spec.genesis_time * 1e6),
            "slot": round(config.slot_duration * 1e6),
            "epoch_slots": math.ceil(EPOCH_PER_K * config.security_param / config.active_slot_coeff),
            "k": config.security_param,
            "seed": digest(f"harness-devnet/{spec.seed}/lottery".encode()),
            "members": members,
            "balances": {wallet.address: wallet.balance for wallet in self.wallets},
            "limits": {
                "block_txs": config.block_txs,
                "block_bytes": config.block_size,
                "inscription_bytes": config.inscription_size,
                "blob_bytes": config.blob_size,
            },
        }

    def launch(self, site: NodeSite) -> Launch:
        name = site.node.name
        switch = self._config.misbehave.get(name, "")
        document = {
            "name": name,
            "secret": self._secrets[name].hex(),
            "p2p": {"host": site.bind, "port": site.ports["p2p"]},
            "api": {"host": site.bind, "port": site.ports["api"]},
            "dials": [
                {"name": peer.node.name, "host": peer.address.host, "port": peer.address.port} for peer in site.dials
            ],
            "misbehave": switch,
        }
        return Launch(
            # -I: what the machine's environment says of Python's path is none of the node's business.
            argv=(site.python, "-I", str(site.artifacts[NAME]), "--config", str(site.directory / "node.json")),
            files=(
                NodeFile(PurePosixPath("genesis.json"), self.genesis_document),
                NodeFile(PurePosixPath("node.json"), encode(document), 0o600),
            ),
            env={misbehave.PERMISSION: "allowed"} if switch else {},
            stop_timeout=3.0,
            panic_patterns=PANICS,
        )

    def client(self, node: NodeSpec, api: Address) -> DevnetClient:
        return DevnetClient(api)

    def transactions(self, rng: random.Random) -> TransactionFactory:
        return Transfers(self.genesis, self.spec.seed, self.wallets, rng)


__all__ = ["Devnet", "DevnetConfig", "DevnetNetwork"]
