"""Many hosts in no time: network, mount and process namespaces of this machine with an sshd in each.

Each host has its own address, processes and host name, and its own view of this machine's files: what it writes is its
own, and gone with it. They and the controller are on one bridge, in namespaces that have no route out. Every process
here dies with the one that made the fleet, and namespaces with their processes, so that nothing is left."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from fleet import packages
from fleet.command import PATH, run, which
from fleet.errors import FleetError, FleetUnavailable
from fleet.host import Host, Keys

START = 60.0
"""Seconds until all must answer."""
PR_SET_PDEATHSIG = 1
CONTROLLER = "10.77.0.1"

SETUP = """
read -r go
hostname "$NAME"
mount --make-rprivate /
mount -t tmpfs fleet "$FOLDER"
mkdir "$FOLDER/upper" "$FOLDER/work" "$FOLDER/root"
mount -t overlay -o "lowerdir=/,upperdir=$FOLDER/upper,workdir=$FOLDER/work" fleet "$FOLDER/root"
cd "$FOLDER/root"
mount -t tmpfs -o mode=755 fleet run
mount -t tmpfs -o mode=1777 fleet tmp
rm -rf root/.ssh root/.bash* root/.profile  # what this machine's owner has in there is not a new host's
mkdir -m 755 run/sshd
mkdir -m 1777 run/lock
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
printf '%s\\n' "$HOST_KEY" > etc/ssh/fleet_host_key
printf '%s\\n' "$AUTHORIZED" > etc/ssh/fleet_authorized
printf '%s\\n' "$CONFIG" > etc/ssh/fleet_config
chmod 600 etc/ssh/fleet_*
printf '127.0.0.1 localhost\\n%s %s\\n' "$ADDRESS" "$NAME" > etc/hosts
: > etc/resolv.conf
ip link set lo up
ip address add "$ADDRESS/16" dev eth0
ip link set eth0 up
unset HOST_KEY AUTHORIZED CONFIG
exec chroot . "$SSHD" -D -e -f /etc/ssh/fleet_config
"""

# One key exchange for all clients: the one that OpenSSH would take, sntrup761, costs it 60 ms of CPU a connection, and
# other clients nothing, as they lack it. Fifty at once on few cores then measure that, not what they do.
CONFIG = """
ListenAddress {address}:22
HostKey /etc/ssh/fleet_host_key
AuthorizedKeysFile /etc/ssh/fleet_authorized
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 1000
MaxSessions 1000
PidFile none
PrintMotd no
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org
Subsystem sftp internal-sftp
"""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class LightFleet:
    """`count` light hosts, while it is entered. `folder` takes keys and logs.

    Raises FleetUnavailable where nobody may make namespaces, FleetError when a host does not come up."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self.hosts: list[Host] = []

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The argv that runs a command in the controller's namespace: it reaches the hosts and nothing else."""
        return ["nsenter", f"--net=/proc/{self._controller}/ns/net", "--", *argv]

    def slowed(self, rtt: float) -> list[Host]:
        """The same hosts behind links with a round-trip time, in seconds: this kernel may have no netem."""
        slow, links = [], []
        for number, host in enumerate(self.hosts):
            listen = f"127.1.{1 + number // 250}.{1 + number % 250}"
            links.append(f"{listen}:22={host.address}:22")
            self._keys.publish(listen, self._host_key)
            slow.append(dataclasses.replace(host, ssh_host=listen))
        env = {"NAME": "relay", "PYTHONPATH": str(Path(__file__).parents[1])}
        self._told(self._spawn(self.inside([sys.executable, "-m", "fleet.relay", str(rtt), *links]), env))
        return slow

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise FleetUnavailable("light hosts are namespaces, which only root makes")
        packages.ensure(packages.CLIENT | packages.LIGHT)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        self._keys = keys = Keys(self._folder)
        # One host key for all: to make fifty takes longer than to start fifty hosts.
        self._host_key = host_key = keys.host("light")
        controller = self._spawn(["unshare", "--net", "--", "sh", "-c", "echo up; exec sleep infinity"], {})
        self._controller = controller.pid
        self._told(controller)
        names = [(f"light{number}", f"10.77.{1 + number // 250}.{1 + number % 250}") for number in range(self._count)]
        unshared = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL"]
        started = []
        for name, address in names:
            own = self._folder / name
            own.mkdir()
            env = {
                "NAME": name,
                "ADDRESS": address,
                "FOLDER": str(own),
                "HOST_KEY": host_key.read_text(),
                "AUTHORIZED": keys.client.with_name(keys.client.name + ".pub").read_text(),
                "CONFIG": CONFIG.format(address=address),
                "SSHD": which("sshd") or "sshd",
            }
            started.append(self._spawn([*unshared, "--", "sh", "-ceu", f"echo up\n{SETUP}"], env))
        for process in started:
            self._told(process)
        self._wire([process.pid for process in started])
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        self._wait([name for name, _ in names])
        for name, address in names:
            keys.publish(address, host_key)
            self.hosts.append(Host(name, address, 22, "root", keys.client, keys.known_hosts, address))

    def _spawn(self, argv: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{env.get('NAME', 'controller')}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PATH": PATH, **env},
                preexec_fn=_die_with_parent,
            )
        self._processes.append(process)
        return process

    def _told(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it says that it is up."""
        assert process.stdout is not None
        if process.stdout.readline() != b"up\n":
            raise FleetError(f"light hosts do not come up: {self._logs()}")

    def _wire(self, pids: Iterable[int]) -> None:
        """Join all namespaces by one bridge in the controller's."""
        lines = ["link set lo up", "link add bridge type bridge", f"address add {CONTROLLER}/16 dev bridge"]
        lines.append("link set bridge up")
        for number, pid in enumerate(pids):
            lines.append(f"link add port{number} type veth peer name eth0 netns {pid}")
            lines.append(f"link set port{number} master bridge up")
        run(self.inside(["ip", "-batch", "-"]), input="\n".join(lines).encode())

    def _wait(self, names: Iterable[str]) -> None:
        deadline = time.monotonic() + START
        waiting = set(names)
        while waiting:
            waiting -= {name for name in waiting if b"Server listening on" in self._log(name)}
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > deadline:
                raise FleetError(f"light hosts do not come up: {self._logs()}")
            time.sleep(0.02)

    def _log(self, name: str) -> bytes:
        return (self._folder / f"{name}.log").read_bytes()

    def _logs(self) -> str:
        texts = [path.read_text(errors="replace")[-500:] for path in self._folder.glob("*.log")]
        return "\n".join(text for text in texts if text)[-2000:]

    def _stop(self) -> None:
        for process in self._processes:
            _end(process)
        for process in self._processes:
            with process:
                pass  # waits, and closes its pipes


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the first process of its namespace, if it has made one: `unshare` ends when all in there have ended."""
    if process.poll() is not None:
        return
    first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in first or [str(process.pid)]:
        os.kill(int(pid), signal.SIGKILL)
