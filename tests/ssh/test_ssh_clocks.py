"""A machine whose clock is ahead: whatever runs on it reads it so, and the time of its blocks is corrected by that.

No clock is set. One host, which has files of its own, has every program that it starts load a library that adds to what
the kernel says of the time of day, and to nothing else: the node, and the date(1) that is asked for the clock."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet import Host, LightFleet
from fleet.errors import FleetUnavailable
from fleet.packages import ensure

pytestmark = pytest.mark.real

AHEAD = 3
"""Seconds."""
LIBRARY = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t which, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, which, at);
    if (!failed && which == CLOCK_REALTIME) at->tv_sec += AHEAD;
    return failed;
}
int gettimeofday(struct timeval *at, void *zone) {
    int failed = syscall(SYS_gettimeofday, at, zone);
    if (!failed && at) at->tv_sec += AHEAD;
    return failed;
}
time_t time(time_t *to) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}
"""
INSTALL = "base64 -d > /usr/local/lib/ahead.so && echo /usr/local/lib/ahead.so > /etc/ld.so.preload"


@pytest.fixture
def hosts(light_fleet: Callable[[int], LightFleet], tmp_path: Path) -> tuple[LightFleet, Host, Host]:
    """Two machines; the clock of the first is ahead."""
    try:
        ensure({"cc": "gcc"})
    except FleetUnavailable as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    library = tmp_path / "ahead.so"
    compiler = ["cc", "-shared", "-fPIC", f"-DAHEAD={AHEAD}", "-x", "c", "-o", str(library), "-"]
    subprocess.run(compiler, input=LIBRARY.encode(), check=True)
    light = light_fleet(2)
    ahead, right = light.hosts
    argv = light.inside([*ahead.ssh, INSTALL])
    subprocess.run(argv, input=base64.b64encode(library.read_bytes()), check=True, timeout=60)
    return light, ahead, right


def test_a_clock_that_is_ahead_is_told_and_corrected(hosts: tuple[LightFleet, Host, Host], tmp_path: Path) -> None:
    light, ahead, right = hosts
    inventory = tmp_path / "lab.toml"
    lines = [f"[all.hosts.{host.name}]\n{_toml(host.variables())}\n" for host in (ahead, right)]
    inventory.write_text("\n".join(lines))
    done = _inside(light, tmp_path, "-m", "harness", "inventory", "ping", "-i", str(inventory), "--output", "json")
    clocks = {told["host"]: told["clock"] for told in map(json.loads, done.splitlines())}
    for host, seconds in ((ahead, AHEAD), (right, 0)):
        assert abs(clocks[host.name]["seconds"] - seconds) <= clocks[host.name]["uncertainty"] < 1, clocks

    variables = json.dumps({host.name: host.variables() for host in (ahead, right)})
    told = json.loads(_inside(light, tmp_path, str(Path(__file__).with_name("clocks_controller.py")), variables))
    corrected, as_they_are = told["corrected"], told["as they are"]
    assert corrected["verdict"] == "pass", corrected
    by = corrected["evidence"]["clocks"]["corrected_by_seconds"]
    assert by == {ahead.name: pytest.approx(AHEAD, abs=0.5), right.name: pytest.approx(0, abs=0.5)}
    assert as_they_are["verdict"] == "fail", as_they_are
    assert "header times: max" in as_they_are["measured"]
    assert as_they_are["evidence"]["header_times"]["max"] > AHEAD


def _toml(variables: dict[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in variables.items())


def _inside(light: LightFleet, folder: Path, *words: str) -> str:
    done = subprocess.run(
        light.inside([sys.executable, *words]), capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
