"""What is known of a machine by asking it: whether and how fast it answers, its clock, what it is and can do."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio

from harness.errors import InfrastructureError, MachineLost, UsageError
from harness.plugin.clock_offset import EXCHANGES, ClockOffset, best_offset, exchange
from harness.plugin.contract.machine import Machine
from harness.record.text import unnamed


@dataclass(frozen=True, slots=True)
class Ability:
    """`there` is None where that cannot be known. `why` says why it is not there, or not known."""

    there: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class HostPing:
    """What was seen of a host. Not `reached`: `error` says why, in a sentence. Seconds throughout.

    `connecting` is how long the first command took, which also connected; `latency` the median of those after it.
    `machine` is what the probe said (harness.engine.probe_script), empty with `probe_error` where it could not be run;
    `abilities` are root (can one become it?), nft, tc, netem, htb, tbf, systemd."""

    host: str
    reached: bool
    error: str = ""
    connecting: float | None = None
    latency: float | None = None
    clock: ClockOffset | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    probe_error: str = ""
    abilities: Mapping[str, Ability] = field(default_factory=dict)


async def ping(name: str, machine: Machine, timeout: float) -> HostPing:
    """Look at a machine, which connects to it if need be; it is given `timeout` seconds in all."""
    try:
        with anyio.fail_after(timeout):
            return await _look(name, machine, timeout)
    except TimeoutError:
        return HostPing(name, reached=False, error=f"there was no answer within {timeout:g} s")
    except (InfrastructureError, UsageError) as error:  # or ssh's own configuration says nonsense of this one
        return HostPing(name, reached=False, error=unnamed("; ".join(str(error).splitlines()), name))


async def _look(name: str, machine: Machine, timeout: float) -> HostPing:
    first = await exchange(machine, timeout)
    root = await _can_become_root(machine, timeout)
    probed, probe_error = await _probe(machine, timeout, become=root.there is True)
    exchanges = [await exchange(machine, timeout) for _ in range(EXCHANGES)]
    found = {key: Ability(*told) for key, told in probed.items() if isinstance(told, list)}
    return HostPing(
        name,
        reached=True,
        connecting=first.took,
        latency=statistics.median(one.took for one in exchanges),
        clock=best_offset(exchanges),
        machine={key: told for key, told in probed.items() if not isinstance(told, list)},
        probe_error=probe_error,
        abilities={"root": root, **found},
    )


async def _can_become_root(machine: Machine, timeout: float) -> Ability:
    try:
        done = await machine.run(("id", "-u"), become=True, timeout=timeout)
    except MachineLost:
        raise
    except InfrastructureError as error:
        return Ability(False, str(error))
    if done.stdout.strip() == b"0":
        return Ability(True)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return Ability(False, said[-1] if said else f"id(1) ended with {done.returncode}")


async def _probe(machine: Machine, timeout: float, *, become: bool) -> tuple[Mapping[str, Any], str]:
    """What the probe said; else nothing, and why."""
    argv = (machine.python, "-I", "-S", "-")
    try:
        done = await machine.run(argv, input=_script(), become=become, timeout=timeout)
    except MachineLost:
        raise
    except InfrastructureError as error:
        return {}, str(error)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return {}, f"{machine.python}: {said[-1] if said else f'exit status {done.returncode}'}"
    try:
        probed = json.loads(done.stdout)
    except ValueError:
        return {}, f"{machine.python} did not answer as Python does"
    return {**probed, "free_disk_bytes": (await machine.facts()).free_disk_bytes}, ""


@cache
def _script() -> bytes:
    return Path(__file__).with_name("probe_script.py").read_bytes()
