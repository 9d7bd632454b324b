"""Options and set-up that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import UsageError
from harness.spec.project import MOST_FORKS, Project, find_project

if TYPE_CHECKING:  # what takes a while to load is loaded by those commands that need it
    from harness.engine.target import Target
    from harness.plugin.contract.deployer import HostSpec
    from harness.plugin.registry import Registry
    from harness.spec.inventory import Inventory

F = TypeVar("F", bound=Callable[..., Any])


def inventory_option(command: F) -> F:
    return click.option(
        "-i",
        "--inventory",
        "inventory_path",
        type=click.Path(path_type=Path),
        help="Inventory: TOML, an executable, whatever Ansible reads. Default: the project's, else this machine alone.",
    )(command)


def extra_option(sets: str) -> Callable[[F], F]:
    """`-e KEY=VALUE`; `sets` says what a command can set by it: OF_PLAYBOOK, OF_HOSTS."""
    return click.option(
        "-e",
        "--extra",
        "extra_texts",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Set {sets}. @FILE.toml reads many.",
    )


OF_PLAYBOOK = "a variable, or duration, seed, settle or ready_timeout; wins over everything"
OF_HOSTS = "a variable of all hosts; wins over what the inventory says"


def forks_option(command: F) -> F:
    return click.option(
        "--forks",
        type=click.IntRange(1, MOST_FORKS),
        help="Machines to deal with at once, at most. Default: the project's, else 20.",
    )(command)


def here() -> Path:
    """The current folder. Raises UsageError when it has been removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder has been removed; change to one that exists") from None


def open_project(near: Path | None = None) -> Project:
    """The project that a playbook (or the current folder) belongs to."""
    folder = here()
    return find_project(*([near.parent] if near is not None else []), folder)


def runs_folder(runs_dir: Path | None) -> Path:
    """The folder of run directories: the one that was asked for, else the project's."""
    here()
    return runs_dir or open_project().runs


def open_registry(project: Project) -> Registry:
    from harness.plugin.registry import Registry

    return Registry(project_plugins=project.plugins)


def read_inventory(path: Path | None, project: Project) -> Inventory:
    """The inventory that was asked for, else the project's, else this machine."""
    from harness.plugin.inventories import open_inventory
    from harness.spec.inventory import Inventory

    chosen = path or project.inventory
    if chosen is None:
        return Inventory.implicit()
    return open_inventory(str(chosen), lambda: open_registry(project))


def open_machines(
    inventory_path: Path | None, pattern: str, extra_texts: tuple[str, ...], forks: int | None
) -> tuple[Target, Sequence[HostSpec]]:
    """The deployer of an inventory, and those of its hosts that match and are machines: of others it is said that they
    are none. Raises UsageError when there is no such host."""
    from harness.engine.placement import host_spec
    from harness.engine.target import choose_target
    from harness.record.text import one_line
    from harness.spec.manage import is_machine
    from harness.spec.variables import parse_extras

    project = open_project()
    found = read_inventory(inventory_path, project)
    extra = parse_extras(extra_texts)
    hosts = [host_spec(found, name, extra) for name in found.select(pattern)]
    if not hosts:
        raise UsageError(f'{found.source}: no host matches "{pattern}"')
    unknown = [host.name for host in hosts if not is_machine(host.vars)]
    if len(unknown) == len(hosts):
        raise UsageError(
            f"{found.source}: {', '.join(unknown)}: adopted by endpoints alone: there is no way to machines"
        )
    for name in unknown:
        click.echo(
            one_line(f"{name}: left out: adopted by its endpoints alone, there is no way to its machine"), err=True
        )
    hosts = [host for host in hosts if host.name not in unknown]
    at_once = forks or project.forks
    return choose_target(open_registry(project), found, limit=pattern, extra=extra, forks=at_once), hosts
