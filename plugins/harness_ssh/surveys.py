"""Asking all machines of a run who is who there, before their kernels are to do something between its nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import anyio

from harness.api import InfrastructureError, Machine, PlannedNode
from harness_agent.nft import Session
from harness_ssh.connection import SshConnection
from harness_ssh.deployment import Site
from harness_ssh.pool import Pool

SurveyT = TypeVar("SurveyT")
ANSWERS_WITHIN = 15.0
"""Seconds for a machine to say who is connected with it."""

Ask = Callable[[Machine, Mapping[str, str]], Awaitable[SurveyT | str]]
"""What a machine says of itself and these peers (addresses by node), or why nothing can be done there."""


async def surveys(
    ask: Ask[SurveyT], nodes: Sequence[PlannedNode], sites: Mapping[str, Site], pool: Pool, forks: int
) -> tuple[dict[str, SurveyT], list[Session]] | str:
    """Of each node, with our own connections; or why not. `forks` machines are asked at once. Raises
    InfrastructureError."""
    homes = {node.spec.name: node.host.name for node in nodes}
    seen: dict[str, SurveyT] = {}
    sessions: list[Session] = []
    problems: list[str] = []
    slots = anyio.CapacityLimiter(forks)

    async def look(node: str, host: str) -> None:
        peers = {peer: sites[home].address for peer, home in homes.items() if peer != node}
        async with slots:
            told = await ask(sites[host].machine, peers)
            if isinstance(told, str):
                problems.append(f"{host}: {told}")
                return
            seen[node] = told
            try:
                sessions.append(await session(await pool.get(host)))
            except ValueError:
                problems.append(f"{host}: its SSH server does not say whom it is connected with")

    async with anyio.create_task_group() as tasks:
        for node, host in homes.items():
            tasks.start_soon(look, node, host)
    return min(problems) if problems else (seen, sessions)


async def session(connection: SshConnection) -> Session:
    """This connection as the machine has it. Raises ValueError where it does not say, InfrastructureError."""
    said = b""
    try:
        with anyio.fail_after(ANSWERS_WITHIN):
            async with await connection.execute("printenv SSH_CONNECTION") as channel:
                async for piece in channel:
                    said += piece
    except TimeoutError:
        raise InfrastructureError(f"{connection.destination} does not run commands") from None
    return Session.of(said.decode(errors="replace"))
