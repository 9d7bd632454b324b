"""CPUs and memory for each node of a host: what the deployer's options say, and its variables, which win."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from harness.api import Config, HostSpec, Size

LEAST_MEMORY = 6 << 20
"""Bytes: engines refuse to limit a container to less."""


class Limits(Config):
    """What a host's or group's variables harness_cpus and harness_memory say."""

    harness_cpus: float | None = Field(None, ge=0.01)
    harness_memory: Size | None = Field(None, ge=LEAST_MEMORY)


def limits_of(host: HostSpec, cpus: float | None, memory: int | None) -> tuple[float | None, int | None]:
    """CPUs and bytes of memory; `cpus` and `memory` are the options. Raises ValueError with a sentence."""
    given = {key: host.vars[key] for key in Limits.model_fields if key in host.vars}
    try:
        limits = Limits.model_validate(given)
    except ValidationError as error:
        told = [f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()]
        raise ValueError("; ".join(told)) from error
    return (
        cpus if limits.harness_cpus is None else limits.harness_cpus,
        memory if limits.harness_memory is None else limits.harness_memory,
    )


def limit_problems(host: HostSpec, cpus: float | None, memory: int | None, info: Mapping[str, Any]) -> list[str]:
    """What an engine of which this is known has against them, a sentence each."""
    try:
        cpus, memory = limits_of(host, cpus, memory)
    except ValueError as error:
        return [str(error)]
    problems = []
    if cpus is not None and cpus > info["NCPU"]:
        problems.append(f"each node is to have {cpus:g} CPUs, and this engine has {info['NCPU']}")
    if cpus is not None and not info.get("CpuCfsQuota", True):
        problems.append("the kernel of this engine cannot limit CPUs (no CFS quota)")
    if memory is not None and not info.get("MemoryLimit", True):
        problems.append("the kernel of this engine cannot limit memory")
    return problems
