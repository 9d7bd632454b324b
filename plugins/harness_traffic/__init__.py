"""Traffic: workloads that offer load at fixed moments, and follow into a block each piece that belongs there."""

from __future__ import annotations

from typing import Any

from harness.api import Workload, hookimpl
from harness_traffic.da import DataAvailability
from harness_traffic.http import Http
from harness_traffic.invalid import InvalidTransactions
from harness_traffic.transactions import Transactions


@hookimpl
def harness_workloads() -> list[type[Workload[Any]]]:
    return [Transactions, InvalidTransactions, DataAvailability, Http]
