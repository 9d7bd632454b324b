"""A kernel that has what this machine's may lack: User-Mode Linux, a kernel that runs as a process, with this machine's
files to read and one folder to write to."""

from __future__ import annotations

import platform
import shlex
import subprocess
from pathlib import Path

from fleet.command import which
from fleet.errors import FleetError, FleetUnavailable
from fleet.packages import ensure

PROGRAMS = {"linux.uml": "user-mode-linux", "modprobe": "kmod", "ip": "iproute2"}
MODULES = Path("/usr/lib/uml/modules")
WITHIN = 120.0
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run
mkdir /run/out; mount -t hostfs -o {folder} none /run/out
exec > /run/out/log 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /run/lib/modules; ln -s {all}/$(uname -r) /run/lib/modules/
for module in {modules}; do modprobe --dirname=/run "$module" || echo "no module $module"; done
ip link set lo up
cd /run/out && {argv}
echo $? > /run/out/status
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def run_in_other_kernel(folder: Path, argv: list[str], *modules: str) -> str:
    """Run a command as root there, in this folder, which it sees as /run/out; what it says. Raises FleetUnavailable,
    FleetError."""
    if platform.machine() != "x86_64":
        raise FleetUnavailable("User-Mode Linux is for x86-64")
    ensure(PROGRAMS)
    init = folder / "init"
    init.write_text(INIT.format(folder=folder, modules=" ".join(modules), all=MODULES, argv=shlex.join(argv)))
    init.chmod(0o755)
    kernel = which("linux.uml")
    assert kernel is not None, "it was ensured"
    root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"]
    said = subprocess.run(
        [str(kernel), "mem=256M", *root, "con=null", "con0=null,fd:1", f"uml_dir={folder}/uml"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WITHIN,
    )
    log, status = folder / "log", folder / "status"
    told = log.read_text(errors="replace") if log.exists() else said.stdout.decode(errors="replace")[-2000:]
    if not status.exists() or status.read_text().strip() != "0":
        raise FleetError(f"in the other kernel: {told}")
    return told
