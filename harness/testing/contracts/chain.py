"""The chain of the deployer suite: its nodes are `service.py`, which makes no blocks and does as it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from harness.api import (
    Address,
    Artifact,
    Block,
    BlockHeader,
    Capability,
    Chain,
    ChainClient,
    Facts,
    Head,
    Image,
    Launch,
    Network,
    NetworkSpec,
    NoConfig,
    NodeFile,
    NodeSite,
    NodeSpec,
    RoleInfo,
    Timing,
    Unreachable,
    Unsupported,
)

ROLE = "member"
SERVICE = "service.py"
ODD = "a 'b' \"c\" $(d) `e` \\ \n\t -f ☃ {g} [h] %i"
"""A text that shells, terminals, templates and formats would do something with."""
_SOURCE = Path(__file__).with_name(SERVICE)
_IN_IMAGE = PurePosixPath("/opt/harness-contract") / SERVICE
_DOCKERFILE = f"""\
ARG BASE=debian:bookworm-slim
FROM ${{BASE}}
RUN command -v python3 >/dev/null || {{ apt-get update && \\
    apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }}
COPY {SERVICE} {_IN_IMAGE}
"""
_LONGEST_ANSWER = 1024 * 1024


async def ask(address: Address, *request: Any, timeout: float = 5.0) -> Any:
    """A node's answer to a request (see service.py). Raises Unreachable."""
    try:
        with anyio.fail_after(timeout):
            async with await anyio.connect_tcp(address.host, address.port) as stream:
                await stream.send(json.dumps(request).encode() + b"\n")
                return json.loads(await BufferedByteReceiveStream(stream).receive_until(b"\n", _LONGEST_ANSWER))
    except (OSError, TimeoutError, anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        raise Unreachable(f"{address}: {type(error).__name__}: {error}") from error


class ContractChain(Chain[NoConfig]):
    """Nodes that make no blocks, and that do as they are told."""

    name = "contract"
    roles: ClassVar = {ROLE: RoleInfo("does as it is told", votes=True)}
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    tolerance = Fraction(1, 2)

    @property
    def timing(self) -> Timing:
        return Timing(1.0, 0)

    def artifacts(self, facts: Facts) -> Sequence[Artifact]:
        return (Artifact(SERVICE, _SOURCE),)

    def image(self, architecture: str) -> Image:
        return Image(_DOCKERFILE, {SERVICE: _SOURCE}, {SERVICE: _IN_IMAGE})

    def network(self, spec: NetworkSpec) -> Network:
        return ContractNetwork(spec)


class ContractNetwork(Network):
    """See ContractChain."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.wallets = ()

    def launch(self, site: NodeSite) -> Launch:
        ports = (str(site.ports["p2p"]), str(site.ports["api"]))
        return Launch(
            (site.python, "-u", str(site.artifacts[SERVICE]), site.node.name, site.bind, *ports, ODD, ""),
            files=(NodeFile(PurePosixPath("config/peers.json"), _peers(site)),),
            env={"CONTRACT": ODD},
        )

    def client(self, node: NodeSpec, api: Address) -> ChainClient:
        return ContractClient(api)

    def promised_blocks(self, start: float, end: float) -> float:
        return 0.0


def _peers(site: NodeSite) -> bytes:
    return json.dumps({peer.node.name: str(peer.address) for peer in site.dials}).encode()


class ContractClient(ChainClient):
    """Knows whether its node answers."""

    def __init__(self, api: Address) -> None:
        self._api = api

    async def head(self) -> Head:
        return Head(await ask(self._api, "head"), "", 0)

    def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        raise Unsupported("there are no blocks")

    async def block(self, hash: str, height: int) -> Block:
        raise LookupError(hash)

    async def peers(self) -> frozenset[str]:
        return frozenset()

    async def aclose(self) -> None:
        """Every request has a connection of its own."""
