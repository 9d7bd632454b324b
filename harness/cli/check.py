"""`harness check`: every error of every file at once."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.main import tell
from harness.cli.options import extra_option, inventory_option, open_project, open_registry, read_inventory
from harness.errors import ExitCode, HarnessError, SpecError


@click.command()
@click.argument("playbooks", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@inventory_option
@extra_option
def check(playbooks: tuple[Path, ...], inventory_path: Path | None, extra_texts: tuple[str, ...]) -> int:
    """Check playbooks, and the inventory given with -i, without running anything.

    Prints every error of every file, one a line, as file:line:column: path: what is wrong; what to write.
    Exits with 4 when there is any."""
    from harness.engine.plan import resolve_file
    from harness.engine.target import choose_target
    from harness.spec.playbook import load_playbook
    from harness.spec.variables import parse_extras

    extra = parse_extras(extra_texts)
    wrong = 0
    for path in playbooks:
        try:
            project = open_project(path)
            registry = open_registry(project)
            inventory = read_inventory(inventory_path, project)
            target = choose_target(registry, inventory, extra=extra)
            plans = resolve_file(load_playbook(path), registry, extra=extra, elsewhere=inventory.variable_names())
            for plan in plans:
                target.place(plan)
        except SpecError as error:
            wrong += len(error.problems)
            for problem in error.problems:
                click.echo(str(problem), err=True)
        except HarnessError as error:
            wrong += 1
            tell(f"{path}: {error}")
        else:
            click.echo(f"{path}: ok" + (f" ({len(plans)} runs)" if len(plans) > 1 else ""))
    if wrong:
        click.echo(f"{wrong} {'problem' if wrong == 1 else 'problems'}", err=True)
    return ExitCode.USAGE if wrong else ExitCode.PASS
