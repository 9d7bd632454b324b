"""Tasks on real sshd hosts with systemd: as root through sudo, with real packages' databases and real units."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fleet import HostPool, inventory
from fleet.containers import ContainerHost

pytestmark = pytest.mark.real
Cli = Callable[..., subprocess.CompletedProcess[str]]

UNIT = """[Unit]
Description=Made by a test
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
PLAYBOOK = """
chain = "devnet"
duration = "1s"
[topology]
validators = 2
[[prepare]]
use = "copy"
src = "odd"
dest = "/srv/prepare-test"
become = true
owner = "root:daemon"
mode = "0640"
[[prepare]]
use = "template"
src = "unit.j2"
dest = "/etc/systemd/system/prepare-test.service"
become = true
[[prepare]]
use = "service"
unit = "prepare-test"
state = "started"
enabled = true
become = true
[[prepare]]
use = "package"
names = ["sudo", "prepare-test-nonesuch"]
state = "absent"
hosts = "nobody"
become = true
[[prepare]]
use = "package"
names = ["sudo"]
become = true
[[prepare]]
use = "run"
script = "id -un; echo made > /root/prepare-test"
creates = "/root/prepare-test"
become = true
[[prepare]]
use = "run"
argv = ["sh", "-c", "test $(id -un) = deploy"]
[[prepare]]
use = "wait-for"
port = 22
[[expectations]]
use = "consensus-liveness"
"""
ODD = ["-rf", "a\nb", "$(touch pwned)", "quote'\"", "with space", "é"]
PATHS = ("/srv/prepare-test", "/etc/systemd/system/prepare-test.service", "/root/prepare-test")


@pytest.fixture
def hosts(ssh_hosts: HostPool) -> Iterator[Sequence[ContainerHost]]:
    with ssh_hosts.lease(2, keep=False) as leased:
        yield leased


@pytest.fixture
def folder(tmp_path: Path, hosts: Sequence[ContainerHost]) -> Path:
    (tmp_path / "p.toml").write_text(PLAYBOOK)
    (tmp_path / "unit.j2").write_text(f"# {{{{ inventory_hostname }}}}\n{UNIT}")
    (tmp_path / "odd").mkdir()
    for name in ODD:
        (tmp_path / "odd" / name).write_text(name)
    (tmp_path / "odd" / "large").write_bytes(bytes(range(256)) * 8192)
    users = [host.as_user("deploy") for host in hosts]
    (tmp_path / "inventory.toml").write_text(inventory(users, harness_deployer="ssh") + "\n[nobody]\n")
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Cli:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *args, "p.toml", "-i", "inventory.toml"]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=180)

    return run


def seen(host: ContainerHost, *argv: str) -> str:
    """What a command prints there, as root and past ssh."""
    return host.exec(*argv).stdout.decode().strip()


def recap(output: str) -> list[list[int]]:
    return [[int(word) for word in line.split()[1:]] for line in output[output.index("RECAP") :].splitlines()[3:]]


def test_machines_are_readied_as_root_through_sudo_and_once(
    cli: Cli, hosts: Sequence[ContainerHost], folder: Path
) -> None:
    check = cli("prepare", "--check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "ExecStart=/bin/sleep infinity" in check.stdout
    for host in hosts:
        assert seen(host, "sh", "-c", f"ls -d {' '.join(PATHS)} 2>/dev/null || true") == ""

    first = cli("prepare")
    assert first.returncode == 0, first.stdout + first.stderr
    assert recap(first.stdout) == [[7, 5, 0], [7, 5, 0]]
    for host in hosts:
        for name in ODD:
            assert seen(host, "cat", "--", f"/srv/prepare-test/{name}") == name
            look = seen(host, "stat", "-c", "%a %U %G", "--", f"/srv/prepare-test/{name}")
            assert look.strip() == "640 root daemon"
        assert seen(host, "sh", "-c", "cksum < /srv/prepare-test/large").split()[1] == str(256 * 8192)
        assert seen(host, "systemctl", "is-active", "prepare-test") == "active"
        assert seen(host, "systemctl", "is-enabled", "prepare-test") == "enabled"
        assert seen(host, "head", "-1", PATHS[1]) == f"# {host.name}"
        assert seen(host, "sh", "-c", "ls -A /tmp | grep harness-[0-9a-f] || true") == ""
        assert seen(host, "sh", "-c", "find / -xdev -name pwned") == ""

    second = cli("prepare")
    assert recap(second.stdout) == [[7, 1, 0], [7, 1, 0]]  # the command without `creates` runs each time

    (folder / "unit.j2").write_text((folder / "unit.j2").read_text().replace("infinity", "86400"))
    text = (folder / "p.toml").read_text().replace('state = "started"', 'state = "restarted"')
    (folder / "p.toml").write_text(text)
    assert cli("prepare").returncode == 0
    for host in hosts:  # units that changed are read again before
        assert "sleep 86400" in seen(host, "systemctl", "show", "--property=ExecStart", "prepare-test")
        assert seen(host, "systemctl", "show", "--property=NeedDaemonReload", "prepare-test").endswith("=no")


def test_a_failure_on_one_host_is_told_in_its_own_words_and_sudo_may_want_a_password(
    cli: Cli, hosts: Sequence[ContainerHost], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts[0].exec("touch", "/srv/prepare-test")
    users = [host.as_user("ops") for host in hosts]
    secret = 'ansible_become_password = { env = "SUDO_OF_OPS" }\n'
    (folder / "inventory.toml").write_text(inventory(users, harness_deployer="ssh") + secret + "[nobody]\n")
    (folder / "p.toml").write_text((folder / "p.toml").read_text().replace("= deploy", "= ops"))
    monkeypatch.setenv("SUDO_OF_OPS", hosts[0].ops_password)
    done = cli("prepare")
    assert done.returncode == 3, done.stdout + done.stderr
    told = f"{hosts[0].name} FAILED /srv/prepare-test: there is a file in the place of a folder"
    assert told in " ".join(done.stdout.split())
    assert recap(done.stdout) == [[0, 0, 1], [7, 5, 0]]
    assert hosts[0].ops_password not in done.stdout + done.stderr


def test_machines_are_readied_by_one_at_a_time(cli: Cli, hosts: Sequence[ContainerHost], folder: Path) -> None:
    """The first is held up by its task; the second is refused before it has done anything."""
    head, _, _ = PLAYBOOK.partition("[[prepare]]")
    end = '[[expectations]]\nuse = "consensus-liveness"\n'
    wait = "until [ -e /tmp/prepare-go ]; do sleep 0.1; done"
    (folder / "p.toml").write_text(f'{head}[[prepare]]\nuse = "run"\nscript = "touch /tmp/prepare-up; {wait}"\n{end}')
    command = [sys.executable, "-m", "harness", "prepare", "p.toml", "-i", "inventory.toml"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
        try:
            for host in hosts:
                seen(host, "timeout", "60", "sh", "-c", "until [ -e /tmp/prepare-up ]; do sleep 0.1; done")
            second, run, check = cli("prepare"), cli("run"), cli("prepare", "--check")
        finally:
            for host in hosts:
                seen(host, "touch", "/tmp/prepare-go")
            told, _ = first.communicate(timeout=60)
    assert first.returncode == 0, told
    assert second.returncode == 3, second.stdout + second.stderr
    assert re.search(r"is in use by run \S+-prepare-\w+ of \S+@\S+ since \d{4}-", second.stderr), second.stderr
    assert "Traceback" not in second.stderr and "FAILED" not in second.stdout
    assert run.returncode == 4 and "-prepare-" in run.stderr, run.stderr
    assert check.returncode == 0, check.stdout + check.stderr
    assert cli("prepare").returncode == 0  # it has let go
