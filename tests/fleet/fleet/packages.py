"""Programs that the fleet needs, installed where that is allowed."""

from __future__ import annotations

import fcntl
import os

from fleet.command import run, which
from fleet.errors import FleetUnavailable
from fleet.places import cache

CLIENT = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
ENGINE = {"dockerd": "docker.io", "docker": "docker.io", "debootstrap": "debootstrap"}
ENGINE |= {"ip": "iproute2", "iptables": "iptables"}
LIGHT = {"sshd": "openssh-server", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


def ensure(programs: dict[str, str]) -> None:
    """Have these programs, given with the Debian packages that bring them.

    Raises FleetUnavailable, naming what is missing, where packages cannot be installed."""
    if not _missing(programs):
        return
    # Others may be at it: apt waits for its lock on packages, but not for that on lists.
    with (cache() / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = _missing(programs)
        if not missing:
            return
        if os.geteuid() != 0 or which("apt-get") is None:
            needs = ", ".join(f"{program} (Debian: {package})" for program, package in missing.items())
            raise FleetUnavailable(f"missing: {needs}; only root on Debian or Ubuntu has them installed by the tests")
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run([*apt, "update"], env=quiet)
        run([*apt, "install", "--yes", "--no-install-recommends", *sorted(set(missing.values()))], env=quiet)


def _missing(programs: dict[str, str]) -> dict[str, str]:
    return {program: package for program, package in programs.items() if which(program) is None}
