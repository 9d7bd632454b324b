"""Invalid transactions beside valid ones, calm and under chaos: valid traffic suffers from chaos alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.testing import Finished

pytestmark = [pytest.mark.anyio, pytest.mark.real]
Network = Callable[..., Awaitable[Finished]]

VALID = """
[[workloads]]
use = "transactions"
rate = "5/s"
users = 4
nodes = "validator-0:executor"
"""
INVALID = """
[[workloads]]
use = "transactions.invalid"
rate = "15/s"
first_wallet = 4
users = 4
"""
CHAOS = """
[[workloads]]
use = "chaos.restart"
targets = "validator-1:validator-2"
min_delay = "2s"
max_delay = "3s"
target_cooldown = "1s"
"""
WORSE = 0.1
"""Share of the valid transactions that may fare worse: what one network shows from run to run on a busy machine."""


def valid(finished: Finished) -> tuple[float, float, dict[str, Any]]:
    """Shares of the valid transactions that were sent: accepted by nodes, and of those included."""
    (told,) = finished.state.expectations["transaction-inclusion"].evidence.values()
    sent = told["offered"] - told["dropped"]
    assert sent >= 20, told
    return told["accepted"] / sent, told["included"] / max(1, told["accepted"]), told


@pytest.mark.parametrize("chaos", ["", CHAOS], ids=["calm", "chaos"])
async def test_valid_traffic_does_not_suffer_from_invalid(network: Network, chaos: str) -> None:
    alone = await network(VALID + chaos, duration="10s", slot="200ms")
    beside = await network(VALID + INVALID + chaos, duration="10s", slot="200ms")
    accepted, included, before = valid(alone)
    accepted_beside, included_beside, after = valid(beside)
    assert accepted_beside >= accepted - WORSE, (before, after)
    assert included_beside >= included - WORSE, (before, after)
    assert "nonce" not in " ".join(after["reasons"]) or "nonce" in " ".join(before["reasons"]), (before, after)
    for name in ("rejects-invalid", "invalid-never-included"):
        judged = beside.state.expectations[name]
        assert judged.verdict != "fail", judged.measured
    refused = beside.state.expectations["rejects-invalid"].evidence["kinds"]
    assert sum(counts.get("rejected", 0) for counts in refused.values()) >= 50, refused
    if chaos:
        assert beside.state.faults, "no fault was injected"
