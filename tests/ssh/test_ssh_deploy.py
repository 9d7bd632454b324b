"""Runs on a machine over SSH: what a deployment gives, whom it refuses, and that it leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from harness.api import (
    Address,
    Adoption,
    Artifact,
    DeployError,
    HostSpec,
    Link,
    NodeSpec,
    PlannedNode,
    Secret,
)
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_ssh.deployer import SshDeployer
from harness_ssh.hold import owner

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def test_it_is_registered() -> None:
    assert Registry().get(Kind.DEPLOYER, "ssh") is SshDeployer


async def test_nodes_on_one_machine(kit: Any) -> None:
    async with kit.deploy("a", "b", links=[Link("a", "b")]) as deployment:
        a, b = deployment.placements["a"], deployment.placements["b"]
        assert len({*a.ports.values(), *b.ports.values()}) == 4
        assert a.directory != b.directory
        assert deployment.link_address(Link("a", "b")).port == b.ports["p2p"]
        assert list(deployment.hosts) == ["node01"]
        services = []
        for place in (a, b):
            await place.machine.put(b"x", place.directory / "config")
            services.append(await place.machine.spawn(kit.talker(place)))
        await kit.calls(deployment, "a")
        assert deployment.endpoint("a", "api").port != a.ports["api"]
        await kit.until(lambda: "line 3" in kit.log("b"))
        pids = [service.pid for service in services]
        assert all(map(kit.alive, pids))
        assert kit.left()
    await kit.until(lambda: not any(map(kit.alive, pids)))
    assert kit.left() == []
    assert not (kit.run_dir() / "machines.json").exists()
    assert kit.warnings == []


async def test_artifacts_are_sent_once_for_each_content(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit.deploy("a") as deployment:
        machine = deployment.placements["a"].machine
        sent: list[PurePosixPath] = []
        put = type(machine).put

        async def counted(self: Any, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
            sent.append(path)
            await put(self, content, path, mode)

        monkeypatch.setattr(type(machine), "put", counted)
        file = kit.folder / "program"
        file.write_bytes(os.urandom(3_000_000))
        paths: list[PurePosixPath] = []

        async def provide(artifact: Artifact) -> None:
            paths.append(await deployment.provide(machine, artifact))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(provide, Artifact("program", file, executable=True))
                tasks.start_soon(provide, Artifact("../../hostile name", b"text"))
        assert len(set(paths)) == len(sent) == 2
        program = next(path for path in paths if path.name == "program")
        assert Path(program).read_bytes() == file.read_bytes()
        assert Path(program).stat().st_mode & 0o777 == 0o755
        file.write_bytes(b"another version")
        newer = await deployment.provide(machine, Artifact("program", file, executable=True))
        assert newer != program
        assert Path(program).exists()  # the old one stays what it is
        assert all(path.is_relative_to(str(kit.state)) for path in paths)
    assert kit.left() == []


async def test_a_second_run_is_refused_and_told_whose_the_machine_is(kit: Any) -> None:
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        with pytest.raises(DeployError) as refused:
            async with kit.deploy("a", run_id="second"):
                pytest.fail("it was let in")
        for part in ("host node01", f"run run of {owner()} since 20", "whose lease ends in"):
            assert part in str(refused.value)
        assert not (kit.run_dir("second") / "machines.json").exists()
        (report,) = await kit.deployer().inspect(kit.planned("a"), FakeChain(FakeChainConfig()), kit.access)
        assert f"it is in use by run run of {owner()} since 20" in "; ".join(report.problems)
        assert kit.alive(service.pid)
        await kit.calls(deployment, "a")
    async with kit.deploy("a", run_id="third"):
        pass
    assert kit.left() == []


async def test_the_record_holds_no_secret(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-from-the-environment")
    variables = kit.sshd.variables(
        ansible_become_password={"env": "CANARY"}, ansible_password="canary-in-the-inventory", unrelated="canary too"
    )
    variables["ansible_become_password"] = Secret.of(variables["ansible_become_password"], "inventory", kit.folder)
    variables["ansible_password"] = Secret.of(variables["ansible_password"], "inventory", kit.folder)
    nodes = kit.planned("a", host=HostSpec("node01", variables))
    async with kit.deploy(nodes=nodes):
        written = (kit.run_dir() / "machines.json").read_text()
        assert "canary" not in written
        assert '"env": "CANARY"' in written
    assert kit.left() == []


async def test_a_deploy_that_is_cancelled_leaves_nothing(kit: Any) -> None:
    for after in (0.05, 0.15, 0.3, 0.5, 0.8):
        with anyio.move_on_after(after):
            async with kit.deploy("a") as deployment:
                place = deployment.placements["a"]
                await place.machine.spawn(kit.talker(place))
                await anyio.sleep_forever()
        assert kit.left() == []


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("api", ["tunnel", "direct"])
async def test_an_adopted_node_is_looked_at_and_left_alone(kit: Any, control: bool, api: str) -> None:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"hello")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as theirs, anyio.create_task_group() as tasks:
        tasks.start_soon(theirs.serve, answer)
        port = theirs.extra(SocketAttribute.local_port)
        endpoints = {"api": Address("127.0.0.1", port)}
        adoption = Adoption(endpoints, unit="their.service", control=control)
        host = HostSpec("node01", kit.sshd.variables(harness_api=api))
        node = PlannedNode(NodeSpec("theirs", "v", 0, 0), host, ("p2p", "api"), "p2p", adoption)
        async with kit.deploy(nodes=[node]) as deployment:
            assert (deployment.endpoint("theirs", "api") == endpoints["api"]) is (api == "direct")
            await kit.calls(deployment, "theirs")
            assert (await deployment.placements["theirs"].machine.run(["echo", "hello"])).stdout == b"hello\n"
            assert bool(kit.left()) is control  # who may disturb it has the machine's lock and ledger
        assert kit.left() == []
        tasks.cancel_scope.cancel()
