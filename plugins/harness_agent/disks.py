"""A file system of its own for a node's folder, of a given size: what is full there is full for nobody else.

It is in the machine's memory (tmpfs), of which it takes what is written there. It stays when its node is restarted, and
goes with the run: how it is unmounted is in the ledger before it is mounted."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import anyio
from pydantic import Field, ValidationError

from harness.api import (
    Config,
    DeployError,
    HostSpec,
    InfrastructureError,
    Machine,
    MachineCapability,
    Placement,
    PlannedNode,
    Size,
)

NO_DISK = "gives nodes no file system of their own: set the deployer's option disk, or the variable harness_disk"
"""As the end of "disk-full needs own-disk, which"."""
LEAST = 1 << 20
CAP_SYS_ADMIN = 21
"""The number of what mounting takes (capabilities(7))."""

MOUNT = """
owner=$(stat -c uid=%u,gid=%g -- "$1") && mount -t tmpfs -o "size=$2,mode=0755,nosuid,nodev,$owner" harness-disk "$1"
"""
UNMOUNT = """
umount -l -- "$1" 2>/dev/null || [ "$(stat -c %d -- "$1" 2>/dev/null)" = "$(stat -c %d -- "$1/.." 2>/dev/null)" ]
"""
"""Nothing was mounted there, if it is of the same file system as the folder around it. Whoever still has a file open
there keeps it, without a name: nobody has to have ended before."""


class DiskVariables(Config):
    """What a host's or group's variables say of it."""

    harness_disk: Size | None = Field(None, ge=LEAST)


def size_for(host: HostSpec, option: int | None) -> int | None:
    """Bytes for each node of this host, None for no file system of its own; `option` is the deployer's. Raises
    ValueError with a sentence."""
    try:
        said = DiskVariables(harness_disk=host.vars.get("harness_disk")).harness_disk
    except ValidationError as error:
        raise ValueError(f"harness_disk: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    return option if said is None else said


def reported(
    host: HostSpec, option: int | None, why_not: str
) -> tuple[tuple[str, ...], Mapping[MachineCapability, str]]:
    """What stands in the way, and what is lacking. `why_not`: why nothing can be mounted there, "" if it can."""
    try:
        size = size_for(host, option)
    except ValueError as error:
        return (str(error),), {}
    if size is None:
        return (), {MachineCapability.OWN_DISK: NO_DISK}
    return ((f"each node is to have a disk of {size} bytes, and {why_not}",) if why_not else ()), {}


def why_none_here() -> str:
    """Why this process cannot mount anything on this machine, "" if it can."""
    if sys.platform != "linux":
        return "that takes Linux"
    if os.geteuid() != 0:
        return "mounting one takes root"
    return _why_none(Path("/proc/self/status").read_text())


async def reported_on(
    machine: Machine, host: HostSpec, option: int | None
) -> tuple[tuple[str, ...], Mapping[MachineCapability, str]]:
    """`reported` of a machine, which is asked only where that matters."""
    why_not = ""
    if option is not None or "harness_disk" in host.vars:
        try:
            done = await machine.run(("cat", "/proc/self/status"), become=True)
            why_not = _why_none(done.stdout.decode(errors="replace"))
        except InfrastructureError:
            why_not = "mounting one takes root, which we cannot become there"
    return reported(host, option, why_not)


def _why_none(status: str) -> str:
    rights = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return "" if int(rights, 16) >> CAP_SYS_ADMIN & 1 else "mounting one takes a right that root lacks (CAP_SYS_ADMIN)"


async def mount_all(
    nodes: Sequence[PlannedNode], placements: Mapping[str, Placement], option: int | None, forks: int
) -> None:
    """Have one for each node that is to have one, at its empty folder, on `forks` machines at once. Raises DeployError
    with every reason."""
    problems: list[str] = []
    slots = anyio.CapacityLimiter(forks)

    async def one(node: PlannedNode) -> None:
        place = placements[node.spec.name]
        try:
            size = size_for(node.host, option)
            if size is not None:
                async with slots:
                    await mount(place.machine, place.directory, size)
        except (ValueError, InfrastructureError) as error:
            problems.append(f"{node.spec.name}: {error}")

    async with anyio.create_task_group() as tasks:
        for node in nodes:
            if node.adoption is None and not node.sender:
                tasks.start_soon(one, node)
    if problems:
        raise DeployError(f"no disks for nodes: {'; '.join(sorted(problems))}")


async def mount(machine: Machine, folder: PurePosixPath, size: int) -> None:
    """Have a folder, that is there and empty, be a file system of so many bytes, its owner's; until the run's ledger is
    undone. Raises DeployError, and what Machine.run does."""
    await machine.ledger_add(
        f"disk {folder}", [("sh", "-c", UNMOUNT, "sh", str(folder))], f"a file system mounted at {folder}"
    )
    done = await machine.run(("sh", "-c", MOUNT, "sh", str(folder), str(size)), become=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"mount ended with status {done.returncode}"
        raise DeployError(f"{machine.name}: no disk of {size} bytes for a node: {said[:300]}")
