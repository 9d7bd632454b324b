"""Light hosts are many, apart from each other and from this machine, and have no way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fleet as fleet_package
from fleet import Host, LightFleet

pytestmark = pytest.mark.real
Start = Callable[[int], LightFleet]


def ssh(fleet: LightFleet, host: Host, script: str) -> str:
    argv = fleet.inside([*host.ssh, script])
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_each_host_is_its_own(light_fleet: Start, tmp_path: Path) -> None:
    light = light_fleet(3)
    mark = tmp_path.parent / "a file that a host made"
    for host in light.hosts:
        script = f"hostname; test ! -e '{mark}' && mkdir -p '{mark.parent}' && touch '{mark}' && echo own files"
        assert ssh(light, host, script).splitlines() == [host.name, "own files"]
        assert ssh(light, host, f"test -e '{mark}' && echo kept") == "kept"
        assert "fleet_config" in ssh(light, host, "tr '\\0' ' ' < /proc/1/cmdline")
    assert not mark.exists()


def test_hosts_reach_each_other_and_nothing_else(light_fleet: Start) -> None:
    light = light_fleet(2)
    one, other = light.hosts
    banner = ssh(light, one, f"bash -c 'read -r line < /dev/tcp/{other.address}/22; echo $line'")
    assert banner.startswith("SSH-2.0-OpenSSH")
    assert ssh(light, one, "ip -4 route").startswith("10.77.0.0/16 dev eth0")
    assert "default" not in ssh(light, one, "ip route; ip -6 route")
    routes = subprocess.run(light.inside(["ip", "route"]), capture_output=True, text=True, check=True).stdout
    assert routes.split()[0] == "10.77.0.0/16"
    assert "default" not in routes


def test_fifty_answer(light_fleet: Start) -> None:
    light = light_fleet(50)
    asked = [subprocess.Popen(light.inside([*host.ssh, "hostname"]), stdout=subprocess.PIPE) for host in light.hosts]
    assert [process.communicate()[0].decode().strip() for process in asked] == [host.name for host in light.hosts]


def test_slow_links_take_their_round_trip(light_fleet: Start) -> None:
    """And deliver what was sent: a round trip through the link is never shorter than it says."""
    light = light_fleet(1)
    [slow] = light.slowed(0.05)
    script = """
import subprocess, sys, time
process = subprocess.Popen([*sys.argv[1:], "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def echo(data):
    process.stdin.write(data); process.stdin.flush()
    assert process.stdout.read(len(data)) == data
echo(b"warm")
began = time.monotonic()
for _ in range(5):
    echo(b"x")
print((time.monotonic() - began) / 5)
process.stdin.write(bytes(range(256)) * 4096); process.stdin.close()
assert process.stdout.read() == bytes(range(256)) * 4096
assert process.wait() == 0
"""
    argv = light.inside([sys.executable, "-c", script, *slow.ssh])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= 0.05


START = """
import sys
from pathlib import Path
from fleet import LightFleet
with LightFleet(Path(sys.argv[1]), 3):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_sigkill_leaves_no_process(light_fleet: Start, tmp_path: Path) -> None:
    light_fleet(1)  # what it needs is installed then
    env = {**os.environ, "PYTHONPATH": str(Path(fleet_package.__file__).parents[1])}
    argv = [sys.executable, "-c", START, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        assert of_fleet(tmp_path)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while left := of_fleet(tmp_path):
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(0.05)


def of_fleet(folder: Path) -> list[str]:
    """The processes of light hosts of this folder: their environment names it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"FOLDER={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found
