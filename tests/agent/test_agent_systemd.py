"""Keepers on real hosts: through ssh, sudo, and with nodes as units of a real systemd."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import CommandRecord, InfrastructureError, ServiceSpec
from harness_agent import (
    AgentClient,
    AgentMachine,
    Become,
    KeeperSpec,
    Limits,
    SubprocessTransport,
    Undo,
    command_line,
    sweep,
)

pytestmark = [pytest.mark.anyio, pytest.mark.real]

ODD = [
    "-rf",
    "a b",
    "it's",
    'quo"te',
    "new\nline",
    "ünïcödé ☃",
    "$(id)",
    "a%nb %% %i",
    "$HOME ${X} $$",
    "b\\n\\",
    "\udcff",
    "",
]
REPORT = """
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), os.getuid(), os.getpgid(0) == os.getpid(),
    sys.stdin.read()]))
sys.exit(7)
"""
ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        while True:
            time.sleep(0.01)
    os._exit(0)
os.wait()
time.sleep(1000)
"""


class Box:
    """A host of the fleet, and an agent's way to it: OpenSSH and the login shell there."""

    def __init__(self, host: Any, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.audited: list[CommandRecord] = []

    async def transport(self, user: str) -> SubprocessTransport:
        return await SubprocessTransport.start((*self.host.as_user(user).ssh, command_line()))

    @asynccontextmanager
    async def keep(
        self, user: str = "deploy", *, become: Become | None = None, lease: float = 20.0, mechanism: str = ""
    ) -> AsyncIterator[AgentMachine]:
        spec = KeeperSpec("run-1", "me@here", lease, mechanism=mechanism)
        client = await AgentClient.keep(
            await self.transport(user), "box", spec, become=become, audit=self.audited.append
        )
        try:
            yield AgentMachine(client)
        finally:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def program(self, folder: Any, source: str, *args: str, **env: str) -> ServiceSpec:
        argv = ("python3", "-I", "-S", "-X", "utf8", "-u", "-c", source, *args)
        return ServiceSpec("n $x", argv, folder, self.folder / "n.log", env)

    def log(self) -> str:
        path = self.folder / "n.log"
        return path.read_text() if path.exists() else ""

    def units(self) -> list[str]:
        listed = self.look("systemctl", "list-units", "--all", "--plain", "--no-legend", "harness-*")
        return [line.split()[0] for line in listed.splitlines() if "bystander" not in line]

    def look(self, *argv: str) -> str:
        return str(self.host.exec(*argv, check=False).stdout.decode())

    def is_alive(self, pid: int | str) -> bool:
        state = self.look("sh", "-c", f"grep -s ^State: /proc/{pid}/status || true").split()
        return bool(state) and state[1] not in "ZX"

    def state_folders(self) -> list[str]:
        return self.look("sh", "-c", "ls -d /var/tmp/harness-* 2>/dev/null || true").split()

    def keeper(self) -> int:
        return int(json.loads(self.look("sh", "-c", "cat /var/tmp/harness-*/lock"))["pid"])

    async def clean(self, within: float = 40.0) -> float:
        """Wait until nothing of a run is there; how long it took."""
        began = time.monotonic()
        while self.units() or self.state_folders() or self.look("sh", "-c", "ps axo args | grep '[f]d,mode=' || true"):
            assert time.monotonic() - began < within, (self.units(), self.state_folders())
            await anyio.sleep(0.1)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def systemd_host(ssh_hosts: Any) -> Any:
    with ssh_hosts.lease(1, keep=False) as (host,):
        yield host


@pytest.fixture(scope="module")
def plain_host(ssh_hosts_plain: Any) -> Any:
    with ssh_hosts_plain.lease(1, keep=False) as (host,):
        yield host


@pytest.fixture
async def box(systemd_host: Any, tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(systemd_host, tmp_path)
    yield box
    await box.clean()


@pytest.fixture
async def plain(plain_host: Any, tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(plain_host, tmp_path)
    box.units = list  # type: ignore[method-assign]  # there is no systemd to ask
    yield box
    await box.clean()


async def test_a_unit_gets_exactly_what_it_is_to_get(box: Box) -> None:
    async with box.keep(become=Become()) as machine:
        env = {f"K{number}": word for number, word in enumerate(ODD)}
        service = await machine.spawn(box.program(machine.client.folder, REPORT, *ODD, **env))
        how = await service.wait()
        assert (how.code, how.signal) == (7, None)
        await service.sync_log()
        argv, environ, cwd, uid, leads, stdin = json.loads(box.log())
        assert argv == ODD and [environ[key] for key in env] == ODD
        assert cwd == str(machine.client.folder) and uid == int(box.look("id", "-u", "deploy"))
        assert leads and stdin == ""
        grep = ServiceSpec("grep", ("grep", "SigIgn", "/proc/self/status"), machine.client.folder, box.folder / "grep")
        service = await machine.spawn(grep)
        await service.wait()
        await service.sync_log()
        ignored = int((box.folder / "grep").read_text().removeprefix("SigIgn:"), 16)
        assert ignored & ~(0b11 << 31) == 0, "but the two that glibc lets nobody set (nptl(7)), of whoever runs this"
        assert not {"INVOCATION_ID", "JOURNAL_STREAM"} & set(environ)
        assert box.units() == ["harness-run-1-keeper.service"], "it is forgotten when it has ended"
        assert not any("K0" in str(record.argv) for record in box.audited)
        ran = [record.argv[0] for record in box.audited]
        assert "systemd-run" in ran and "systemctl" in ran and {record.user for record in box.audited} == {"root"}
        assert await machine.client.end() == ()


async def test_how_a_unit_ends_is_known(box: Box) -> None:
    async with box.keep(become=Become()) as machine:
        for source, end in (
            ("pass", (0, None)),
            ("import os; os.kill(os.getpid(), 9)", (None, 9)),
            ("import os; os.abort()", (None, 6)),
            ("raise SystemExit(255)", (255, None)),
        ):
            service = await machine.spawn(box.program(machine.client.folder, source))
            how = await service.wait()
            assert (how.code, how.signal) == end
            assert await service.state() == "gone"
        with pytest.raises(InfrastructureError, match="cannot be started: .*No such file.*'/nowhere'"):
            await machine.spawn(ServiceSpec("n", ("/nowhere",), machine.client.folder, box.folder / "log"))
        with pytest.raises(InfrastructureError, match="cannot be started: .*No such file.*'/no/folder'"):
            await machine.spawn(ServiceSpec("n", ("true",), machine.client.folder / "/no/folder", box.folder / "log"))
        with pytest.raises(InfrastructureError, match="Permission denied: '/root'"):
            await machine.spawn(ServiceSpec("n", ("true",), machine.client.folder / "/root", box.folder / "log"))
        assert await machine.client.end() == ()


async def test_a_unit_is_paused_as_a_whole_and_ends_as_a_whole(box: Box) -> None:
    async with box.keep(become=Become()) as machine:
        service = await machine.spawn(box.program(machine.client.folder, ESCAPE))
        while not box.log().endswith("\n"):
            await anyio.sleep(0.02)
        escaped = box.log().strip()
        assert box.is_alive(escaped)
        assert await service.state() == "running"
        await service.pause()
        while await service.state() != "paused":
            await anyio.sleep(0.02)
        slept = box.look("grep", "ctxt_switches", f"/proc/{escaped}/status")
        await anyio.sleep(0.3)  # many times as long as it sleeps at once
        assert box.look("grep", "ctxt_switches", f"/proc/{escaped}/status") == slept
        await service.resume()
        while await service.state() != "running":
            await anyio.sleep(0.02)
        assert box.look("grep", "ctxt_switches", f"/proc/{escaped}/status") != slept
        await service.pause()
        await service.signal(9)
        assert (await service.wait()).signal == 9
        assert not box.is_alive(escaped)
        assert await machine.client.end() == ()


async def test_limits_are_kept_to(box: Box) -> None:
    async with box.keep(become=Become()) as machine:
        spec = box.program(machine.client.folder, "import time; time.sleep(1000)")
        service = await machine.spawn(spec, Limits(cpus=0.5, memory_bytes=64 * 1024 * 1024))
        (unit,) = [unit for unit in box.units() if "keeper" not in unit]
        shown = box.look("systemctl", "show", "-p", "CPUQuotaPerSecUSec", "-p", "MemoryMax", "-p", "User", unit)
        assert set(shown.split()) == {"CPUQuotaPerSecUSec=500ms", "MemoryMax=67108864", "User=deploy"}
        spec = box.program(machine.client.folder, "x = bytearray(200 * 1024 * 1024)")
        hungry = await machine.spawn(spec, Limits(memory_bytes=32 * 1024 * 1024))
        assert (await hungry.wait()).signal == 9
        assert await service.state() == "running"
        assert await machine.client.end() == ()


async def test_services_outlive_a_lost_connection_and_what_they_did_meanwhile_is_known(box: Box) -> None:
    async with box.keep(become=Become()) as machine:
        client = machine.client
        source = "import time\nfor i in range(40): print(i); time.sleep(0.05)\nraise SystemExit(3)"
        service = await machine.spawn(box.program(client.folder, source))
        while not box.log():
            await anyio.sleep(0.02)
        assert client._link is not None
        client._link.fail("cut by the test")
        await client.lost()
        while box.is_alive(service.pid):
            await anyio.sleep(0.1)
        assert service.exit is None
        await client.reattach(await box.transport("deploy"))
        assert (await service.wait()).code == 3
        await service.sync_log()
        assert box.log().split() == [str(number) for number in range(40)]
        assert await client.end() == ()


async def test_units_end_with_the_lease_and_a_bystander_named_alike_does_not(box: Box) -> None:
    bystander = "harness-run-1-n-bystander.service"
    box.look("systemd-run", "--quiet", f"--unit={bystander}", "sleep", "1000")
    try:
        async with box.keep(become=Become(), lease=2) as machine:
            await machine.client.ledger_add("x", [Undo(("touch", "/root/undone"))])
            service = await machine.spawn(box.program(machine.client.folder, ESCAPE))
            while not box.log().endswith("\n"):
                await anyio.sleep(0.02)
        assert await box.clean() < 20
        assert not box.is_alive(service.pid) and not box.is_alive(box.log().strip())
        assert box.look("rm", "-v", "/root/undone") and box.look("systemctl", "is-active", bystander) == "active\n"
    finally:
        box.look("systemctl", "stop", bystander)


async def test_units_end_with_a_killed_keeper(box: Box) -> None:
    async with box.keep(become=Become(), lease=60) as machine:
        await machine.client.ledger_add("x", [Undo(("touch", "/root/undone"))])
        service = await machine.spawn(box.program(machine.client.folder, ESCAPE))
        while not box.log().endswith("\n"):
            await anyio.sleep(0.02)
        box.look("kill", "-9", str(box.keeper()))
        await box.clean()
        assert not box.is_alive(service.pid) and not box.is_alive(box.log().strip())
        assert box.look("rm", "-v", "/root/undone")


async def test_a_stopped_keeper_whose_lease_is_over_is_replaced(box: Box) -> None:
    async with box.keep(become=Become(), lease=1) as machine:
        service = await machine.spawn(box.program(machine.client.folder, ESCAPE))
        box.look("kill", "-STOP", str(box.keeper()))
        await machine.client.aclose()
        assert await box.clean() > 1
        assert not box.is_alive(service.pid)


async def test_a_unit_is_swept(box: Box) -> None:
    async with box.keep(become=Become(), lease=60) as machine:
        await machine.spawn(box.program(machine.client.folder, ESCAPE))
        attached = await AgentClient.attach(await box.transport("deploy"), "box", become=Become())
        assert "run-1" in (await sweep(attached)).alive[0]
        assert (await sweep(attached, run_id="run-1")).left == ()
        await attached.aclose()
        await box.clean()


@pytest.mark.parametrize("kind", ["deploy", "ops", "root"])
async def test_becoming_root(box: Box, kind: str) -> None:
    password = box.host.ops_password if kind == "ops" else None
    async with box.keep(kind, become=Become(password)) as machine:
        assert (await machine.run(["id", "-un"])).stdout.decode() == f"{kind}\n"
        assert (await machine.run(["id", "-un"], become=True)).stdout == b"root\n"
        path = machine.client.folder / "file"
        await machine.put(b"x", path)
        assert box.look("stat", "-c", "%U", str(path)) == f"{kind}\n"
        with pytest.raises(InfrastructureError) if kind != "root" else anyio.CancelScope():
            await machine.put(b"x", path.parent.parent.parent.parent.parent / "../../root/file")
        if password is not None:
            seen = box.look("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '")
            assert password not in seen
        assert await machine.client.end() == ()


async def test_who_may_not_become_root(box: Box) -> None:
    with pytest.raises(InfrastructureError, match="sudo does not let us become root: .*(try again|password)"):
        async with box.keep("ops", become=Become("wrong password")):
            pass
    with pytest.raises(InfrastructureError, match="units of the system need root"):
        async with box.keep("ops", mechanism="systemd"):
            pass
    async with box.keep("ops", become=Become()) as machine:
        with pytest.raises(InfrastructureError, match="sudo does not let us become root: .*password is required"):
            await machine.run(["id"], become=True)
        service = await machine.spawn(box.program(machine.client.folder, REPORT))
        assert (await service.wait()).code == 7, "as a child"
        assert await machine.client.end() == ()


@pytest.mark.parametrize("user", ["deploy", "root"])
async def test_without_systemd_nodes_are_children_of_the_keeper(plain: Box, user: str) -> None:
    async with plain.keep(user, become=Become(), lease=2) as machine:
        service = await machine.spawn(plain.program(machine.client.folder, REPORT, *ODD))
        assert (await service.wait()).code == 7
        await service.sync_log()
        assert json.loads(plain.log())[0] == ODD
        assert json.loads(plain.log())[3] == int(plain.look("id", "-u", user))
        (plain.folder / "n.log").unlink()
        service = await machine.spawn(plain.program(machine.client.folder, ESCAPE))
        while not plain.log().endswith("\n"):
            await anyio.sleep(0.02)
    await plain.clean()
    assert not plain.is_alive(service.pid) and not plain.is_alive(plain.log().strip())


async def test_a_keeper_is_started_past_ssh(box: Box) -> None:
    """What is left of the connection when it is killed is nothing that the keeper needs."""
    async with box.keep(become=Become(), lease=10) as machine:
        service = await machine.spawn(box.program(machine.client.folder, ESCAPE))
        box.look("sh", "-c", "for p in $(pgrep -f 'sshd: deploy'); do kill -9 $p; done")
        await machine.client.lost()
        assert box.is_alive(service.pid)
        await machine.client.reattach(await box.transport("deploy"))
        assert await service.state() == "running"
        assert await machine.client.end() == ()
