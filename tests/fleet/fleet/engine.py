"""The Docker engine: the one that answers, or a private one that ends with whoever started it."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from fleet.command import PATH, run, which
from fleet.errors import FleetError, FleetUnavailable
from fleet.places import short

START = 60.0
"""Seconds that an engine may take to answer; on a disk full of images it takes some."""
STOP = 30.0
PR_SET_PDEATHSIG = 1


class Docker:
    """An engine that is spoken to with its command line."""

    def __init__(self, host: str) -> None:
        self.host = host

    def __call__(self, *args: str, input: bytes | None = None) -> str:
        """What `docker ARGS` printed. Raises FleetError."""
        return run(["docker", "--host", self.host, *args], input=input).strip()

    def lines(self, *args: str) -> list[str]:
        return self(*args).split()

    def remove_containers(self, *filters: str) -> None:
        """Remove the containers that these filters of `docker ps` select."""
        found = self.lines("ps", "--all", "--quiet", *(f"--filter={each}" for each in filters))
        if found:
            self("rm", "--force", "--volumes", *found)


def answering() -> str | None:
    """The address of the engine that DOCKER_HOST, Docker's context or the default socket name, if it answers."""
    if which("docker") is None:
        return None
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20)
        return run(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], timeout=20).strip()
    except FleetError:
        return None


def private_host(folder: Path) -> str:
    """Where the private engine that keeps its images in `folder` is, whether it runs or not."""
    return f"unix://{_runtime(folder) / 'docker.sock'}"


def _bridge(folder: Path) -> str:
    return f"fleet-{short(str(folder))}"


def _runtime(folder: Path) -> Path:
    """Names of sockets have at most 107 letters, whatever the folder's name."""
    return Path("/run") / _bridge(folder)


class PrivateEngine:
    """A dockerd of our own: own socket, bridge and addresses, images kept in `folder`. It dies with the thread that
    started it. Containers, networks and volumes that it had are nobody's when it starts, and are removed then."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            raise FleetUnavailable(
                "no Docker engine answers (DOCKER_HOST or the default socket), and only root starts one"
            )
        self.folder = folder
        self.bridge = _bridge(folder)
        self._runtime = _runtime(folder)
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        self.pidfile = self._runtime / "dockerd.pid"
        self.docker = Docker(private_host(folder))
        self._end_stray()
        self._forget_networks()
        self._make_bridge()
        self._process = self._spawn()
        try:
            self._wait()
            self._clear()
        except BaseException:
            self.stop()
            raise

    def _end_stray(self) -> None:
        """End a dockerd that was left by a keeper that was killed: it got a signal then and is about to end."""
        if not self.pidfile.exists():
            return
        pid = int(self.pidfile.read_text())
        for number, patience in ((signal.SIGTERM, STOP), (signal.SIGKILL, 5.0)):
            deadline = time.monotonic() + patience
            while self._is_ours(pid) and time.monotonic() < deadline:
                os.kill(pid, number)
                time.sleep(0.2)
        self.pidfile.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        try:
            return str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _forget_networks(self) -> None:
        """Remove its bridges, also those of networks that tests made, and its memory of them: the addresses, those of
        the default network too, may be somebody else's by the next start."""
        memory = self.folder / "data" / "network"
        database = memory / "files" / "local-kv.db"
        known = database.read_bytes() if database.exists() else b""
        for interface in json.loads(run(["ip", "-json", "link", "show"])):  # /sys may show another namespace's
            name = interface["ifname"]
            if name == self.bridge or (name.startswith("br-") and name.removeprefix("br-").encode() in known):
                _remove_bridge(name)
        shutil.rmtree(memory, ignore_errors=True)

    def _make_bridge(self) -> None:
        with Path("/run/harness-fleet.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # or two that start together take the same addresses
            self.network = _free_network()
            gateway = next(self.network.hosts())
            run(["ip", "link", "add", self.bridge, "type", "bridge"])
            run(["ip", "address", "add", f"{gateway}/17", "dev", self.bridge])
            run(["ip", "link", "set", self.bridge, "up"])

    def _spawn(self) -> subprocess.Popen[bytes]:
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        pools = list(self.network.subnets(prefixlen_diff=1))[1]
        argv = [
            "dockerd",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self._runtime / 'exec'}",
            f"--pidfile={self.pidfile}",
            f"--host={self.docker.host}",
            f"--bridge={self.bridge}",
            f"--default-address-pool=base={pools},size=24",
            # Where a containerd of the system runs, dockerd takes that one.
            f"--containerd-namespace={self.bridge}",
            f"--containerd-plugins-namespace={self.bridge}-plugins",
        ]
        with (self.folder / "dockerd.log").open("wb") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": PATH},
                preexec_fn=die_with_parent,
                start_new_session=True,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while True:
            try:
                self.docker("version")
                return
            except FleetError as error:
                if self._process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                log = (self.folder / "dockerd.log").read_text(errors="replace")
                raise FleetUnavailable(f"dockerd does not come up here: {log[-2000:]}") from error

    def _clear(self) -> None:
        self.docker.remove_containers()
        self.docker("volume", "prune", "--force")

    def stop(self) -> None:
        """End the engine, and all its containers with it."""
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget_networks()
        shutil.rmtree(self._runtime, ignore_errors=True)


def _remove_bridge(name: str) -> None:
    """Remove a bridge, and the rules for it, which dockerd leaves behind."""
    run(["ip", "link", "delete", name])
    for table in ("nat", "filter"):
        for rule in run(["iptables", "--wait", "-t", table, "-S"]).splitlines():
            words = rule.split()
            if name in words and words[0] == "-A":
                run(["iptables", "--wait", "-t", table, "-D", *words[1:]])


def _free_network() -> ipaddress.IPv4Network:
    """A /16 that no route and no name server of this machine needs: half for the bridge, half for networks."""
    routes = json.loads(run(["ip", "-4", "-json", "route", "show", "table", "all"]))
    taken = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if re.match(r"\d+\.", route["dst"]) and route.get("type") != "local"
    ]
    servers = re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    taken += [ipaddress.ip_network(server) for server in servers]
    for number in range(31, 15, -1):
        network = ipaddress.IPv4Network(f"172.{number}.0.0/16")
        if not any(network.overlaps(each) for each in taken):
            return network
    raise FleetUnavailable("no free addresses for containers: 172.16.0.0/12 is taken by routes of this machine")
