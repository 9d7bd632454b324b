"""SIGKILL of a controller in whose run one node has left and another has come: nothing is left of either."""

from __future__ import annotations

import os
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

CHURNED = """
name = "churned"
chain = { use = "devnet", slot_duration = "100ms", security_param = 3 }
duration = "90s"
[topology]
layout = "full"
validators = 3
executors = 3
late = "executor-2"
[[workloads]]
use = "chaos.churn"
targets = "executor"
min_delay = "500ms"
max_delay = "1s"
duration = "0s"
target_cooldown = "0s"
[[expectations]]
use = "consensus-liveness"
"""


def has_come(run: Any) -> None:
    """Until the late one runs."""
    run.until("fault-staged", "proven", 0)
    assert any(e["kind"] == "node-changed" and e["node"] == "executor-2" for e in run.seen)


@pytest.mark.parametrize("end", ["lease", "clean"])
def test_ssh(tmp_path: Path, ssh_hosts: Any, end: str) -> None:
    with machines(ssh_hosts, 2) as (hosts, left):
        lease = LEASE if end == "lease" else 600.0
        inventory = inventory_of(hosts).replace(f"{LEASE:g}s", f"{lease:g}s")
        with controller(tmp_path, inventory, CHURNED) as run:
            has_come(run)
            assert any("executor-2" in line for line in left())
            run.kill()
            if end == "lease":
                eventually_nothing(left, LEASE + SLACK)
            assert run.harness("clean").returncode == 0
            eventually_nothing(left, SLACK)


def test_docker(tmp_path: Path, docker_engine: Any) -> None:
    inventory = '[all.hosts]\nlocal = { ansible_connection = "docker" }\n'
    with controller(tmp_path, inventory, CHURNED, DOCKER_HOST=os.environ["DOCKER_HOST"]) as run:
        has_come(run)
        label = f"label=harness.run={run.run_id}"

        def left() -> list[str]:
            names = docker_engine("ps", "-a", "--format", "{{.Names}}", "--filter", label).split()
            return [*names, *docker_engine("volume", "ls", "-q", "--filter", label).split()]

        assert any("executor-2" in name for name in left())
        run.kill()
        eventually_nothing(left, SLACK)
        assert run.harness("clean").returncode == 0
