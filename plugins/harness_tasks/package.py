"""The task `package`: packages of the system, by whichever manager the machine has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness.api import Config, Duration, InfrastructureError, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import PackageNames
from harness_tasks.remote import must, words

_LOOK = """\
if command -v apt-get >/dev/null; then manager=apt
elif command -v dnf >/dev/null; then manager=dnf
elif command -v apk >/dev/null; then manager=apk
else echo none; exit 0; fi
echo "$manager"
for name; do
  case $manager in
    apt) [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ;;
    dnf) rpm -q --whatprovides "$name" >/dev/null 2>&1 ;;
    apk) apk info -e "$name" >/dev/null 2>&1 ;;
  esac && echo 1 || echo 0
done
"""
"""Prints the manager, then for each package whether it is installed."""


@dataclass(frozen=True, slots=True)
class Manager:
    """The commands of a package manager, to which names are added."""

    install: tuple[str, ...]
    remove: tuple[str, ...]
    refresh: tuple[str, ...]
    env: Mapping[str, str]


_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=60", "-o", "Dpkg::Options::=--force-confold",
        "-o", "APT::Cmd::Pattern-Only=true")  # fmt: skip
"""apt-get takes a name that it does not know for a pattern, unless it is told not to."""
MANAGERS = {
    "apt": Manager(
        (*_APT, "install"),
        (*_APT, "remove"),
        (*_APT, "update"),
        {"DEBIAN_FRONTEND": "noninteractive"},
    ),
    "dnf": Manager(("dnf", "-y", "install"), ("dnf", "-y", "remove"), ("dnf", "-y", "makecache"), {}),
    "apk": Manager(("apk", "add"), ("apk", "del"), ("apk", "update"), {}),
}


class PackageConfig(Config):
    """Options of `package`."""

    names: PackageNames = Field(description="as the machine's manager knows them")
    state: Literal["present", "absent"] = Field("present", description="whether they are to be there")
    refresh: bool = Field(False, description="fetch the lists of what there is before something is installed")
    timeout: Duration = Field(600.0, gt=0, description="how long the manager may take")


class Package(Task[PackageConfig]):
    """Installs or removes packages, with apt, dnf or apk: what the machine has, in this order.

    The manager is run only where something is to be done. apt waits a minute for whoever else is at it."""

    name = "package"
    Config = PackageConfig

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        manager, names = await self._look(machine, ctx)
        if not names:
            return TaskResult(changed=False)
        present = self.config.state == "present"
        if present and self.config.refresh:
            await self._manage(machine, ctx, manager, manager.refresh)
        await self._manage(machine, ctx, manager, (*(manager.install if present else manager.remove), *names))
        return TaskResult(changed=True, detail=f"{'installed' if present else 'removed'} {', '.join(names)}")

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        _, names = await self._look(machine, ctx)
        verb = "install" if self.config.state == "present" else "remove"
        return TaskResult(bool(names), f"{verb} {', '.join(names)}" if names else "")

    async def _look(self, machine: Machine, ctx: TaskContext) -> tuple[Manager, list[str]]:
        """The machine's manager, and the packages that are not as they are to be."""
        argv = ("sh", "-s", "--", *self.config.names)
        done = await must(machine, argv, input=_LOOK.encode(), become=False, timeout=self.config.timeout)
        manager, *there = done.stdout.decode(errors="replace").split()
        if manager not in MANAGERS:
            raise InfrastructureError(f"it has none of {', '.join(MANAGERS)}")
        wanted = "0" if self.config.state == "present" else "1"
        return MANAGERS[manager], [
            n for n, is_there in zip(self.config.names, there, strict=True) if is_there == wanted
        ]

    async def _manage(self, machine: Machine, ctx: TaskContext, manager: Manager, argv: tuple[str, ...]) -> None:
        done = await machine.run(argv, env=manager.env, timeout=self.config.timeout, become=ctx.become)
        if done.returncode != 0:
            raise InfrastructureError(f"{argv[0]}: {words(done)}")
