"""The engine of our own ends with whoever started it; where there can be none, tests say so."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import pytest

import fleet as fleet_package
from fleet import Fleet
from fleet.client import place_of
from fleet.engine import Docker, PrivateEngine, private_host
from fleet.errors import FleetError
from fleet.images import BASE
from harness.testing.waiting import wait_until

SOURCE = Path(fleet_package.__file__).parents[1]

START = """
import sys
from pathlib import Path
from fleet.engine import PrivateEngine
engine = PrivateEngine(Path(sys.argv[1]))
print(engine.bridge, engine.docker.host, engine.pidfile, flush=True)
sys.stdin.read()
"""


def empty_image(docker: Docker) -> str:
    packed = io.BytesIO()
    tarfile.open(fileobj=packed, mode="w").close()
    return docker("import", "-", input=packed.getvalue())


def has_interface(name: str) -> bool:
    """In the network namespace that this is in; /sys may show another one's."""
    return subprocess.run(["ip", "link", "show", name], capture_output=True).returncode == 0


def test_our_own_engine_is_the_same_one_when_docker_host_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TESTS_CACHE", str(tmp_path))
    ours = private_host(tmp_path / "private")
    assert place_of(ours) == place_of(None) == (tmp_path / "private", None)
    folder, host = place_of("unix:///var/run/docker.sock")
    assert (folder.parent, host) == (tmp_path, "unix:///var/run/docker.sock") and folder != tmp_path / "private"


@pytest.mark.real
def test_a_session_that_nobody_pinned_is_not_ended(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", fleet.docker_host)
    monkeypatch.setenv("HARNESS_TESTS_CACHE", str(tmp_path))  # a keeper of its own
    name = f"pinned-{uuid.uuid4().hex}"
    for pin in (True, False):
        Fleet(name, pin=pin).close()
        again = Fleet(name)
        assert again.end() is pin
        again.close()


OWN_NETWORK = "HARNESS_TEST_HAS_ITS_OWN_NETWORK"
APART = "test_a_private_engine_dies_with_whoever_started_it"


@pytest.mark.real
def test_a_private_engine_dies_with_whoever_started_it(fleet: Fleet, tmp_path: Path) -> None:
    """SIGKILL of its starter ends it; the next one keeps its images and removes everything else.

    In a network namespace of its own: an engine that starts lays its chains of iptables anew, under the feet of others
    in the same one."""
    del fleet  # what a private engine needs is installed then
    if OWN_NETWORK not in os.environ:
        again = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", f"{__file__}::{APART}"]
        argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *again]
        done = subprocess.run(argv, env={**os.environ, OWN_NETWORK: "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return
    argv = [sys.executable, "-c", START, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as starter:
        assert starter.stdout is not None
        bridge, host, pidfile = starter.stdout.readline().split()
        docker = Docker(host)
        assert has_interface(bridge)
        image = empty_image(docker)
        docker("create", image, "nothing")
        second = "br-" + docker("network", "create", "left-over")[:12]
        assert has_interface(second)
        pid = int(Path(pidfile).read_text())
        starter.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "dockerd ended")
    engine = PrivateEngine(tmp_path)
    try:
        assert docker("ps", "--all", "--quiet") == ""
        assert "left-over" not in docker("network", "ls")
        assert docker("images", "--quiet", "--no-trunc") == image
    finally:
        engine.stop()
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    for name in (bridge, second):
        assert not has_interface(name)
        assert name not in rules
    with pytest.raises(FleetError):
        docker("version")


@pytest.mark.real
def test_the_engine_has_the_base_image(docker_engine: Docker) -> None:
    assert os.environ["DOCKER_HOST"] == docker_engine.host
    system = docker_engine("run", "--rm", BASE, "cat", "/etc/os-release")
    assert "VERSION_CODENAME=bookworm" in system


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_a_missing_engine_is_named_here_and_an_error_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(docker_engine): pass\n")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST", "DOCKER"))}
    env |= {"PATH": str(nothing), "PYTHONPATH": str(SOURCE), "HARNESS_TESTS_CACHE": str(nothing)}
    if ci:
        env["CI"] = ci
    argv = [sys.executable, "-m", "pytest", "-p", "fleet.fixtures", "-p", "no:cacheprovider", "-rsE", "test_it.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert outcome in done.stdout.splitlines()[-1]
    assert "docker (Debian: docker.io)" in done.stdout
