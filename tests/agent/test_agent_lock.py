"""Machines that an attached agent has alone, with no keeper: nothing of that outlives it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import MachineLost
from harness_agent import AgentMachine, KeeperSpec, MachineLocked, holder, sweep
from harness_agent.remote.runs import Run
from harness_agent.remote.state import Lock, Place
from harness_agent.remote.users import User

pytestmark = pytest.mark.anyio


async def locked(kit: Any, who: str = "prepare-1", lease: float = 30.0) -> AgentMachine:
    machine: AgentMachine = await kit.attach()
    await machine.client.lock(KeeperSpec(who, "me@here", lease, str(kit.base)))
    return machine


async def test_it_has_the_machine_alone_until_it_lets_go(kit: Any) -> None:
    machine = await locked(kit)
    assert (await machine.run(["true"])).returncode == 0
    assert kit.keeper() == machine.client.hello.pid
    with pytest.raises(MachineLocked, match="in use by run prepare-1 of me@here") as refused:
        await locked(kit, "prepare-2")
    assert refused.value.run_id == "prepare-1" and refused.value.since <= time.time()
    with pytest.raises(MachineLocked, match="prepare-1"):
        await kit.keep()
    looker = (await kit.attach()).client
    seen = await holder(looker, str(kit.base))
    assert seen is not None and seen.run_id == "prepare-1" and 0 < seen.expires_in <= 30
    assert "run prepare-1" in (await sweep(looker, str(kit.base))).alive[0]
    await machine.client.unlock()
    assert not kit.home.exists()
    await (await locked(kit, "prepare-2")).client.unlock()


async def test_a_run_has_it_alone_too(kit: Any) -> None:
    machine = await kit.keep()
    with pytest.raises(MachineLocked, match="run-1"):
        await locked(kit)
    await machine.client.end()
    await (await locked(kit)).client.unlock()


async def test_it_ends_with_its_connection_and_so_do_commands(kit: Any) -> None:
    machine = await locked(kit)
    machine = AgentMachine(machine.client, folder=PurePosixPath(kit.folder))
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            with pytest.raises(MachineLost):
                await machine.run(
                    ["sh", "-c", f"echo $$ > '{kit.folder}/pid.new'; mv '{kit.folder}/pid.new' pid; exec sleep 1000"]
                )

        tasks.start_soon(run)
        await kit.eventually((kit.folder / "pid").exists, "it runs")
        await machine.client.aclose()
    await kit.eventually(lambda: not kit.home.exists(), "the lock is let go")
    assert not kit.is_alive(int((kit.folder / "pid").read_text()))


async def test_killed_it_has_the_machine_no_longer(kit: Any) -> None:
    await locked(kit)
    kit.transports[-1].kill()
    machine = await locked(kit, "prepare-2")
    assert kit.keeper() == machine.client.hello.pid
    await machine.client.unlock()
    assert not kit.home.exists()


async def test_it_is_renewed_and_ends_when_it_is_not(kit: Any) -> None:
    machine = await locked(kit, lease=1)
    await anyio.sleep(4)  # as long as four leases and what is granted beyond them
    assert (await machine.run(["true"])).returncode == 0 and kit.home.exists()
    machine.client._stop_renewing()
    with anyio.fail_after(30):
        await machine.client.lost()
    with pytest.raises(MachineLost):
        await machine.run(["true"])
    await kit.eventually(lambda: not kit.home.exists(), "the lock is let go")


async def test_what_dead_runs_left_is_cleared_away_before(kit: Any) -> None:
    place, undone = Place.of(str(kit.base), os.geteuid(), os.getegid()), kit.folder / "undone"
    user = User()
    dead = Run.make(place, "run-0", {"user": user.name, "env": user.env, "mechanism": "child"}, user)
    dead.ledger.add("x", "", [{"argv": ["touch", str(undone)], "become": False}])
    machine = await locked(kit)
    assert undone.exists() and not place.runs()
    await machine.client.unlock()


@pytest.mark.parametrize("after", ["the home was seen", "the home was made"])
def test_its_folder_may_be_removed_by_whoever_had_it_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Just as the next one wants the lock in it."""
    place, removed = Place(str(tmp_path), os.getuid(), os.getgid()), []
    home = Path(place.home)

    def once(call: Any, path: str, *rest: Any, **more: Any) -> Any:
        if path.startswith(place.home) and not removed:
            home.rmdir()
            removed.append(path)
        return call(path, *rest, **more)

    home.mkdir(0o700)
    name = "lstat" if after == "the home was seen" else "open"
    monkeypatch.setattr(os, name, partial(once, getattr(os, name)))
    lock = Lock(place)
    monkeypatch.undo()
    assert removed and Path(place.lock).exists()
    lock.release()
    assert list(home.iterdir()) == []
