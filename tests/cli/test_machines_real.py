"""`harness inventory ping`, `exec` and `heal` on real SSH hosts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

Cli = Callable[..., subprocess.CompletedProcess[str]]
ODD = "a 'b' \"c\" $(touch /tmp/pwned) `d` ; -x\n☃"


@pytest.fixture
def lab(ssh_hosts: Any, tmp_path: Path) -> Iterator[tuple[Path, list[Any]]]:
    """An inventory of two hosts, and a third that nobody is."""
    with ssh_hosts.lease(2) as hosts:
        tables = []
        for host in (hosts[0].as_user("deploy"), hosts[1]):
            variables = "\n".join(f"{name} = {json.dumps(value)}" for name, value in host.variables().items())
            tables.append(f"[up.hosts.{json.dumps(host.name)}]\n{variables}\n")
        nobody = 'ansible_connection = "ssh"\nansible_host = "127.0.0.1"\nansible_port = 1\n'
        tables.append(f"[down.hosts.nobody]\n{nobody}")
        inventory = tmp_path / "lab.toml"
        inventory.write_text("\n".join(tables))
        yield inventory, hosts


def test_ping(cli: Cli, lab: tuple[Path, list[Any]]) -> None:
    inventory, hosts = lab
    done = cli("inventory", "ping", "-i", inventory, "--output", "json")
    told = {record["host"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 3, done.stderr
    assert not told["nobody"]["reached"] and told["nobody"]["error"]
    for host in hosts:
        seen = told[host.name]
        assert seen["reached"] and seen["probe_error"] == "", seen
        assert seen["machine"]["hostname"] == host.name
        assert seen["abilities"]["root"] == {"there": True, "why": ""}
        assert seen["abilities"]["systemd"]["there"] is True
        assert seen["abilities"]["nft"]["there"] is True
        assert abs(seen["clock"]["seconds"]) <= seen["clock"]["uncertainty"], "it is the same clock as ours"
        assert 0 < seen["latency"] < 10


def test_exec(cli: Cli, lab: tuple[Path, list[Any]]) -> None:
    inventory, hosts = lab
    done = cli("exec", "up", "-i", inventory, "--output", "json", "--", "printf", "%s", ODD)
    assert done.returncode == 0, done.stderr
    told = {record["host"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert {host: record["stdout"] for host, record in told.items()} == {host.name: ODD for host in hosts}
    done = cli("exec", "up", "-i", inventory, "--become", "--", "id", "-un")
    assert sorted(done.stdout.splitlines()) == sorted(f"{host.name}: root" for host in hosts)
    done = cli("exec", "all", "-i", inventory, "--output", "json", "--", "true")
    assert done.returncode == 3
    done = cli("exec", "up", "-i", inventory, "--output", "json", "--", "sh", "-c", 'test "$(id -u)" = 0')
    assert done.returncode == 1, "it fails on the host where one is not root"


def test_an_interrupt_ends_it_on_every_host(lab: tuple[Path, list[Any]], tmp_path: Path) -> None:
    inventory, hosts = lab
    mark = f"1000.{time.time_ns() % 10**9}"
    command = [sys.executable, "-m", "harness", "exec", "up", "-i", str(inventory)]
    script = f"sleep {mark} & sleep {mark}"
    running = subprocess.Popen([*command, "--", "sh", "-c", script], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    give_up = time.monotonic() + 60
    while not all(_sleepers(host, mark) == 2 for host in hosts):
        assert time.monotonic() < give_up and running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert (running.returncode, told.splitlines()[-1]) == (130, "interrupted; 0 of 2 had ended")
    assert [_sleepers(host, mark) for host in hosts] == [0, 0]


def _sleepers(host: Any, mark: str) -> int:
    return len(host.exec("pgrep", "-fx", f"sleep {mark}", check=False).stdout.split())


def test_heal_of_hosts_that_nothing_was_left_on(cli: Cli, lab: tuple[Path, list[Any]]) -> None:
    done = cli("heal", "up", "-i", lab[0])
    assert (done.returncode, done.stdout) == (0, "there was nothing to undo\n"), done.stderr
