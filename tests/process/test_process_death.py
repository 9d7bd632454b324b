"""What is left when the controller, its supervisor, or both are killed: nothing. Judged by the command lines in /proc,
not by what the deployer itself keeps."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import ServiceSpec, TeardownError
from harness_agent import AgentClient, AgentMachine, SubprocessTransport
from harness_agent.remote import boot, leftovers, processes
from harness_agent.remote import ports as port_module
from harness_process.deployer import ProcessConfig, ProcessDeployer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

CONTROLLER = Path(__file__).with_name("controller.py")
SOURCE = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{SOURCE}:{SOURCE / 'plugins'}:{sysconfig.get_path('purelib')}",
    "PYTHONDONTWRITEBYTECODE": "1",
}
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
PROMISED = 2.0
"""Seconds within which every node is gone after the controller was killed."""


class Victim:
    """A controller in a process of its own."""

    def __init__(self, run_dir: Path, *python: str) -> None:
        self.run_dir = run_dir
        argv = [*(python or (sys.executable,)), str(CONTROLLER), str(run_dir), f"{run_dir}/marker"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def end(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def supervisor(self) -> int:
        return int(json.loads((self.run_dir / "processes.jsonl").read_text().splitlines()[0])["agent"])

    def processes(self) -> list[str]:
        """The living processes that name the run's folder in their arguments or stand in it."""
        found = []
        for process in processes.everyone():
            with contextlib.suppress(OSError):  # gone meanwhile
                line = Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").replace("\0", " ")
                where = str(Path(f"/proc/{process.pid}/cwd").readlink())
                if process.alive and (str(self.run_dir) in line or where.startswith(str(self.run_dir))):
                    found.append(f"{process.pid} {line}")
        return found

    async def gone(self, kit: Any, ports: Sequence[int]) -> None:
        """Wait for everything of it to be gone. A process that is ending loses its arguments first, then its
        sockets, then itself: so all three are looked at."""
        record = self.run_dir / "processes.jsonl"
        await kit.eventually(
            lambda: not (self.processes() or any(map(kit.is_bound, ports)) or leftovers.find(record)),
            "no process of it is left, and no port held",
            PROMISED,
        )


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path)
    yield victim
    victim.end()


@pytest.mark.parametrize("moment", range(10))
async def test_killing_the_controller_leaves_nothing(victim: Victim, kit: Any, moment: int) -> None:
    """At ten moments from the first step of the deployment to well after it."""
    assert victim.read() == "begin"
    await anyio.sleep(moment * 0.04 * random.Random(moment).uniform(0.7, 1.3))  # the moment, not a synchronisation
    victim.process.kill()
    victim.process.wait()
    await victim.gone(kit, json.loads(victim.read() or "[]"))


async def test_killing_the_controller_of_paused_nodes_leaves_nothing(victim: Victim, kit: Any) -> None:
    ports = [victim.read(), victim.read(), victim.read()][1]
    held = [found for found in leftovers.find(victim.run_dir / "processes.jsonl") if found.name.startswith("v-")]
    assert len(held) == 4
    for node in held:
        os.killpg(node.pid, signal.SIGSTOP)
    victim.process.kill()
    victim.process.wait()
    await victim.gone(kit, json.loads(ports))


async def test_killing_controller_and_supervisor_together(victim: Victim, kit: Any) -> None:
    """The kernel kills the nodes; a daemon of theirs stays for `clean`, which finds it by its mark."""
    ports = json.loads([victim.read(), victim.read(), victim.read()][1])
    nodes = [found for found in leftovers.find(victim.run_dir / "processes.jsonl") if found.name.startswith("v-")]
    os.kill(victim.supervisor(), signal.SIGKILL)
    victim.process.kill()
    victim.process.wait()
    await kit.eventually(lambda: not any(kit.is_alive(n.pid) for n in nodes), "all nodes are gone", PROMISED)
    assert [port for port in ports if kit.is_bound(port)], "the daemons hold the ports"
    done = await ProcessDeployer(ProcessConfig()).clean("run", victim.run_dir)
    assert len([line for line in done if line.startswith("killed what a node started (pid ")]) == 4
    await victim.gone(kit, ports)
    assert await ProcessDeployer(ProcessConfig()).clean("run", victim.run_dir) == []


async def test_clean_ends_a_supervisor_that_stands_still(victim: Victim, kit: Any) -> None:
    [victim.read(), victim.read(), victim.read()]
    os.kill(victim.supervisor(), signal.SIGSTOP)
    victim.process.kill()
    victim.process.wait()
    (victim.run_dir / "artifacts").mkdir()
    done = await ProcessDeployer(ProcessConfig()).clean("run", victim.run_dir)
    assert f"killed the agent (pid {victim.supervisor()})" in done
    assert f"removed {victim.run_dir / 'artifacts'}" in done
    await victim.gone(kit, [])


async def test_clean_touches_no_stranger(tmp_path: Path) -> None:
    """A pid that was given to another process since, a process of another boot, a torn line, no record at all."""
    deployer = ProcessDeployer(ProcessConfig())
    assert await deployer.clean("run", tmp_path) == []
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        seen = processes.look(stranger.pid)
        assert seen is not None
        boot = processes.boot_id()
        rows = [
            {"agent": 2**22 + 1, "start": 1.0, "boot": boot},
            {"pid": stranger.pid, "start": seen.start - 1, "name": "before it"},
            {"agent": 2**22 + 1, "start": 1.0, "boot": "another"},
            {"pid": stranger.pid, "start": seen.start, "name": "the same numbers in another boot"},
        ]
        torn = json.dumps({"agent": stranger.pid, "start": seen.start, "boot": boot})[:-1]
        (tmp_path / "processes.jsonl").write_text("\n".join([*map(json.dumps, rows), torn]))
        assert await deployer.clean("run", tmp_path) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_the_terminals_interrupt_is_for_the_controller_alone(victim: Victim) -> None:
    [victim.read(), victim.read(), victim.read()]
    ours = {victim.process.pid, os.getpid()}
    groups = {os.getpgid(pid) for pid in ours}
    for found in leftovers.find(victim.run_dir / "processes.jsonl"):
        process = processes.look(found.pid)
        if process is not None:
            assert os.getpgid(found.pid) not in groups and process.session not in groups


async def test_as_an_unprivileged_user(kit: Any) -> None:
    if os.geteuid() != 0:
        pytest.skip("this whole test run is unprivileged already")
    folder = Path(tempfile.mkdtemp())  # tmp_path is for its owner alone
    folder.chmod(0o777)
    victim = Victim(folder, *NOBODY, python_of_nobody())
    try:
        assert victim.read() == "begin"
        ports = json.loads(victim.read())
        assert victim.read() == "up"
        status = Path(f"/proc/{victim.supervisor()}/status").read_text()
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in status
        victim.process.kill()
        victim.process.wait()
        await victim.gone(kit, ports)
    finally:
        victim.end()
        shutil.rmtree(folder)


def python_of_nobody() -> str:
    """An interpreter of our version that others may execute too; ours may be in somebody's home."""
    sees = "import subprocess, sys, anyio, pydantic; subprocess.run([sys.executable, '-c', ''], check=True)"
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            if not subprocess.run([*NOBODY, python, "-c", sees], env=ENVIRONMENT, capture_output=True).returncode:
                return python
    reason = "needs setpriv, and a Python that an unprivileged user may execute"
    return pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


async def test_what_cannot_be_ended_is_named(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the record says is ours and that no signal ends; here because we do not let it be sent one."""
    stubborn = subprocess.Popen(["sleep", "1000"])
    monkeypatch.setattr("harness_process.supervision.PATIENCE", 0.1)
    monkeypatch.setattr(leftovers, "kill", lambda pid, start: None)
    try:
        with pytest.raises(TeardownError, match=rf"still running: stubborn \(pid {stubborn.pid}\)"):
            async with kit.deploy("v"):
                seen = processes.look(stubborn.pid)
                assert seen is not None
                with (kit.folder / "processes.jsonl").open("a") as record:
                    record.write(json.dumps({"pid": seen.pid, "start": seen.start, "name": "stubborn"}) + "\n")
    finally:
        stubborn.kill()
        stubborn.wait()


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
async def test_without_proc_prctl_and_waitid(kit: Any, tmp_path: Path) -> None:
    """As on macOS: groups and the tree of parents are what is ended."""
    without = "import os,sys;sys.platform='darwin';del os.waitid;there=os.path.exists;"
    without += "os.path.exists=lambda path:not path.startswith('/proc')and there(path);"
    *python, bootstrap = boot.argv(sys.executable, boot.ATTACHED)
    client = await AgentClient.attach(await SubprocessTransport.start([*python, without + bootstrap]), "here")
    machine = AgentMachine(client)

    async def spawn(script: str) -> Any:
        spec = ServiceSpec("n", ("sh", "-c", script), PurePosixPath(tmp_path), tmp_path / "log")
        return await machine.spawn(spec)

    service = await spawn("sleep 1000 & echo $!; sleep 1000")
    await kit.eventually(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text(), "it has forked")
    child = int((tmp_path / "log").read_text())
    await service.signal(signal.SIGTERM)
    assert (await service.wait()).signal == signal.SIGTERM
    other = await spawn("sleep 1000 & exec sleep 1000")
    await client.end()
    assert (await other.wait()).signal == signal.SIGKILL
    assert not [gone for gone in (service.pid, child, other.pid) if kit.is_alive(gone)]
    await client.aclose()


def test_leases_go_with_the_process_that_holds_them(tmp_path: Path) -> None:
    source = "import sys; from harness_agent.ports import PortLeases; p = PortLeases(3); print(*p.ports, flush=True)"
    holder = subprocess.Popen(
        [sys.executable, "-c", source + "; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert holder.stdout is not None
    ports = [int(port) for port in holder.stdout.readline().split()]
    assert [port_module._lease(port) for port in ports] == [None, None, None]
    holder.kill()
    holder.communicate()
    leases = [port_module._lease(port) for port in ports]
    assert None not in leases
    for lease in leases:
        assert lease is not None
        lease.close()
