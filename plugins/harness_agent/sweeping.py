"""What dead runs have left on machines."""

from __future__ import annotations

from harness_agent.client import AgentClient
from harness_agent.values import SweepReport

SWEEP_WITHIN = 300.0
"""Seconds that it may take to undo and end everything."""


async def sweep(client: AgentClient, base: str = "", run_id: str = "") -> SweepReport:
    """Undo, end and remove what dead runs have left on the machine of an attached client: those of its user and, where
    one may become it, of root. A run whose lease is still renewed is let alone. With `run_id`: of this run, be it dead
    or not, and of no other. `base` is the KeeperSpec's. Raises MachineLost, InfrastructureError."""
    became = [False] if client.is_root or await client.become_problem() else [False, True]
    answers = [
        (await client.request("sweep", within=SWEEP_WITHIN, base=base, run=run_id, become=become)).header
        for become in became
    ]
    done, left, alive = (tuple(line for answer in answers for line in answer[key]) for key in ("done", "left", "alive"))
    return SweepReport(done, left, alive)
