"""SIGKILL of a controller whose load comes from other machines: what sends there ends, and nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kill.test_sigkill_machines import (
    LEASE,
    SLACK,
    controller,
    eventually_nothing,
    inventory_of,
    machines,
)

pytestmark = [pytest.mark.real, pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")]

LOADED = """
name = "doomed"
chain = { use = "devnet", slot_duration = "100ms", security_param = 3 }
duration = "60s"
[topology]
validators = 2
[wallets]
count = 10
[[workloads]]
use = "transactions"
rate = "20/s"
"""
MOMENTS = [("phase-ended", "deploy", 0), ("phase-started", "drive", 0), ("workload-progress", "", 3)]


def hosts_of(connection: str) -> str:
    return (
        f'[all.vars]\nansible_connection = "{connection}"\n'
        "[nodes.hosts]\nhere = {}\n[load.hosts]\nnear = {}\nfar = {}\n"
    )


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_process(tmp_path: Path, moment: tuple[str, str, int]) -> None:
    def left() -> list[str]:
        found = subprocess.run(["pgrep", "-af", str(tmp_path)], capture_output=True, text=True).stdout.splitlines()
        return [line for line in found if "pgrep" not in line]

    with controller(tmp_path, hosts_of("local"), LOADED) as run:
        run.until(*moment)
        assert sum("sender.pyz serve" in line for line in left()) >= 2  # more while one of them starts a sender
        run.kill()
        eventually_nothing(left, SLACK)
        assert run.harness("clean").returncode == 0
        assert run.harness("clean").stdout == "nothing was left behind\n"


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_docker(tmp_path: Path, docker_engine: Any, moment: tuple[str, str, int]) -> None:
    with controller(tmp_path, hosts_of("docker"), LOADED, DOCKER_HOST=os.environ["DOCKER_HOST"]) as run:
        run.until(*moment)
        label = f"label=harness.run={run.run_id}"

        def left() -> list[str]:
            names = docker_engine("ps", "-a", "--format", "{{.Names}}", "--filter", label).split()
            return [*names, *docker_engine("volume", "ls", "-q", "--filter", label).split()]

        assert sum("-load-" in name for name in left()) >= 2
        run.kill()
        eventually_nothing(left, SLACK)
        assert run.harness("clean").returncode == 0


@pytest.mark.parametrize("number", range(len(MOMENTS)), ids=lambda n: "-".join(map(str, MOMENTS[n])))
def test_ssh(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, number: int) -> None:
    with machines(ssh_hosts if number % 2 else ssh_hosts_plain, 3) as (hosts, left):
        nodes, *load = [json.dumps(host.name) for host in hosts]
        groups = f"\n[nodes.hosts]\n{nodes} = {{}}\n[load.hosts]\n" + "".join(f"{name} = {{}}\n" for name in load)
        with controller(tmp_path, inventory_of(hosts) + groups, LOADED) as run:
            run.until(*MOMENTS[number])
            assert sum("sender.pyz serve" in line for line in left()) >= 2
            run.kill()
            eventually_nothing(left, LEASE + SLACK)
            assert run.harness("clean").returncode == 0
        assert not left()
