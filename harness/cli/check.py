"""`harness check`: every error of every file at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from harness.cli.options import OF_PLAYBOOK, extra_option, inventory_option, open_project, open_registry, read_inventory
from harness.errors import ExitCode, HarnessError
from harness.record.text import block, hanging

if TYPE_CHECKING:
    from harness.engine.checking import Findings
    from harness.engine.plan import Outline


@click.command()
@click.argument("playbooks", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@inventory_option
@extra_option(OF_PLAYBOOK)
def check(playbooks: tuple[Path, ...], inventory_path: Path | None, extra_texts: tuple[str, ...]) -> int:
    """Check playbooks, and the inventory given with -i, without running anything.

    Prints every error of every file, one a line, as file:line:column: path: what is wrong; what to write: those of
    keys and options, of steps, of the fault budget, of wallets that two would send from. Hosts of an inventory are
    asked only once the files are right. Exits with 4 when there is any error."""
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
    from harness.engine.checking import Findings, against
    from harness.engine.plan import outline_file
    from harness.engine.target import choose_target
    from harness.spec.inventory import Inventory
    from harness.spec.playbook import load_playbook

    found = Findings()
    outlines: Sequence[Outline] = ()
    inventory: Inventory | None = None
    try:
        project = open_project(path)
    except HarnessError as error:
        found.add(error)
        return _told(found), 0
    registry = open_registry(project)
    try:
        inventory = read_inventory(inventory_path, project)
    except HarnessError as error:
        found.add(error)
    try:
        elsewhere = (inventory or Inventory.implicit()).variable_names()
        outlines = outline_file(load_playbook(path), registry, extra=extra, elsewhere=elsewhere)
    except HarnessError as error:
        found.add(error)
    if inventory is None:
        found.problems.update(problem for outline in outlines for problem in outline.problems)
    else:
        more = anyio.run(against, outlines, partial(choose_target, registry, inventory, extra=extra))
        found = Findings(found.problems | more.problems, found.errors | more.errors)
    return _told(found), len(outlines)


def _told(found: Findings) -> list[str]:
    """By file and line; last all that is known of errors that have no place."""
    return [*map(str, sorted(found.problems)), *map(hanging, found.errors)]
