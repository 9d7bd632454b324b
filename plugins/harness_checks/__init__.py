"""Expectations: what any network of any chain must hold to."""

from __future__ import annotations

from typing import Any

from harness.api import Expectation, hookimpl
from harness_checks.availability import DataAvailabilityHolds
from harness_checks.balances import BalancesConserved
from harness_checks.block_timing import BlockTiming
from harness_checks.convergence import Convergence
from harness_checks.forks import NoForks
from harness_checks.health import NodesHealthy
from harness_checks.http_load import HttpLoad
from harness_checks.inclusion import TransactionInclusion
from harness_checks.invalid import InvalidNeverIncluded, RejectsInvalid
from harness_checks.liveness import ConsensusLiveness
from harness_checks.recovery import Recovery
from harness_checks.safety import Safety


@hookimpl
def harness_expectations() -> list[type[Expectation[Any]]]:
    return [
        ConsensusLiveness,
        TransactionInclusion,
        DataAvailabilityHolds,
        NoForks,
        NodesHealthy,
        BalancesConserved,
        RejectsInvalid,
        InvalidNeverIncluded,
        Convergence,
        Recovery,
        Safety,
        BlockTiming,
        HttpLoad,
    ]
