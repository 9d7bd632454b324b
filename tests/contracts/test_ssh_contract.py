"""The deployer `ssh` does what every deployer must, on real hosts: under systemd, and where there is none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.api import Deployer, HostSpec
from harness.testing.contracts import DeployerContract
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = pytest.mark.real

LEASE = 10.0

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
print(json.dumps(found))
"""
"""What of a run can be found on a host: processes that name it, files called after it, units, tables."""


class SshContract(DeployerContract):
    """`user` is who one logs in as."""

    user: ClassVar[str]
    exclusive = True
    dies_alone = LEASE + 15.0

    @pytest.fixture
    def pool(self) -> Any:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _lease(self, pool: Any, processes_of: Callable[[str], list[str]]) -> Iterator[None]:
        with pool.lease(2) as hosts:
            self.machines = [host.as_user(self.user) for host in hosts]
            self.processes_of = processes_of
            yield

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return SshDeployer(SshConfig.model_validate({"lease": f"{LEASE}s"}))

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        return [HostSpec(host.name, host.variables()) for host in self.machines]

    @pytest.fixture
    def hopeless(self, deployer: Deployer[Any], hosts: Sequence[HostSpec]) -> tuple[Deployer[Any], Sequence[HostSpec]]:
        nobody = dataclasses.replace(self.machines[1], ssh_port=1)
        return deployer, (hosts[0], HostSpec("nobody", nobody.variables()))

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """On the hosts, looked at past ssh, and of processes here."""
        found = self.processes_of(run_id)
        for host in self.machines:
            told = json.loads(host.exec("python3", "-c", LOOK, run_id).stdout)
            found += [f"{host.name}: {line}" for line in told]
        return found

    async def active(self, run_id: str, run_dir: Path) -> Sequence[str]:
        return [line for line in await self.leftovers(run_id, run_dir) if ": file " not in line]


class TestSystemd(SshContract):
    user = "root"

    @pytest.fixture
    def pool(self, ssh_hosts: Any) -> Any:
        return ssh_hosts


class TestPlain(SshContract):
    """No systemd, and a user who is not root."""

    user = "deploy"

    @pytest.fixture
    def pool(self, ssh_hosts_plain: Any) -> Any:
        return ssh_hosts_plain
