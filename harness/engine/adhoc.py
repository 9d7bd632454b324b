"""Machines without a run: the same done on each of an inventory's hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from harness.engine.target import Target
from harness.engine.tasks import plain_errors
from harness.errors import Problem, Unsupported, UsageError
from harness.plugin.contract.deployer import Access, HostSpec, untold
from harness.plugin.contract.machine import Machine
from harness.spec.host_problems import host_problems


def sorted_out(hosts: Sequence[HostSpec]) -> tuple[Sequence[HostSpec], Mapping[str, Sequence[Problem]]]:
    """Hosts of which the inventory makes sense, and what is wrong with the others."""
    found = {host.name: host_problems(host.name, host.vars, host.places) for host in hosts}
    return [host for host in hosts if not found[host.name]], {name: some for name, some in found.items() if some}


async def on_each(
    target: Target,
    hosts: Sequence[HostSpec],
    do: Callable[[str, Machine], Awaitable[None]],
    refuse: Callable[[str, str], None],
    warn: Callable[[str, str], None] = untold,
) -> None:
    """Do it on every host, on `target.forks` at once; `refuse` is told instead (host, why) of those of which the
    inventory makes no sense. What `do` raises cancels the others: a machine that is lost is for `do` to handle. Raises
    UsageError where the deployer has no machines without a run."""
    sane, nonsense = sorted_out(hosts)
    for name, problems in nonsense.items():
        refuse(name, "; ".join(map(str, problems)))
    places = anyio.Semaphore(target.forks)

    async def one(name: str, machine: Machine) -> None:
        async with places:
            await do(name, machine)

    with plain_errors():
        access = Access(target.forks, warn=warn)
        try:
            connection = target.deployer.connect(sane, access)
        except Unsupported as error:
            raise UsageError(str(error)) from None
        async with connection as machines, anyio.create_task_group() as tasks:
            for name, machine in machines.items():
                tasks.start_soon(one, name, machine)
