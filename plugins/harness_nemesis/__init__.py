"""Faults and the workloads that inject them."""

from __future__ import annotations

from typing import Any

from harness.api import Fault, NemesisFamily, Workload, hookimpl
from harness_nemesis.bandwidth import Bandwidth
from harness_nemesis.block_peer import BlockPeer
from harness_nemesis.chaos import ChaosMix, ChaosRestart, chaos_of
from harness_nemesis.clock_skew import ClockSkew
from harness_nemesis.cpu_stress import CpuStress
from harness_nemesis.disk_full import DiskFull
from harness_nemesis.ending import Kill, Restart, Stop
from harness_nemesis.latency import Latency
from harness_nemesis.loss import Loss
from harness_nemesis.membership import Churn, Join, Leave
from harness_nemesis.partition import Partition
from harness_nemesis.pause import Pause
from harness_nemesis.upgrade import Upgrade


@hookimpl
def harness_workloads() -> list[type[Workload[Any]]]:
    return [ChaosRestart, ChaosMix]


@hookimpl
def harness_nemeses() -> list[NemesisFamily]:
    return [NemesisFamily("chaos", chaos_of)]


@hookimpl
def harness_faults() -> list[type[Fault[Any]]]:
    return [
        Restart,
        Kill,
        Stop,
        Pause,
        Partition,
        BlockPeer,
        Latency,
        Loss,
        Bandwidth,
        CpuStress,
        Upgrade,
        DiskFull,
        ClockSkew,
        Churn,
        Join,
        Leave,
    ]
