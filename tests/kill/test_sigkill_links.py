"""SIGKILL of a controller that has slowed links down or delayed them: queues and relays are gone within the lease, or
by `heal` or `clean` where nobody is left on the machines who would do it; what was there before is there again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kill.test_sigkill_machines import (
    KILL_OTHERS,
    LEASE,
    SLACK,
    controller,
    eventually_nothing,
    inventory_of,
    machines,
)

pytestmark = [pytest.mark.real, pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")]

DISTURBED = """
name = "disturbed"
chain = {{ use = "devnet", slot_duration = "100ms", security_param = 3 }}
duration = "90s"
budget = "unlimited"
[topology]
layout = "full"
validators = 2
[[workloads]]
use = "chaos.{fault}"
{options}
min_delay = "300ms"
max_delay = "500ms"
duration = "80s"
[[expectations]]
use = "consensus-liveness"
"""
QUEUE = "qdisc htb 4841: "


def disturbed(fault: str, options: str) -> str:
    return DISTURBED.format(fault=fault, options=options)


def queues(hosts: list[Any]) -> Callable[[], list[str]]:
    """What their machines have in front of their interfaces, beside what they had at first."""

    def look() -> dict[str, list[str]]:
        return {host.name: host.exec("tc", "qdisc", "show").stdout.decode().splitlines() for host in hosts}

    before = look()

    def changed() -> list[str]:
        now = look()
        gone = [f"{name}: gone: {line}" for name, lines in before.items() for line in lines if line not in now[name]]
        new = [f"{name}: {line}" for name, lines in now.items() for line in lines if line not in before[name]]
        return gone + new

    return changed


@pytest.mark.parametrize("end", ["lease", "heal", "clean"])
def test_queues_of_a_killed_controller(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, end: str) -> None:
    with machines(ssh_hosts_plain if end == "heal" else ssh_hosts, 2) as (hosts, left):
        changed = queues(hosts)
        lease = LEASE if end == "lease" else 600.0
        inventory = inventory_of(hosts).replace(f"{LEASE:g}s", f"{lease:g}s")
        with controller(tmp_path, inventory, disturbed("bandwidth", 'rate = "256KiB"')) as run:
            run.until("fault-staged", "proven", 0)
            run.kill()
            assert sum(QUEUE in line for line in changed()) == 2, changed()
            if end == "lease":
                eventually_nothing(changed, LEASE + SLACK)
            else:
                for host in hosts:
                    host.exec("python3", "-c", KILL_OTHERS)
                assert any(QUEUE in line for line in changed())
                args = ("heal", "-i", "inventory.toml") if end == "heal" else ("clean",)
                done = run.harness(*args)
                assert done.returncode == 0, done.stderr
                assert not changed()
            assert run.harness("clean").returncode == 0
            eventually_nothing(left, SLACK)


@pytest.mark.parametrize("end", ["lease", "heal"])
def test_relays_of_a_killed_controller(tmp_path: Path, ssh_hosts: Any, ssh_hosts_plain: Any, end: str) -> None:
    with machines(ssh_hosts_plain if end == "heal" else ssh_hosts, 2) as (hosts, left):
        lease = LEASE if end == "lease" else 600.0
        inventory = inventory_of(hosts).replace(f"{LEASE:g}s", f'{lease:g}s"\nlinks = "relay')
        with controller(tmp_path, inventory, disturbed("latency", 'delay = "80ms"')) as run:
            run.until("fault-staged", "injected", 0)  # whether it can be proven depends on how busy the machine is
            run.kill()
            assert left()
            if end == "lease":
                eventually_nothing(left, LEASE + SLACK)
            else:
                for host in hosts:
                    host.exec("python3", "-c", KILL_OTHERS)
                healed = run.harness("heal", "-i", "inventory.toml")
                assert healed.returncode == 0, healed.stderr
                assert not left()
            assert run.harness("clean").returncode == 0
            eventually_nothing(left, SLACK)


@pytest.mark.parametrize(("fault", "options"), [("latency", 'delay = "80ms"'), ("bandwidth", 'rate = "256KiB"')])
def test_on_docker(tmp_path: Path, docker_engine: Any, fault: str, options: str) -> None:
    inventory = '[all.hosts]\nlocal = { ansible_connection = "docker" }\n'
    with controller(tmp_path, inventory, disturbed(fault, options), DOCKER_HOST=os.environ["DOCKER_HOST"]) as run:
        run.until("fault-staged", "proven", 0)
        label = f"label=harness.run={run.run_id}"

        def left() -> list[str]:
            found = [docker_engine("ps", "-aq", "--filter", label).split()]
            found += [docker_engine(kind, "ls", "-q", "--filter", label).split() for kind in ("network", "volume")]
            return [name for names in found for name in names]

        assert len(docker_engine("ps", "-aq", "--filter", label).split()) > 2  # nodes, and what disturbs their links
        run.kill()
        eventually_nothing(left, SLACK)
        assert run.harness("clean").returncode == 0
