"""Traffic: workloads that offer a network load at fixed moments and follow each piece of it into a block."""

from __future__ import annotations

from typing import Any

from harness.api import Workload, hookimpl
from harness_traffic.da import DataAvailability
from harness_traffic.invalid import InvalidTransactions
from harness_traffic.transactions import Transactions


@hookimpl
def harness_workloads() -> list[type[Workload[Any]]]:
    return [Transactions, InvalidTransactions, DataAvailability]
