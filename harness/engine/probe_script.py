"""What a machine is and can do: run there by its own Python, standard library only, and prints JSON. Changes nothing.

Written for Pythons as old as 3.6, so that one which is too old for nodes can say so itself.

An ability is told as [yes, no or unknown (null), why]. Only root can ask the kernel whether it has nftables and the
queues of QUEUES; these are tried in a network namespace of their own that is gone with the command."""

import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
PATIENCE = 5
"""Seconds for a command that asks the kernel."""
MODULES = "/sys/module"
QUEUES = {"netem": "delay 1ms", "htb": "", "tbf": "rate 1mbit burst 10kb latency 50ms"}
"""What delays, shares out and limits what leaves, with words that tc takes."""


def find(program: str) -> "str | None":
    return shutil.which(program, path=SBIN)


def ask(*argv: str) -> "tuple[bool, str]":
    """Whether a command ends well, and what it complains of if not."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    except (OSError, subprocess.SubprocessError) as error:
        return False, str(error)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.returncode == 0, said[-1] if said else f"exit status {done.returncode}"


def nft() -> "tuple[bool | None, str]":
    program = find("nft")
    if program is None:
        return False, "there is no program nft"
    if os.geteuid() != 0:
        return None, "only root can ask the kernel"
    works, said = ask(program, "list", "tables")
    return works, "" if works else said


def tc() -> "tuple[bool | None, str]":
    return (True, "") if find("tc") else (False, "there is no program tc")


def queue(kind: str) -> "tuple[bool | None, str]":
    program, unshare = find("tc"), find("unshare")
    if program is None:
        return False, "there is no program tc"
    modinfo = find("modinfo")
    module = "sch_" + kind
    if Path(MODULES, module).is_dir() or (modinfo is not None and ask(modinfo, module)[0]):
        return True, ""
    if os.geteuid() != 0:
        return None, "only root can ask the kernel"
    if unshare is None:
        return None, "there is no program unshare, to try it apart"
    apart, said = ask(unshare, "--net", "true")
    if not apart:
        return None, said
    tried = [unshare, "--net", program, "qdisc", "add", "dev", "lo", "root", kind]
    works, said = ask(*tried, *QUEUES[kind].split())
    return works, "" if works else said


def operating_system() -> str:
    """As it calls itself (os-release(5)), else its kind and version."""
    for path in map(Path, ("/etc/os-release", "/usr/lib/os-release")):
        for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                return " ".join(shlex.split(value))
    mac = platform.mac_ver()[0]
    return "macOS " + mac if mac else platform.system()


def main() -> None:
    has_affinity = hasattr(os, "sched_getaffinity")
    found = {
        "hostname": socket.gethostname(),
        "os": operating_system(),
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "python_path": sys.executable,
        "cpus": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "user": os.geteuid(),
        "nft": nft(),
        "tc": tc(),
        **{kind: queue(kind) for kind in QUEUES},
        "systemd": (True, "") if Path("/run/systemd/system").is_dir() else (False, "it was not started with systemd"),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
