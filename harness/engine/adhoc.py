"""Machines without a run: the same done on each of an inventory's hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from harness.engine.target import Target
from harness.engine.tasks import plain_errors
from harness.errors import Unsupported, UsageError
from harness.plugin.contract.deployer import Access, HostSpec, untold
from harness.plugin.contract.machine import Machine


async def on_each(
    target: Target,
    hosts: Sequence[HostSpec],
    do: Callable[[str, Machine], Awaitable[None]],
    warn: Callable[[str, str], None] = untold,
) -> None:
    """Do it on every host, on `target.forks` of them at once. What `do` raises cancels the others: a machine that is
    lost is for `do` to handle. Raises UsageError where the deployer has no machines without a run."""
    places = anyio.Semaphore(target.forks)

    async def one(name: str, machine: Machine) -> None:
        async with places:
            await do(name, machine)

    with plain_errors():
        access = Access(target.forks, warn=warn)
        try:
            connection = target.deployer.connect(hosts, access)
        except Unsupported as error:
            raise UsageError(str(error)) from None
        async with connection as machines, anyio.create_task_group() as tasks:
            for name, machine in machines.items():
                tasks.start_soon(one, name, machine)
