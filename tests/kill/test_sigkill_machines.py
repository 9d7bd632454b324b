"""SIGKILL of the controller at twenty moments of runs on docker and on ssh, and a cut of the link: within the lease
nothing of the run is left on any machine, and what was there before still is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kill.moments import MOMENTS, PLAYBOOK, matches

pytestmark = [pytest.mark.real, pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")]

LEASE = 10.0
SLACK = 10.0
"""Seconds beyond the lease that ending everything may take on a busy machine."""


class Controller:
    """`harness run` as a process of its own, until it is killed."""

    def __init__(self, folder: Path, inventory: str, playbook: str = PLAYBOOK, **environment: str) -> None:
        self.work, temp = folder / "work", folder / "temp"
        for made in (self.work, temp):
            made.mkdir()
        (self.work / "doomed.toml").write_text(playbook)
        (self.work / "inventory.toml").write_text(inventory)
        self.environment = {**os.environ, "TMPDIR": str(temp), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        command = [sys.executable, "-m", "harness", "run", "doomed.toml", "-i", "inventory.toml", "--seed", "5"]
        self.process = subprocess.Popen(
            [*command, "--output", "json"], cwd=self.work, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.seen: list[dict[str, Any]] = []

    def until(self, kind: str, word: str, skip: int) -> None:
        """Read its events until this one came, after `skip` others like it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(event := json.loads(line))
            if matches(event, kind, word):
                if skip == 0:
                    return
                skip -= 1
        pytest.fail(f"{kind} {word} never came; the last was {self.seen[-1] if self.seen else 'nothing'}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def finish(self) -> int:
        """Read the rest; its exit code."""
        assert self.process.stdout is not None
        self.seen += [json.loads(line) for line in self.process.stdout]
        return self.process.wait()

    @property
    def run_id(self) -> str:
        return str(self.seen[0]["run_id"])

    def harness(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *args]
        return subprocess.run(command, cwd=self.work, env=self.environment, capture_output=True, text=True)


@contextmanager
def controller(folder: Path, inventory: str, playbook: str = PLAYBOOK, **environment: str) -> Iterator[Controller]:
    one = Controller(folder, inventory, playbook, **environment)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def eventually_nothing(left: Callable[[], list[str]], within: float) -> None:
    give_up = time.monotonic() + within
    while (found := left()) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not found, f"still there after {within:g} s"


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_docker(tmp_path: Path, docker_engine: Any, moment: tuple[str, str, int]) -> None:
    bystander = docker_engine("run", "-d", "--name", f"harness-bystander-{tmp_path.name}-{os.getpid()}",
                              "debian:bookworm-slim", "sleep", "infinity").strip()  # fmt: skip
    inventory = '[all.hosts]\nlocal = { ansible_connection = "docker" }\n'
    try:
        with controller(tmp_path, inventory, DOCKER_HOST=os.environ["DOCKER_HOST"]) as run:
            run.until(*moment)
            run.kill()
            label = f"label=harness.run={run.run_id}"

            def left() -> list[str]:
                found = [docker_engine("ps", "-aq", "--filter", label).split()]
                found += [docker_engine(kind, "ls", "-q", "--filter", label).split() for kind in ("network", "volume")]
                return [name for names in found for name in names]

            eventually_nothing(left, SLACK)
            cleaned = run.harness("clean")
            assert cleaned.returncode == 0, cleaned.stderr
            assert run.harness("clean").stdout == "nothing was left behind\n"
        assert docker_engine("inspect", "-f", "{{.State.Running}}", bystander).strip() == "true"
    finally:
        docker_engine("rm", "-f", bystander)


SNAPSHOT = """
systemctl list-units --all --plain --no-legend 'harness*' 2>/dev/null
ls -A /run/systemd/transient 2>/dev/null
ls -A /var/tmp /tmp
nft list tables
ps -eo args= | grep -E 'python|devnet' | grep -v grep
for folder in /var/tmp/harness-*; do ls -A "$folder/runs"; done 2>/dev/null
true
"""
"""What a run could leave on a machine."""

BYSTANDERS = """
nft add table inet harness_bystander
if [ -d /run/systemd/system ]; then systemd-run -q --unit=harness-bystander sleep infinity; fi
true
"""
NO_BYSTANDERS = """
nft delete table inet harness_bystander
if [ -d /run/systemd/system ]; then systemctl stop harness-bystander; fi
true
"""


def snapshot(host: Any) -> list[str]:
    lines = host.exec("sh", "-c", SNAPSHOT).stdout.decode().splitlines()
    return sorted(" ".join(line.split()) for line in lines if line.strip())  # columns are as wide as what is in them


@contextmanager
def machines(pool: Any, count: int) -> Iterator[tuple[list[Any], Callable[[], list[str]]]]:
    """Leased hosts with bystanders on them, and what is there that was not before."""
    with pool.lease(count) as hosts:
        for host in hosts:
            host.exec("sh", "-c", BYSTANDERS)
        before = {host.name: snapshot(host) for host in hosts}
        folders = ("harness-0",)  # the machine's own cache may stay: it is empty of runs

        def left() -> list[str]:
            now = {host.name: snapshot(host) for host in hosts}
            missing = [f"{name}: gone: {line}" for name, lines in before.items() for line in set(lines) - {*now[name]}]
            assert not missing
            return [
                f"{name}: {line}"
                for name, lines in now.items()
                for line in lines
                if line not in before[name] and line not in folders
            ]

        try:
            yield hosts, left
        finally:
            for host in hosts:
                host.exec("sh", "-c", NO_BYSTANDERS)


def inventory_of(hosts: list[Any]) -> str:
    from fleet import inventory

    return inventory(hosts) + f'\n[all.vars.harness_deployer_config]\nlease = "{LEASE:g}s"\n'


@pytest.mark.parametrize("number", range(len(MOMENTS)), ids=lambda n: "-".join(map(str, MOMENTS[n])))
def test_ssh(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, number: int) -> None:
    """Every other moment on machines with systemd, the others on machines without."""
    with machines(ssh_hosts if number % 2 else ssh_hosts_plain, 2) as (hosts, left):
        with controller(tmp_path, inventory_of(hosts)) as run:
            run.until(*MOMENTS[number])
            run.kill()
            eventually_nothing(left, LEASE + SLACK)
            healed = run.harness("heal", "-i", "inventory.toml")
            assert healed.returncode == 0, healed.stderr
            assert run.harness("clean").returncode == 0
            assert run.harness("clean").stdout == "nothing was left behind\n"
        assert not left()


PARTED = """
name = "parted"
chain = { use = "devnet", slot_duration = "100ms", security_param = 3 }
duration = "60s"
budget = "unlimited"
[topology]
layout = "full"
validators = 2
[[workloads]]
use = "chaos.partition"
shape = "isolate"
min_delay = "300ms"
max_delay = "500ms"
duration = "50s"
patience = "1s"
[[expectations]]
use = "consensus-liveness"
"""


@pytest.mark.parametrize("end", ["lease", "heal", "clean"])
def test_rules_of_a_killed_controller(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, end: str) -> None:
    """The machines cut themselves off no longer than their lease, and what others have in nft stays."""
    with machines(ssh_hosts_plain if end == "heal" else ssh_hosts, 2) as (hosts, left):
        lease = LEASE if end == "lease" else 600.0
        inventory = inventory_of(hosts).replace(f"{LEASE:g}s", f"{lease:g}s")
        with controller(tmp_path, inventory, PARTED) as run:
            run.until("fault-staged", "proven", 0)
            run.kill()
            tables = [line for line in left() if "table inet harness_" in line]
            assert len(tables) == 2 and all(run.run_id in line for line in tables)
            if end == "lease":
                eventually_nothing(left, LEASE + SLACK)
            elif end == "heal":
                for host in hosts:
                    host.exec("python3", "-c", KILL_OTHERS)
                healed = run.harness("heal", "-i", "inventory.toml")
                assert healed.returncode == 0, healed.stderr
                assert healed.stdout.count("undone: table inet harness_") == 2
                assert not left()
            assert run.harness("clean").returncode == 0
            eventually_nothing(left, SLACK)


KILL_OTHERS = """
import glob, os, signal
pids = [int(folder[6:]) for folder in glob.glob("/proc/[0-9]*")]
names = {pid: os.readlink(f"/proc/{pid}/exe") for pid in pids if os.path.exists(f"/proc/{pid}/exe")}
for number in (signal.SIGSTOP, signal.SIGKILL):
    for pid, name in names.items():
        if "python" in name and pid != os.getpid():
            os.kill(pid, number)
"""
"""Nobody is there any more who would undo anything."""


@pytest.mark.parametrize("systemd", [True, False], ids=["systemd", "plain"])
def test_a_cut_link(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, systemd: bool) -> None:
    """The machine drops everything of the controller's: it ends the run's nodes itself, and the run fails for it."""
    with machines(ssh_hosts if systemd else ssh_hosts_plain, 2) as (hosts, left):
        with controller(tmp_path, inventory_of(hosts)) as run:
            run.until("phase-started", "drive", 0)
            for host in hosts:
                host.exec("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; "
                                 "add rule inet cut in tcp dport 22 drop")  # fmt: skip
            try:
                eventually_nothing(lambda: [line for line in left() if "table inet cut" not in line], LEASE + SLACK)
                assert run.finish() in (3, 5)
            finally:
                for host in hosts:
                    host.exec("nft", "delete", "table", "inet", "cut")
        assert not left()
