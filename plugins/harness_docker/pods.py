"""A container beside each node that has the node's network namespace: what is put there stays while the node is stopped
and started, and holds from a new process's first packet on. In there nft has its rules, and a relay its ports where one
is needed; the node has no right to change either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio

from harness.api import Access, Address, Completed, DeployError, Image, InfrastructureError, Link
from harness_agent.nft import IP, address, trial
from harness_docker.commands import ROOT_USER, Command, Commands, run_audited
from harness_docker.containers import Attachment, Helper, Joined, create_helper, run_helper
from harness_docker.engine import Engine
from harness_docker.images import NodeImage, Source, ensure, find, missing
from harness_docker.relay import RECIPE as PYTHON
from harness_docker.relay import RelayContainer

NAME = "link rules"
NFT = "nft"
RIGHTS = ("NET_ADMIN",)
IDLE = ("sleep", "infinity")
LOOPBACK = "127.0.0.1"
ADDRESSES = "/proc/net/if_inet6"
WITHIN = 60.0
"""Seconds for a short command, on an engine that starts fifty containers."""
RECIPE = Image(
    PYTHON.dockerfile
    + """\
RUN command -v nft >/dev/null || { apt-get update && \\
    apt-get install --yes --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*; }
""",
    {},
    {},
)


class Pod:
    """One of them. Of rules it is what a machine is elsewhere."""

    def __init__(
        self, engine: Engine, plan: Helper, node: str, own: Attachment, relay: RelayContainer | None, access: Access
    ) -> None:
        self.name = f"{node}.net"
        self.node = node
        self.relay = relay
        self._engine = engine
        self._plan = plan
        self._own = own
        self._access = access
        self._container = ""

    @property
    def inside(self) -> Joined:
        """How to be in its network namespace, once it was started."""
        return Joined(self._container)

    async def start(self, targets: Mapping[Link, Address]) -> Mapping[Link, Address]:
        """`targets`: where the node takes what comes over each link. Where that is to be dialled from now on. Raises
        InfrastructureError."""
        if self.relay is not None:
            doors = {link: Address(LOOPBACK, target.port) for link, target in targets.items()}
            addresses = await self.relay.start(doors)
            self._container = self.relay.id
            return addresses
        with anyio.CancelScope(shield=True):
            self._container = await self._engine.ask(create_helper, self._engine.client, self._plan)
            await self._engine.ask(self._engine.client.start, self._container)
        return targets

    async def addresses(self, *, ipv6: bool) -> frozenset[IP]:
        """By which packets of its node are known. Those of IPv6, where there are any, are given out by the kernel, too:
        they are read there. Raises InfrastructureError."""
        found = {address(self._own.address)}
        if ipv6:
            done = await self.run(("cat", ADDRESSES), timeout=WITHIN)
            if done.returncode != 0:
                raise InfrastructureError(f"{self.name}: {done.stderr.decode(errors='replace').strip()[:300]}")
            found |= {ip for line in done.stdout.decode().splitlines() if not (ip := _ipv6(line)).is_loopback}
        return frozenset(found)

    async def run(
        self, argv: Sequence[str], *, input: bytes = b"", timeout: float = WITHIN, become: bool = False
    ) -> Completed:
        """See Machine.run."""
        command = Command(tuple(argv), input, user=ROOT_USER if become else "")
        commands = Commands(self._engine, self._container, partial(self._access.warn, self.name))
        return await run_audited(self.name, commands, command, timeout, self._access.audit)

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None:
        """What is in a network namespace goes with it, as that does with the run's containers."""

    async def ledger_remove(self, entry: str) -> None:
        """See there."""

    async def close(self) -> None:
        """After its container was removed: wait until everything about it has ended."""
        if self.relay is not None:
            await self.relay.close()


def _ipv6(line: str) -> IP:
    """Of a line of if_inet6: the address in 32 digits, then its interface's number and name, and more."""
    return address(":".join(line[at : at + 4] for at in range(0, 32, 4)))


async def have_image(engine: Engine, source: Source, name: str, labels: Mapping[str, str], run_dir: Path) -> NodeImage:
    """An image that has nft, which was seen to work there. `name` and `labels` are for the container that tries it.
    Raises DeployError."""
    image = await ensure(engine, source, NAME, run_dir)
    if problem := await _try(engine, image, name, labels):
        raise DeployError(f"docker: {problem}")
    return image


async def why_none(engine: Engine, source: Source, name: str, labels: Mapping[str, str]) -> str:
    """Why there can be no rules, as far as that can be told without building anything; "" if there is no reason. Where
    the image is there from another run, it is tried. Raises InfrastructureError."""
    if problems := await missing(engine, source):
        return problems[0]
    image = await find(engine, source, NAME)
    return "" if image is None else await _try(engine, image, name, labels)


async def _try(engine: Engine, image: NodeImage, name: str, labels: Mapping[str, str]) -> str:
    """What nft and the kernel have against our rules, in a network namespace of their own, which is gone afterwards."""
    plan = Helper(name, image.id, (NFT, trial()), None, labels, ROOT_USER, RIGHTS)
    status, said = await engine.ask(run_helper, engine.client, plan)
    text = " ".join(said.decode(errors="replace").split())[:300]
    return f"this engine does not take our rules: {text or f'nft ended with status {status}'}" if status else ""
