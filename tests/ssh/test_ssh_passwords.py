"""Users with passwords, and becoming root with and without one, on a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.api import Access, CommandRecord, HostSpec, InfrastructureError, Machine, MachineLost
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture(scope="module")
def host(ssh_hosts_plain: Any) -> Iterator[Any]:
    with ssh_hosts_plain.lease(1) as (host,):
        yield host


def variables(host: Any, user: str, **more: Any) -> dict[str, Any]:
    return {
        "ansible_host": host.ssh_host,
        "ansible_port": host.ssh_port,
        "ansible_user": user,
        "ansible_ssh_private_key_file": str(host.key),
        "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={host.known_hosts}",
        **more,
    }


def connect(host: Any, user: str, access: Access | None = None, **more: Any) -> Any:
    spec = HostSpec("node01", variables(host, user, **more))
    return SshDeployer(SshConfig()).connect([spec], access or Access())


async def whoami(machine: Machine, *, become: bool) -> str:
    return (await machine.run(["id", "-un"], become=become)).stdout.decode().strip()


@pytest.mark.parametrize("user", ["root", "deploy"])
async def test_root_without_a_password(host: Any, user: str) -> None:
    async with connect(host, user) as machines:
        assert await whoami(machines["node01"], become=False) == user
        assert await whoami(machines["node01"], become=True) == "root"


async def test_sudo_with_a_password_leaves_no_trace_of_it(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[CommandRecord] = []
    async with connect(host, "ops", Access(audit=seen.append), ansible_become_password=host.ops_password) as machines:
        machine = machines["node01"]
        assert await whoami(machine, become=True) == "root"
        # Nobody on the machine sees it, while the agent that has become root runs.
        script = "import pathlib\nfor f in pathlib.Path('/proc').glob('[0-9]*/*'):\n" + (
            "    if f.name in ('cmdline', 'environ'):\n"
            "        try: print(f.read_bytes())\n"
            "        except OSError: pass\n"
        )
        processes = await machine.run([machine.python, "-c", script], become=True)
        assert b"sudo" in processes.stdout
        assert host.ops_password.encode() not in processes.stdout
        log = await machine.run(["sh", "-c", "cat /var/log/auth.log /var/log/syslog 2>/dev/null; true"], become=True)
        assert host.ops_password.encode() not in log.stdout
    assert host.ops_password not in repr(seen)
    assert any(record.user == "root" for record in seen)


async def test_sudo_refused_says_why(host: Any) -> None:
    for more, why in (({}, "password"), ({"ansible_become_password": "wrong password"}, "password")):
        async with connect(host, "ops", **more) as machines:
            with pytest.raises(InfrastructureError, match=why) as refused:
                await whoami(machines["node01"], become=True)
            assert "wrong password" not in str(refused.value)
            assert await whoami(machines["node01"], become=False) == "ops"


async def test_a_login_by_password(host: Any) -> None:
    without = {"ansible_ssh_private_key_file": "", "ansible_ssh_common_args": "-F /dev/null -o IdentityFile=none "
               f"-o UserKnownHostsFile={host.known_hosts}"}  # fmt: skip
    async with connect(host, "ops", **without, ansible_password=host.ops_password) as machines:
        assert await whoami(machines["node01"], become=False) == "ops"
    async with connect(host, "ops", **without, ansible_password="a wrong password") as machines:
        with pytest.raises(MachineLost, match="ops@.* does not let us in: tried: the password") as refused:
            await whoami(machines["node01"], become=False)
        assert "a wrong password" not in str(refused.value)
