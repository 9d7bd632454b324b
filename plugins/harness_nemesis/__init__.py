"""Faults and the workloads that inject them."""

from __future__ import annotations

from harness.api import hookimpl
from harness_nemesis.chaos import ChaosRestart
from harness_nemesis.restart import Restart


@hookimpl
def harness_workloads() -> list[type[ChaosRestart]]:
    return [ChaosRestart]


@hookimpl
def harness_faults() -> list[type[Restart]]:
    return [Restart]
