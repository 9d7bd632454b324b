"""Relays that an agent holds as it does the nodes: they end with the run, and outlive a lost connection."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.api import ServiceSpec
from harness_agent.client import AgentClient
from harness_agent.relay.control import Relay, argv
from harness_agent.service import AgentService

NAME = "the link relay"


class _Service:
    """A service whose lines are ours, as a line to a relay."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def tell(self, line: str, *, repeatable: bool) -> None:
        await self._service.tell(line, repeatable=repeatable)

    async def ended(self) -> str:
        return str(await self._service.wait())


async def spawn(
    client: AgentClient, python: str, folder: PurePosixPath, log: Path, *, shared_files: bool = False
) -> Relay:
    """A relay on this agent's machine, in this folder of it. `log` is the controller's, where with `shared_files` the
    relay writes it itself. Raises InfrastructureError."""
    relay = Relay(client.name)
    spec = ServiceSpec(NAME, argv(python), folder, log)
    where = {"log": str(log)} if shared_files else {}
    relay.line = _Service(await client.spawn(spec, hear=relay.hear, **where))
    return relay
