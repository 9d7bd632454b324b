"""`harness check`: every error of every file at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from harness.cli.options import OF_PLAYBOOK, extra_option, inventory_option, open_project, open_registry, read_inventory
from harness.errors import ExitCode, HarnessError, SpecError
from harness.record.text import block, hanging

if TYPE_CHECKING:
    from harness.engine.plan import Plan
    from harness.engine.target import Target


@click.command()
@click.argument("playbooks", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@inventory_option
@extra_option(OF_PLAYBOOK)
def check(playbooks: tuple[Path, ...], inventory_path: Path | None, extra_texts: tuple[str, ...]) -> int:
    """Check playbooks, and the inventory given with -i, without running anything.

    Prints every error of every file, one a line, as file:line:column: path: what is wrong; what to write.
    Exits with 4 when there is any."""
    from harness.spec.variables import parse_extras

    extra = parse_extras(extra_texts)
    problems: dict[str, None] = {}  # in order, each once: many playbooks may share one inventory
    for path in playbooks:
        found, runs = _check_one(path, inventory_path, extra)
        problems |= dict.fromkeys(found)
        if not found:
            click.echo(block(f"{path}: ok" + (f" ({runs} runs)" if runs > 1 else "")))
    for problem in problems:
        click.echo(block(problem), err=True)
    if problems:
        click.echo(f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}", err=True)
    return ExitCode.USAGE if problems else ExitCode.PASS


def _check_one(path: Path, inventory_path: Path | None, extra: dict[str, object]) -> tuple[list[str], int]:
    """All that is wrong with a playbook and the inventory that it would run on, and how many runs it makes."""
    from harness.engine.plan import resolve_file
    from harness.engine.target import choose_target
    from harness.spec.inventory import Inventory
    from harness.spec.playbook import load_playbook

    problems: list[str] = []
    plans: tuple[Plan, ...] = ()
    inventory = Inventory.implicit()
    try:
        project = open_project(path)
    except HarnessError as error:
        return _problems(error), 0
    registry = open_registry(project)
    try:
        inventory = read_inventory(inventory_path, project)
    except HarnessError as error:
        problems += _problems(error)
    try:
        plans = resolve_file(load_playbook(path), registry, extra=extra, elsewhere=inventory.variable_names())
    except HarnessError as error:
        problems += _problems(error)
    if not problems:
        try:
            target = choose_target(registry, inventory, extra=extra)
            anyio.run(_check_target, target, plans)
        except HarnessError as error:
            problems += _problems(error)
    return problems, len(plans)


def _problems(error: HarnessError) -> list[str]:
    """Each problem; all that is known of an error that has none."""
    return [str(problem) for problem in error.problems] if isinstance(error, SpecError) else [hanging(str(error))]


async def _check_target(target: Target, plans: Sequence[Plan]) -> None:
    for plan in plans:
        await target.check(plan)
