"""Every deployer on real machines, as bases of contract suites: `class TestSystemd(OnSystemd, SomeContract)`.

Each gives the fixtures `deployer` and `hosts`, the one with `options`, and looks at its machines past the deployer:
`processes`, `mounts`, `leftovers`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.api import Deployer, HostSpec
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench
from harness_docker.deployer import DockerDeployer
from harness_process.deployer import ProcessDeployer
from harness_ssh.deployer import SshDeployer

LEASE = 10.0

PS = r"""
import glob, json, os
found = []
for process in glob.glob("/proc/[0-9]*"):
    try:
        line = open(process + "/cmdline", "rb").read().decode(errors="replace")
        fields = open(process + "/stat", "rb").read().rpartition(b")")[2].split()
    except OSError:
        continue
    if int(process[6:]) != os.getpid():
        found.append([int(process[6:]), fields[0].decode(), int(fields[11]) + int(fields[12]), line])
print(json.dumps(found))
"""

LOOK = r"""
import glob, json, os, subprocess, sys
run, found = sys.argv[1], []
for process in glob.glob("/proc/[0-9]*"):
    if int(process[6:]) == os.getpid():
        continue
    about = []
    for look in (
        lambda: open(process + "/cmdline", "rb").read(),
        lambda: open(process + "/environ", "rb").read(),
        lambda: os.readlink(process + "/cwd").encode(),
    ):
        try:
            user = os.stat(process).st_uid
            os.seteuid(user)  # in these containers root is not told of other users' processes
            about.append(look())
        except OSError:
            continue
        finally:
            os.seteuid(0)
    if run.encode() in b" ".join(about):
        found.append("process %s %r" % (process[6:], about[0][:300]))
for folder in ("/tmp", "/var/tmp", "/run", "/dev/shm", "/root", "/home", "/etc", "/var/lib"):
    for where, folders, files in os.walk(folder):
        found += ["file " + os.path.join(where, name) for name in folders + files if run in name]
for argv in (["systemctl", "list-units", "--all", "--full", "--no-legend", "--plain"], ["nft", "list", "tables"]):
    try:
        told = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    except OSError:
        continue
    found += [argv[0] + " " + line for line in told.splitlines() if run in line]
found += ["mount " + line.strip() for line in open("/proc/mounts") if run in line]
print(json.dumps(found))
"""
"""What of a run can be found on a host: processes that name it, files called after it, units, tables, mounts."""


@dataclass(frozen=True)
class Process:
    """`ticks` of CPU time that it has used, in some unit of its machine's."""

    pid: int
    state: str
    ticks: int
    arguments: str


class OnMachines(DeployerSuite):
    options: ClassVar[Mapping[str, Any]] = {}
    """Of the deployer."""

    kind: ClassVar[type[Deployer[Any]]]

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return self.kind(self.kind.Config.model_validate(dict(self.options)))

    def with_options(self, bench: Bench, **options: Any) -> Bench:
        """The same bench, but for options of the deployer. Its runs are the same ones."""
        config = self.kind.Config.model_validate({**self.options, **options})
        other = Bench(self.kind(config), bench.hosts, bench.chain, bench.folder)
        other.runs = bench.runs
        return other

    def processes(self, bench: Bench) -> list[Process]:
        """All of a machine, or those of the node, where that has a container."""
        raise NotImplementedError

    def shell(self, bench: Bench, script: str) -> str:
        """What a script says, run as root on the first machine, or in the first node's container."""
        raise NotImplementedError

    def of_node(self, bench: Bench) -> list[Process]:
        """The processes of the node, whose program is in the run's folder."""
        run_id = bench.runs[-1].run_id
        return [one for one in self.processes(bench) if "service.py" in one.arguments and run_id in one.arguments]


class OnProcess(OnMachines):
    kind = ProcessDeployer

    def processes(self, bench: Bench) -> list[Process]:
        done = subprocess.run([sys.executable, "-c", PS], capture_output=True, check=True, text=True)
        return [Process(*one) for one in json.loads(done.stdout)]

    def shell(self, bench: Bench, script: str) -> str:
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout

    async def active(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Processes and mounts."""
        mounts = [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if run_id in line]
        return [*processes_of(run_id), *mounts]

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """What is active, and what the run needed but did not make."""
        folders = [str(path) for path in (run_dir / "artifacts", run_dir / "commands") if path.exists()]
        return [*folders, *await self.active(run_id, run_dir)]


class OnDocker(OnMachines):
    kind = DockerDeployer

    @pytest.fixture(autouse=True)
    def _engine(self, docker_engine: Any) -> None:
        self.engine = docker_engine

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return (HostSpec("engine", {"ansible_connection": "docker"}),)

    def container(self, bench: Bench, *status: str) -> str:
        """The first node's, "" where it has none of these states."""
        wanted = [word for one in status for word in ("--filter", f"status={one}")]
        names = self.engine("container", "ls", *wanted, "--format", "{{.Names}}").split()
        return next((name for name in names if bench.runs[-1].run_id in name and name.endswith("member-0")), "")

    def processes(self, bench: Bench) -> list[Process]:
        """As the engine's ps sees them from outside of the container."""
        if not (name := self.container(bench, "running", "paused")):
            return []
        lines = self.engine("top", name, "-eo", "pid,stat,cputimes,args").splitlines()[1:]
        rows = [line.split(None, 3) for line in lines if line.strip()[:1].isdigit()]
        return [Process(int(pid), state[0], int(cpu), args) for pid, state, cpu, args in rows]

    def shell(self, bench: Bench, script: str) -> str:
        return str(self.engine("exec", "--user", "0", self.container(bench, "running"), "sh", "-c", script))

    def of_node(self, bench: Bench) -> list[Process]:
        return [one for one in self.processes(bench) if "service.py" in one.arguments]

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Whatever the engine has that names the run in a name, a label, an argument or a path; and processes here."""
        found = []
        for kind, options in (("container", ("--all", "--no-trunc")), ("network", ("--no-trunc",)), ("volume", ())):
            told = self.engine(kind, "ls", *options, "--format", "{{json .}}")
            found += [f"{kind} {line}" for line in told.splitlines() if run_id in line]
        return [*found, *processes_of(run_id)]


class OnSsh(OnMachines):
    """`user` is who one logs in as, `count` how many hosts there are."""

    kind = SshDeployer
    options: ClassVar[Mapping[str, Any]] = {"lease": f"{LEASE}s"}
    user: ClassVar[str]
    count: ClassVar[int] = 1

    @pytest.fixture
    def pool(self) -> Any:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _lease(self, pool: Any) -> Iterator[None]:
        with pool.lease(self.count) as hosts:
            self.machines = [host.as_user(self.user) for host in hosts]
            yield

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return [HostSpec(host.name, host.variables()) for host in self.machines]

    def processes(self, bench: Bench) -> list[Process]:
        return [Process(*one) for one in json.loads(self.machines[0].exec("python3", "-c", PS).stdout)]

    def shell(self, bench: Bench, script: str) -> str:
        return str(self.machines[0].exec("sh", "-c", script).stdout.decode())

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """On the hosts, looked at past ssh, and of processes here."""
        found = processes_of(run_id)
        for host in self.machines:
            told = json.loads(host.exec("python3", "-c", LOOK, run_id).stdout)
            found += [f"{host.name}: {line}" for line in told]
        return found

    async def active(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return [line for line in await self.leftovers(run_id, run_dir) if ": file " not in line]


class OnSystemd(OnSsh):
    user = "root"

    @pytest.fixture
    def pool(self, ssh_hosts: Any) -> Any:
        return ssh_hosts


class OnPlain(OnSsh):
    """No systemd, and a user who is not root."""

    user = "deploy"

    @pytest.fixture
    def pool(self, ssh_hosts_plain: Any) -> Any:
        return ssh_hosts_plain


def processes_of(run_id: str) -> list[str]:
    """The living processes of a run on this machine, a line each: those that name it in their arguments, carry it in
    their environment or stand in its folder."""
    return [*filter(None, (_of_run(process, run_id) for process in Path("/proc").glob("[0-9]*")))]


def _of_run(process: Path, run_id: str) -> str:
    try:
        line = (process / "cmdline").read_bytes()
        about = line + (process / "environ").read_bytes() + bytes((process / "cwd").readlink())
    except OSError:  # gone meanwhile, or a zombie
        return ""
    return f"process {process.name} {line!r}" if run_id.encode() in about else ""
