"""The agent that holds a run's processes on this machine, and takes them with it when it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from harness.api import CommandRecord, DeployError, InfrastructureError, MachineLost
from harness_agent import AgentClient, Become, SubprocessTransport
from harness_agent.remote import leftovers
from harness_agent.remote.leftovers import Leftover

RECORD, LEDGER = "processes.jsonl", "undo.jsonl"
ANSWER_WITHIN = 20.0
"""Seconds that the agent may take to answer: far more than it needs on the busiest machine."""
PATIENCE = 5.0
"""Seconds that an agent may take to end everything that it holds, and that SIGKILL may take after it."""


class Supervision:
    """A running agent, attached to this process by a pair of pipes: it ends with us, and all that it started."""

    client: AgentClient

    def __init__(self, record: Path, transport: SubprocessTransport) -> None:
        self._record = record
        self._transport = transport
        self._left: list[Leftover] = []

    @classmethod
    async def start(cls, run_dir: Path, audit: Callable[[CommandRecord], None]) -> Supervision:
        """Start an agent with its record in `run_dir`. Raises DeployError."""
        try:
            transport = await SubprocessTransport.start()
            supervision = cls(run_dir / RECORD, transport)
            supervision.client = await AgentClient.attach(
                transport,
                "process",
                become=Become(),
                audit=audit,
                answer_within=ANSWER_WITHIN,
                aftermath=supervision._end_what_is_left,
            )
            try:
                ledger = str(run_dir / LEDGER)
                await supervision.client.request("record", path=str(supervision._record), ledger=ledger)
            except BaseException:
                await supervision.client.aclose()
                raise
        except InfrastructureError as error:
            raise DeployError(f"process: no supervisor for this run: {error}") from error
        return supervision

    async def close(self) -> list[Leftover]:
        """End everything that is held, and the agent. Returns what is left in spite of that."""
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(PATIENCE) as limit, contextlib.suppress(MachineLost):  # it has gone before us
                await self.client.end()
            if limit.cancelled_caught:
                self._transport.kill()
            await self.client.aclose()
        return self._left

    async def _end_what_is_left(self) -> None:
        """Its children died with it where the kernel does that; this is for the others, and to know."""
        end = partial(leftovers.end, self._record, PATIENCE)
        _, self._left = await anyio.to_thread.run_sync(end)
