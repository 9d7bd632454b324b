"""Families of nemeses: one workload for each fault that there is, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.plugin.contract.fault import Fault
from harness.plugin.contract.workload import Workload


@dataclass(frozen=True, slots=True)
class NemesisFamily:
    """`make` gives a fault's workload, whose name is "NAME.FAULT" with this `name`."""

    name: str
    make: Callable[[type[Fault[Any]]], type[Workload[Any]]]
