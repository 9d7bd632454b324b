"""systemd: which manager may be used, transient units, and how they end. Units are known by what was written down
before they were made; none is looked for by a pattern."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Mapping, NamedTuple, Sequence

from .frames import Header
from .ledger import Audit, run
from .users import User

_BOOTED = "/run/systemd/system"
_LINGER = "/var/lib/systemd/linger"
_ODD = re.compile(r"[^A-Za-z0-9_.-]")


class Manager(NamedTuple):
    """The machine's, or that of the user who we are."""

    user: bool

    def command(self, tool: str, *arguments: str) -> list[str]:
        return [tool, *(["--user"] if self.user else []), *arguments]

    def environment(self) -> Mapping[str, str]:
        """In which its tools find it."""
        found = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        return {**found, "XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"} if self.user else found


def manager(wanted: str) -> Manager | None:
    """What units can be made with: None means that children are to do. Raises ValueError when systemd is wanted and
    cannot be had.

    A user's own manager ends with the user's last login, unless the user lingers: then nothing would outlive a lost
    connection, and children do."""
    if wanted not in ("", "systemd", "child"):
        raise ValueError(f"{wanted} is no way to supervise: systemd, child")
    if wanted == "child":
        return None
    if not os.path.isdir(_BOOTED) or not shutil.which("systemd-run"):
        missing = "systemd does not run here"
    elif os.geteuid() == 0:
        return Manager(user=False)
    elif os.path.exists(f"/run/user/{os.geteuid()}/systemd/private") and os.path.exists(f"{_LINGER}/{User().name}"):
        return Manager(user=True)
    else:
        missing = "units of the system need root, and those of this user end with its logins, as it does not linger"
    if wanted:
        raise ValueError(missing)
    return None


def keeper_unit(run_name: str) -> str:
    return f"harness-{run_name}-keeper.service"


def service_unit(run_name: str, service: str, key: str) -> str:
    return f"harness-{run_name}-{_ODD.sub('_', service)[:60]}-{key[:12]}.service"


def start_command(manager: Manager, unit: str, properties: Sequence[str], argv: Sequence[str]) -> list[str]:
    """It is known to have started when this has ended well."""
    options = [word for value in ("Type=exec", *properties) for word in ("-p", value)]
    return manager.command("systemd-run", "--quiet", f"--unit={unit}", *options, "--", *argv)


class Units:
    """Those of a run, written down. `path` is a file of lines."""

    def __init__(self, path: str) -> None:
        self._path = path

    def note(self, unit: str) -> None:
        """Before it is made. Raises OSError."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{json.dumps(unit)}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self) -> Sequence[str]:
        try:
            with open(self._path) as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return ()

    def end(self, manager: Manager, audit: Audit) -> tuple[Sequence[str], Sequence[str]]:
        """Stop those that are there, and have them forgotten: which were ended, and which are left. Blocking."""
        there = self._there(manager, audit)
        if there:
            _tool(manager, audit, "stop", *there)
        if noted := self.read():
            _tool(manager, audit, "reset-failed", *noted)  # complains of those that are forgotten already
        left = self._there(manager, audit) if there else []
        return [f"ended {unit}" for unit in there if unit not in left], [f"{unit} is still there" for unit in left]

    def _there(self, manager: Manager, audit: Audit) -> list[str]:
        units = self.read()
        if not units:
            return []
        said = _tool(manager, audit, "show", "--property=ActiveState", "--value", *units)
        states = [line for line in said.split() if line]
        return [unit for unit, state in zip(units, states) if state not in ("inactive", "failed")]


def _tool(manager: Manager, audit: Audit, verb: str, *units: str) -> str:
    argv = manager.command("systemctl", verb, *units)
    return run(argv, User("", manager.environment()), audit, not manager.user)[1]


def manager_of(about: Header) -> Manager | None:
    """That of a run, from what its keeper wrote down."""
    return {"systemd": Manager(user=False), "systemd-user": Manager(user=True)}.get(about.get("mechanism", ""))
