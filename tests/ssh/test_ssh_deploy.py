"""Runs on a machine over SSH: what a deployment gives, what it survives, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from harness.api import (
    Access,
    Address,
    Adoption,
    Artifact,
    DeployError,
    Deployment,
    DeployRequest,
    HostSpec,
    Link,
    NodeSpec,
    Placement,
    PlannedNode,
    Secret,
    ServiceSpec,
    TeardownError,
)
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_ssh import heart
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]

LEASE = 4.0
WITHIN = 30.0
"""Seconds for a thing to come true; generous, as the machine may be busy."""

TALKER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
server.settimeout(0.05)
number = 0
while True:
    number += 1
    print("line", number, flush=True)
    try:
        caller = server.accept()[0]
        caller.sendall(b"hello")
        caller.close()
    except TimeoutError:
        pass
"""


class Kit:
    """What these tests have in common: one machine, and runs on it."""

    def __init__(self, sshd: Any, folder: Path) -> None:
        self.sshd = sshd
        self.folder = folder
        self.state = folder / "state"
        self.warnings: list[str] = []
        self.access = Access(warn=lambda machine, text: self.warnings.append(f"{machine}: {text}"))

    @property
    def host(self) -> HostSpec:
        return HostSpec("node01", self.sshd.variables())

    def deployer(self, lease: float = LEASE, **options: Any) -> SshDeployer:
        # Shorter than users may say: these tests wait for leases to end.
        return SshDeployer(SshConfig(state=str(self.state), **options).model_copy(update={"lease": lease}))

    def planned(self, *names: str, host: HostSpec | None = None) -> tuple[PlannedNode, ...]:
        return tuple(
            PlannedNode(NodeSpec(name, "v", number, number), host or self.host, ("p2p", "api"), "p2p")
            for number, name in enumerate(names)
        )

    def deploy(
        self,
        *names: str,
        run_id: str = "run",
        links: Sequence[Link] = (),
        nodes: Sequence[PlannedNode] = (),
        lease: float = LEASE,
        **options: Any,
    ) -> AbstractAsyncContextManager[Deployment]:
        request = DeployRequest(
            run_id,
            self.run_dir(run_id),
            tuple(nodes) or self.planned(*names),
            tuple(links),
            FakeChain(FakeChainConfig()),
            self.access,
        )
        return self.deployer(lease, **options).deploy(request)

    def run_dir(self, run_id: str = "run") -> Path:
        path = self.folder / run_id
        path.mkdir(exist_ok=True)
        return path

    def talker(self, place: Placement) -> ServiceSpec:
        argv = (place.machine.python, "-I", "-S", "-u", "-c", TALKER, str(place.ports["api"]))
        return ServiceSpec(place.node.name, argv, place.directory, self.run_dir() / f"{place.node.name}.log")

    def log(self, node: str) -> str:
        path = self.run_dir() / f"{node}.log"
        return path.read_text() if path.exists() else ""

    def left(self) -> list[Path]:
        """What is on the machine of any run."""
        return [Path(folder) / name for folder, *names in os.walk(self.state) for some in names for name in some]


@pytest.fixture
def kit(sshd: Any, tmp_path: Path) -> Kit:
    return Kit(sshd, tmp_path)


async def until(condition: Callable[[], object], within: float = WITHIN) -> None:
    with anyio.fail_after(within):
        while not condition():
            await anyio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def call(deployment: Deployment, node: str) -> bytes:
    address = deployment.endpoint(node, "api")
    try:
        async with await anyio.connect_tcp(address.host, address.port) as stream:
            return await stream.receive()
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return b""


async def calls(deployment: Deployment, node: str) -> None:
    with anyio.fail_after(WITHIN):
        while await call(deployment, node) != b"hello":
            await anyio.sleep(0.05)


def test_it_is_registered() -> None:
    assert Registry().get(Kind.DEPLOYER, "ssh") is SshDeployer


async def test_nodes_on_one_machine(kit: Kit) -> None:
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
        await calls(deployment, "a")
        assert deployment.endpoint("a", "api").port != a.ports["api"]
        await until(lambda: "line 3" in kit.log("b"))
        pids = [service.pid for service in services]
        assert all(map(alive, pids))
        assert kit.left()
    await until(lambda: not any(map(alive, pids)))
    assert kit.left() == []
    assert not (kit.run_dir() / "machines.json").exists()
    assert kit.warnings == []


async def test_artifacts_are_sent_once_for_each_content(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_second_run_is_refused_and_told_whose_the_machine_is(kit: Kit) -> None:
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        with pytest.raises(DeployError) as refused:
            async with kit.deploy("a", run_id="second"):
                pytest.fail("it was let in")
        for part in ("host node01", "run run", "@"):
            assert part in str(refused.value)
        assert not (kit.run_dir("second") / "machines.json").exists()
        (report,) = await kit.deployer().inspect(kit.planned("a"), FakeChain(FakeChainConfig()), kit.access)
        assert "run run" in "; ".join(report.problems)
        assert alive(service.pid)
        await calls(deployment, "a")
    async with kit.deploy("a", run_id="third"):
        pass
    assert kit.left() == []


async def test_a_cut_link_is_found_again_and_the_run_goes_on(kit: Kit) -> None:
    async with kit.deploy("a", lease=20.0) as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        await calls(deployment, "a")
        endpoint = deployment.endpoint("a", "api")
        kit.sshd.cut()
        await until(lambda: len(kit.warnings) == 2)
        assert "trying to connect again" in kit.warnings[0]
        assert "connected again" in kit.warnings[1]
        assert service.exit is None
        assert await service.state() == "running"
        assert deployment.endpoint("a", "api") == endpoint
        await calls(deployment, "a")
        seen = kit.log("a").count("\n")
        await until(lambda: kit.log("a").count("\n") > seen + 5)
    numbers = [int(line.split()[1]) for line in kit.log("a").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))  # nothing is missing, nothing is there twice
    assert kit.left() == []


async def test_a_server_that_stays_away_for_a_while(kit: Kit) -> None:
    async with kit.deploy("a", lease=30.0) as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        kit.sshd.stop()
        await until(lambda: kit.warnings)
        await anyio.sleep(1.0)
        kit.sshd.start()
        assert (await place.machine.run(["echo", "back"])).stdout == b"back\n"  # it waited for that
        assert alive(service.pid)
    assert kit.left() == []


async def test_after_its_lease_a_machine_has_cleaned_itself(kit: Kit) -> None:
    with pytest.raises(TeardownError) as told:
        async with kit.deploy("a") as deployment:
            place = deployment.placements["a"]
            service = await place.machine.spawn(kit.talker(place))
            kit.sshd.stop()
            how = await service.wait()
            assert (how.code, how.signal) == (None, None)
            await until(lambda: not alive(service.pid))
            await until(lambda: kit.left() == [])
    assert "node01 cannot be reached" in str(told.value)
    assert "lease" in str(told.value)
    # `clean` finds the machine by what the run wrote down, and that nothing is left there.
    with pytest.raises(TeardownError, match="refuses connections"):
        await SshDeployer(SshConfig()).clean("run", kit.run_dir())
    kit.sshd.start()
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []
    assert not (kit.run_dir() / "machines.json").exists()


async def test_a_loop_that_stands_still_is_not_dead(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        time.sleep(3 * LEASE)  # somebody's plugin
        assert alive(service.pid)
        assert await service.state() == "running"
        await calls(deployment, "a")
    assert kit.left() == []
    # One that does so for ever is.
    monkeypatch.setattr(heart, "LONGEST_HANG", 0.0)
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        service = await place.machine.spawn(kit.talker(place))
        time.sleep(3 * LEASE)
        await service.wait()
        assert not alive(service.pid)
    assert kit.left() == []  # the machine says so itself: no TeardownError


class Controller:
    """A controller in a process of its own, that may be killed."""

    def __init__(self, kit: Kit, lease: float) -> None:
        script = Path(__file__).with_name("controller.py")
        variables = json.dumps(kit.sshd.variables())
        self.argv = [sys.executable, str(script), str(kit.run_dir()), str(kit.state), str(lease), variables]

    async def __aenter__(self) -> Controller:
        self.process = await anyio.open_process(self.argv, stderr=None)
        assert self.process.stdout is not None
        self._said = b""
        return self

    async def hear(self) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._said:
            with anyio.fail_after(WITHIN):
                self._said += await self.process.stdout.receive()
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.aclose()


@pytest.mark.parametrize("moment", ["held", "running"])
async def test_what_a_killed_controller_held_ends_with_the_lease(kit: Kit, moment: str) -> None:
    async with Controller(kit, LEASE) as controller:
        assert await controller.hear() == "begin"
        assert await controller.hear() == "held"
        pids = json.loads(await controller.hear()) if moment == "running" else []
        assert all(map(alive, pids))
        controller.process.kill()
        await controller.process.wait()
    await until(lambda: kit.left() == [], LEASE + WITHIN)
    assert not any(map(alive, pids))
    assert await SshDeployer(SshConfig()).clean("run", kit.run_dir()) == []


async def test_clean_does_not_wait_for_the_lease(kit: Kit) -> None:
    async with Controller(kit, 600.0) as controller:
        assert [await controller.hear(), await controller.hear()] == ["begin", "held"]
        pids = json.loads(await controller.hear())
        controller.process.kill()
        await controller.process.wait()
    assert all(map(alive, pids))
    # Another run's machine is none of its business.
    assert await kit.deployer().heal([kit.host], kit.access) == []
    assert all(map(alive, pids))
    done = await SshDeployer(SshConfig()).clean("run", kit.run_dir())
    assert done and all("node01" in line for line in done)
    assert not any(map(alive, pids))
    assert kit.left() == []


async def test_heal_ends_what_dead_runs_left(kit: Kit) -> None:
    """A keeper that was killed cannot end its run: whoever comes next does, from the machine's own notes."""
    async with Controller(kit, 600.0) as controller:
        assert [await controller.hear(), await controller.hear()] == ["begin", "held"]
        pids = json.loads(await controller.hear())
        controller.process.kill()
        await controller.process.wait()
    (lock,) = kit.state.glob("harness-*/lock")
    keeper = json.loads(lock.read_text())["pid"]
    line = Path(f"/proc/{keeper}/cmdline").read_bytes()
    beside = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _read(path) == line]
    for pid in {keeper, *beside}:  # whoever watches over the keeper looks like it
        os.kill(pid, signal.SIGSTOP)
    for pid in {keeper, *beside}:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(map(alive, beside)))
    assert await kit.deployer().heal([kit.host], kit.access)
    assert not any(map(alive, pids))
    assert kit.left() == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_the_record_holds_no_secret(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_deploy_that_is_cancelled_leaves_nothing(kit: Kit) -> None:
    for after in (0.05, 0.15, 0.3, 0.5, 0.8):
        with anyio.move_on_after(after):
            async with kit.deploy("a") as deployment:
                place = deployment.placements["a"]
                await place.machine.spawn(kit.talker(place))
                await anyio.sleep_forever()
        assert kit.left() == []


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("api", ["tunnel", "direct"])
async def test_an_adopted_node_is_looked_at_and_left_alone(kit: Kit, control: bool, api: str) -> None:
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
            await calls(deployment, "theirs")
            assert (await deployment.placements["theirs"].machine.run(["echo", "hello"])).stdout == b"hello\n"
            assert bool(kit.left()) is control  # who may disturb it has the machine's lock and ledger
        assert kit.left() == []
        tasks.cancel_scope.cancel()
