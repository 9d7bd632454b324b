"""What dead runs have left on machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness_agent.client import AgentClient
from harness_agent.remote.frames import Header
from harness_agent.values import Holding, MachineLocked, SweepReport

SWEEP_WITHIN = 300.0
"""Seconds that it may take to undo and end everything."""


async def holder(client: AgentClient, base: str = "") -> MachineLocked | None:
    """The refusal that a run would meet on the machine of an attached client now, None where it would not. Only looks:
    at the locks of its user and, where one may become it, of root. Raises MachineLost, InfrastructureError."""
    for become in await _whose(client):
        told = (await client.request("holder", base=base, become=become)).header
        if "run" in told:
            return MachineLocked(client.name, told["run"], told["owner"], told["since"], told["expires_in"])
    return None


async def sweep(client: AgentClient, base: str = "", run_id: str = "") -> SweepReport:
    """Undo, end and remove what dead runs have left on the machine of an attached client: those of its user and, where
    one may become it, of root. A run whose lease is still renewed is let alone. With `run_id`: of this run, be it dead
    or not, and of no other. `base` is the KeeperSpec's. Raises MachineLost, InfrastructureError."""
    answers: list[Header] = []
    spare: list[str] = []
    # Root first: of its runs, dead or alive, a part is the user's, in whose folder nothing says so.
    for become in reversed(await _whose(client)):
        answer = await client.request("sweep", within=SWEEP_WITHIN, base=base, run=run_id, spare=spare, become=become)
        answers.append(answer.header)
        alive = answers[-1]["alive"]
        if not all("run" in told for told in alive):
            break
        spare = [told["run"] for told in alive]
    done, left = (tuple(line for answer in answers for line in answer[key]) for key in ("done", "left"))
    return SweepReport(done, left, tuple(_alive(told) for answer in answers for told in answer["alive"]))


def _alive(told: Mapping[str, Any]) -> str:
    if "run" not in told:
        return "a run that is about to begin"
    return str(Holding(told["run"], told["owner"], told["since"], told["expires_in"]))


async def _whose(client: AgentClient) -> Sequence[bool]:
    """As whom to look (as root?), to see everything that may be seen."""
    return [False] if client.is_root or await client.become_problem() else [False, True]
