"""The deployer's end of the relay: which link has which address, and which are cut."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import anyio

from harness.api import Address, DeployError, FaultError, InfrastructureError, Link, ServiceSpec
from harness_agent import AgentClient, AgentService

PYTHON = (sys.executable, "-I", "-S", "-X", "utf8")
"""Our own script needs the standard library alone: isolated, without site, it starts quickly."""
PATIENCE = 10.0
"""Seconds that the relay may take to do what it is asked."""


class LinkRelay:
    """A relay process, held by the run's agent as the nodes are."""

    def __init__(self, links: tuple[Link, ...]) -> None:
        self._number = {link: number for number, link in enumerate(links)}
        self._asking = anyio.Lock()
        self._asked = 0
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._service: AgentService | None = None
        self.addresses: Mapping[Link, Address] = {}

    @classmethod
    async def start(cls, client: AgentClient, targets: Mapping[Link, Address], run_dir: Path) -> LinkRelay:
        """A relay with a port of its own in front of each link's target. Raises DeployError."""
        relay = cls(tuple(targets))
        script = Path(__file__).with_name("relay.py")
        spec = ServiceSpec("the link relay", (*PYTHON, str(script)), PurePosixPath(run_dir), run_dir / "relay.log")
        try:
            relay._service = await client.spawn(spec, hear=relay._hear, log=str(spec.log))
            answer = await relay._ask(listen=[(target.host, target.port) for target in targets.values()])
        except InfrastructureError as error:
            raise DeployError(f"process: no link relay: {error}") from error
        # The relay holds its ports from before anybody knows them, so the kernel may choose them.
        relay.addresses = {
            link: Address("127.0.0.1", port) for link, port in zip(targets, answer["ports"], strict=True)
        }
        return relay

    async def set_links(self, cut: frozenset[Link]) -> None:
        """Cut exactly these. Raises FaultError when it is not certain that they are, and that the others are not."""
        try:
            await self._ask(cut=sorted(self._number[link] for link in cut))
        except InfrastructureError as error:
            raise FaultError(f"links were not cut or mended: {error}") from error

    async def _ask(self, **request: Any) -> dict[str, Any]:
        """One question at a time. Once asked, it waits for the answer though the caller be cancelled: half a cut is
        what nobody could undo."""
        service = self._service
        assert service is not None
        async with self._asking:
            answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._answer = answer
            self._asked += 1
            with anyio.CancelScope(shield=True):
                await service.tell(json.dumps({"id": self._asked, **request}))
                ended = asyncio.ensure_future(service.wait())
                await asyncio.wait((answer, ended), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
        if not answer.done():
            how = service.exit
            raise InfrastructureError(f"the relay has ended ({how})" if how else f"no answer in {PATIENCE:g} s")
        told = answer.result()
        if "error" in told:
            raise InfrastructureError(told["error"])
        return told

    def _hear(self, line: str) -> None:
        answer = json.loads(line)
        if self._answer is not None and not self._answer.done() and answer["id"] == self._asked:
            self._answer.set_result(answer)
