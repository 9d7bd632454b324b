"""The hosts are what their users take them for, and nobody's leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fleet as fleet_package
from fleet import Fleet, Host, HostPool, inventory
from fleet.engine import Docker
from harness.testing.waiting import wait_until

pytestmark = pytest.mark.real
SOURCE = Path(fleet_package.__file__).parents[1]


def ssh(host: Host, script: str, input: str = "") -> str:
    done = subprocess.run([*host.ssh, script], input=input, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def test_three_users_and_their_sudo(ssh_hosts: HostPool) -> None:
    with ssh_hosts.lease() as [host]:
        assert ssh(host, "id -un") == "root"
        assert ssh(host.as_user("deploy"), "id -un; sudo -n id -un").split() == ["deploy", "root"]
        ops = host.as_user("ops")
        assert ssh(ops, "sudo -n true 2>/dev/null || echo refused") == "refused"
        assert ssh(ops, "sudo -S -p '' id -un", host.ops_password + "\n") == "root"


def test_hosts_with_systemd_have_it(ssh_hosts: HostPool) -> None:
    with ssh_hosts.lease() as [host]:
        assert ssh(host, "systemctl is-system-running") == "running"
        assert ssh(host, "systemd-run --quiet --wait --pipe --collect echo from a unit") == "from a unit"
        assert ssh(host, "nft add table inet t && nft list tables && nft delete table inet t") == "table inet t"


def test_hosts_without_systemd_have_none(ssh_hosts_plain: HostPool) -> None:
    with ssh_hosts_plain.lease() as [host]:
        assert ssh(host, "test -e /run/systemd/system || echo none; cat /proc/1/comm").split() == [
            "none",
            "docker-init",
        ]
        assert ssh(host, "nft add table inet t && nft list tables && nft delete table inet t") == "table inet t"


def test_host_keys_are_real(ssh_hosts: HostPool, tmp_path: Path) -> None:
    """Each host has its own key: with another's, OpenSSH refuses."""
    with ssh_hosts.lease(2) as [one, other]:
        keys = {host.exec("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1] for host in (one, other)}
        assert len(keys) == 2
        false = tmp_path / "known_hosts"
        public = other.exec("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.decode()
        false.write_text(f"[{one.ssh_host}]:{one.ssh_port} {public}")
        argv = [word.replace(str(one.known_hosts), str(false)) for word in one.ssh]
        refused = subprocess.run([*argv, "true"], capture_output=True, text=True, timeout=30)
        assert refused.returncode == 255
        assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr


def test_hosts_reach_each_other(ssh_hosts: HostPool) -> None:
    with ssh_hosts.lease(2) as [one, other]:
        banner = ssh(one, f"bash -c 'read -r line < /dev/tcp/{other.address}/22; echo $line'")
    assert banner.startswith("SSH-2.0-OpenSSH")


def test_a_leased_host_is_nobody_elses(ssh_hosts: HostPool) -> None:
    with ssh_hosts.lease() as [one], ssh_hosts.lease() as [other]:
        assert one.container != other.container


def test_a_host_that_is_not_kept_is_gone(ssh_hosts: HostPool, docker_engine: Docker) -> None:
    with ssh_hosts.lease(keep=False) as [host]:
        assert docker_engine("ps", "--quiet", f"--filter=name={host.container}")
    assert not docker_engine("ps", "--all", "--quiet", f"--filter=name={host.container}")
    assert f":{host.ssh_port}," not in host.known_hosts.read_text()


def test_a_host_that_broke_is_not_leased_again(ssh_hosts_plain: HostPool, docker_engine: Docker) -> None:
    with ssh_hosts_plain.lease() as [broken]:
        docker_engine("kill", broken.container)
    with ssh_hosts_plain.lease() as [host]:
        assert host.container != broken.container
        assert ssh(host, "id -un") == "root"


def test_inventories_hold_what_one_connects_with(ssh_hosts: HostPool) -> None:
    with ssh_hosts.lease(2) as hosts:
        read = tomllib.loads(inventory([host.as_user("deploy") for host in hosts], harness_deployer="ssh"))
    assert list(read["all"]["hosts"]) == [host.name for host in hosts]
    variables = read["all"]["hosts"][hosts[0].name]
    assert variables["ansible_port"] == hosts[0].ssh_port
    assert variables["ansible_user"] == "deploy"
    assert variables["harness_address"] == hosts[0].address
    assert read["all"]["vars"] == {"harness_deployer": "ssh"}


JOIN = """
import sys, fleet
joined = fleet.Fleet(sys.argv[1])
_, [host] = joined.lease(1, systemd=False)
print(host.container, joined.folder, flush=True)
sys.stdin.read()
"""


def join(session: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Another process that has a host in a session, until its stdin is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, session],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **env, "PYTHONPATH": str(SOURCE)},
        text=True,
    )


def is_keeper(process: Path, folder: Path) -> bool:
    try:
        line = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"fleet.keeper" in line and str(folder).encode() in line


def test_sigkill_leaves_nothing(docker_engine: Docker, tmp_path: Path) -> None:
    """A killed process's hosts, keys and keeper are gone. Its keeper is its own, of an engine that was there before."""
    env = {"HARNESS_TESTS_CACHE": str(tmp_path), "DOCKER_HOST": docker_engine.host}
    with join("killed", env) as process:
        assert process.stdout is not None
        container, folder = process.stdout.readline().split()
        assert docker_engine("ps", "--quiet", f"--filter=name={container}")
        process.send_signal(signal.SIGKILL)
    wait_until(
        lambda: not docker_engine("ps", "--all", "--quiet", f"--filter=name={container}"), "the host was removed"
    )
    wait_until(lambda: not Path(folder).exists(), "the keys were removed")
    wait_until(lambda: not list(tmp_path.rglob("keeper.sock")), "the keeper ended")
    assert docker_engine("version"), "the engine, which was somebody else's, goes on"


def test_a_keeper_removes_what_a_killed_keeper_left(docker_engine: Docker, tmp_path: Path) -> None:
    env = {"HARNESS_TESTS_CACHE": str(tmp_path), "DOCKER_HOST": docker_engine.host}
    with join("first", env) as first:
        assert first.stdout is not None
        container = first.stdout.readline().split()[0]
        running = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
        keeper = next(int(path.name) for path in running if is_keeper(path, tmp_path))
        os.kill(keeper, signal.SIGKILL)
        assert docker_engine("ps", "--quiet", f"--filter=name={container}")
        with join("second", env) as second:
            assert second.stdout is not None
            assert second.stdout.readline().split()[0] != container
            assert not docker_engine("ps", "--all", "--quiet", f"--filter=name={container}")
            assert second.stdin is not None
            second.stdin.close()
        assert first.stdin is not None
        first.stdin.close()
    wait_until(lambda: not list(tmp_path.rglob("keeper.sock")), "the keeper ended")


REJOIN = """
import os, fleet
for number in range(8):
    joined = fleet.Fleet(f"{os.getpid()}-{number}")
    assert joined.folder.exists()
    joined.close()
"""


def test_sessions_that_come_as_the_keeper_ends_get_the_next_one(docker_engine: Docker, tmp_path: Path) -> None:
    env = {**os.environ, "HARNESS_TESTS_CACHE": str(tmp_path), "DOCKER_HOST": docker_engine.host}
    env["PYTHONPATH"] = str(SOURCE)
    ones = [subprocess.Popen([sys.executable, "-c", REJOIN], env=env) for _ in range(3)]
    assert [one.wait(120) for one in ones] == [0, 0, 0]


def test_a_session_is_its_processes_together(docker_engine: Docker, fleet: Fleet) -> None:
    """Workers share a session: it ends with the last of them."""
    one, other = Fleet("together"), Fleet("together")
    try:
        assert one.folder == other.folder
        _, [host] = one.lease(1, systemd=False)
        one.close()
        assert other.folder.exists()
    finally:
        other.close()
    assert not other.folder.exists()
    assert not docker_engine("ps", "--all", "--quiet", f"--filter=name={host.container}")
