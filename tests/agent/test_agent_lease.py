"""Leases of keepers: renewed they go on, over they end everything, and what that says of a service."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness_agent import AgentMachine, KeeperGone, Undo

pytestmark = pytest.mark.anyio

ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
SLEEP = "import time; time.sleep(1000)"


def note(path: Path, word: str) -> Undo:
    return Undo(("sh", "-c", f"echo {word} >> '{path}'"))


async def test_without_a_controller_all_ends_with_the_lease(kit: Any) -> None:
    machine = await kit.keep(lease=1)
    undone = kit.folder / "undone"
    await machine.client.ledger_add("x", [note(undone, "x")])
    service = await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    await machine.client.aclose()
    assert kit.is_alive(service.pid) and not undone.exists()
    await kit.eventually(lambda: not kit.home.exists(), "the lease is over")
    assert undone.read_text() == "x\n"
    assert not kit.is_alive(service.pid) and not kit.is_alive(int(kit.log()))


async def test_a_lease_is_renewed_as_long_as_there_is_a_controller(kit: Any) -> None:
    machine = await kit.keep(lease=1)
    service = await machine.spawn(kit.program(SLEEP))
    await anyio.sleep(4)  # as long as four leases and what is granted beyond them
    assert await service.state() == "running"


async def test_a_keeper_that_stood_still_reads_what_came_meanwhile_first(kit: Any) -> None:
    machine = await kit.keep(lease=2)
    service = await machine.spawn(kit.program(SLEEP))
    keeper = kit.keeper()
    os.kill(keeper, signal.SIGSTOP)
    await anyio.sleep(3)  # its lease is over; renewals wait in its socket
    os.kill(keeper, signal.SIGCONT)
    await machine.client.renew()
    assert await service.state() == "running"


async def test_a_service_that_ended_with_its_lease_was_not_killed_by_anybody_else(kit: Any) -> None:
    """Also to who is connected: else its node would seem to have crashed."""
    machine = await kit.keep(lease=1)
    service = await machine.spawn(kit.program(SLEEP))
    machine.client._stop_renewing()
    await ended_unseen(kit, machine, service)


async def test_a_keeper_ends_its_run_when_it_is_told_to_terminate(kit: Any) -> None:
    machine = await kit.keep()
    service = await machine.spawn(kit.program(SLEEP))
    os.kill(kit.keeper(), signal.SIGTERM)
    await ended_unseen(kit, machine, service)


async def test_what_a_service_ended_with_before_its_lease_did_is_its_own(kit: Any) -> None:
    machine = await kit.keep()
    service = await machine.spawn(kit.program("raise SystemExit(3)"))
    assert (await service.wait()).code == 3
    killed = await machine.spawn(kit.program(SLEEP, name="killed"))
    await machine.client.end()
    assert (await killed.wait()).signal == signal.SIGKILL  # as it was asked to


async def ended_unseen(kit: Any, machine: AgentMachine, service: Any) -> None:
    await kit.eventually(lambda: not kit.home.exists(), "it has cleared all away")
    assert not kit.is_alive(service.pid)
    await machine.client.lost()
    with pytest.raises(KeeperGone):
        await machine.client.reattach(await kit.transport())
    how = await service.wait()
    assert (how.code, how.signal) == (None, None)
