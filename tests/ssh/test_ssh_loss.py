"""Lost connections and leases: what a run on a machine over SSH survives, and what ends it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from harness.api import Access, HostSpec, MachineLost, TeardownError
from harness_agent import KeeperSpec
from harness_ssh import agents, heart
from harness_ssh.deployer import SshConfig, SshDeployer
from harness_ssh.hold import Hold
from harness_ssh.pool import Pool, SshSettings

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_a_cut_link_is_found_again_and_the_run_goes_on(kit: Any) -> None:
    async with kit.deploy("a", lease=20.0) as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        await kit.calls(deployment, "a")
        endpoint = deployment.endpoint("a", "api")
        kit.sshd.cut()
        await kit.until(lambda: len(kit.warnings) == 2)
        assert "trying to connect again" in kit.warnings[0]
        assert "connected again" in kit.warnings[1]
        assert service.exit is None
        assert await service.state() == "running"
        assert deployment.endpoint("a", "api") == endpoint
        await kit.calls(deployment, "a")
        seen = kit.log("a").count("\n")
        await kit.until(lambda: kit.log("a").count("\n") > seen + 5)
    numbers = [int(line.split()[1]) for line in kit.log("a").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))  # nothing is missing, nothing is there twice
    assert kit.left() == []


async def test_a_server_that_stays_away_for_a_while(kit: Any) -> None:
    async with kit.deploy("a", lease=30.0) as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        kit.sshd.stop()
        await kit.until(lambda: kit.warnings)
        await anyio.sleep(1.0)
        kit.sshd.start()
        assert (await place.machine.run(["echo", "back"])).stdout == b"back\n"  # it waited for that
        assert kit.alive(service.pid)
    assert kit.left() == []


async def test_after_its_lease_a_machine_has_cleaned_itself(kit: Any) -> None:
    with pytest.raises(TeardownError) as told:
        async with kit.deploy("a") as deployment:
            place = deployment.placements["a"]
            service = await place.machine.spawn(kit.talker(place))
            kit.sshd.stop()
            how = await service.wait()
            assert (how.code, how.signal) == (None, None)
            await kit.until(lambda: not kit.alive(service.pid))
            await kit.until(lambda: kit.left() == [])
    assert "node01 cannot be reached" in str(told.value)
    assert "lease" in str(told.value)
    # `clean` finds the machine by what the run wrote down, and that nothing is left there.
    with pytest.raises(TeardownError, match="refuses connections"):
        await SshDeployer(SshConfig()).clean("run", kit.run_dir())
    kit.sshd.start()
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []
    assert not (kit.run_dir() / "machines.json").exists()


async def test_a_machine_that_answers_by_silence_is_given_up_when_its_lease_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long an attempt may take."""
    tries: list[str] = []

    async def start(pool: Pool, host: HostSpec) -> None:
        tries.append(host.name)
        if len(tries) == 1:
            raise MachineLost(f"{host.name}: it did not answer as an SSH server does")
        await anyio.sleep_forever()

    monkeypatch.setattr(agents, "start", start)
    hosts = [HostSpec("a", {})]
    held = Hold(hosts[0], Pool(hosts, SshSettings(), 1), Access(), KeeperSpec("run", "me@here", lease=1.0))
    with anyio.fail_after(20), pytest.raises(MachineLost, match="^it did not answer as an SSH server does$"):
        await held._connect_again()
    assert tries == ["a", "a"]


async def test_a_loop_that_stands_still_is_not_dead(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        time.sleep(3 * kit.lease)  # somebody's plugin
        assert kit.alive(service.pid)
        assert await service.state() == "running"
        await kit.calls(deployment, "a")
    assert kit.left() == []
    # One that does so for ever is.
    monkeypatch.setattr(heart, "LONGEST_HANG", 0.0)
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        time.sleep(3 * kit.lease)
        await service.wait()
        assert not kit.alive(service.pid)
    assert kit.left() == []  # the machine says so itself: no TeardownError


async def test_a_link_that_is_cut_silently_is_noticed(sshd: Any) -> None:
    """Somebody on the way takes what is sent and answers nothing any more."""
    async with relay_to(sshd.port) as relay:
        known = f"[127.0.0.1]:{relay.port} {sshd.public(sshd.host_key)}"
        sshd.known_hosts.write_text(known)
        variables = sshd.variables(ansible_port=relay.port)
        hosts = [HostSpec("node01", variables)]
        pool = Pool(hosts, SshSettings(keepalive=0.2), 20)
        connection = await pool.get("node01")
        channel = await connection.execute("sleep 1000")
        await anyio.sleep(1.0)
        assert connection.alive
        relay.silent = True
        with anyio.fail_after(10):
            assert [piece async for piece in channel] == []
        relay.silent = False
        channel = await (await pool.get("node01")).execute("echo back")
        assert b"".join([piece async for piece in channel]) == b"back\n"
        await pool.close()


class Relay:
    """`silent`: what comes from now on is swallowed."""

    port = 0
    silent = False


@asynccontextmanager
async def relay_to(port: int) -> AsyncIterator[Relay]:
    relay = Relay()

    async def copy(source: ByteStream, target: ByteStream) -> None:
        async for piece in source:
            if not relay.silent:
                await target.send(piece)
        await target.aclose()

    async def serve(near: ByteStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ExceptionGroup):
            async with near, await anyio.connect_tcp("127.0.0.1", port) as far, anyio.create_task_group() as tasks:
                tasks.start_soon(copy, near, far)
                tasks.start_soon(copy, far, near)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        relay.port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, serve)
        yield relay
        tasks.cancel_scope.cancel()
