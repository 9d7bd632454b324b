"""`harness prepare`: the tasks of a playbook's `[[prepare]]`, and nothing else of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from harness.cli.interrupts import Interrupted
from harness.cli.options import (
    OF_PLAYBOOK,
    extra_option,
    forks_option,
    inventory_option,
    open_project,
    open_registry,
    read_inventory,
)
from harness.errors import ExitCode, Unsupported, UsageError

if TYPE_CHECKING:
    from harness.engine.plan import Plan
    from harness.engine.prepare import Step
    from harness.engine.target import Target


@click.command(short_help="Ready machines for a playbook.")
@click.argument("playbook", type=click.Path(path_type=Path))
@inventory_option
@extra_option(OF_PLAYBOOK)
@click.option("--limit", default="", metavar="PATTERN", help="Only hosts that match, e.g. 'rack1:!node03'.")
@click.option("--deployer", default="", metavar="NAME", help="Deployer to use, whatever the inventory says.")
@forks_option
@click.option("--check", "check_only", is_flag=True, help="Show what would change, with diffs, and touch nothing.")
def prepare(
    playbook: Path,
    inventory_path: Path | None,
    extra_texts: tuple[str, ...],
    limit: str,
    deployer: str,
    forks: int | None,
    check_only: bool,
) -> int:
    """Do the [[prepare]] tasks of PLAYBOOK on the hosts that its nodes go to, and nothing else.

    `harness run` does them too, before it starts nodes. Here they are done by themselves: on new machines, which lack
    what the plan of a run asks for, or to see with --check what they would change. Each task is done on all hosts
    before the next; a host on which one fails is left out of the rest. Done again, they change nothing.

    Machines that a run would have for itself are locked meanwhile, as for a run: where somebody has one, nothing is
    done at all, and you are told who and since when. --check locks nothing.

    Exits with 0 when all tasks ended well, with 3 when one failed on a host or a host was not reached.

    \b
    Examples:
      harness prepare playbooks/chaos.toml -i inventories/lab.toml --check
      harness prepare playbooks/chaos.toml -i inventories/lab.toml --limit 'node03,node04'
    """
    from harness.cli.preparing import do_tasks
    from harness.engine.plan import resolve_file
    from harness.engine.target import choose_target
    from harness.record.render import console_for, render_table
    from harness.spec.playbook import load_playbook
    from harness.spec.variables import parse_extras

    project = open_project(playbook)
    registry = open_registry(project)
    extra = parse_extras(extra_texts)
    inventory = read_inventory(inventory_path, project)
    plans = resolve_file(load_playbook(playbook), registry, extra=extra, elsewhere=inventory.variable_names())
    at_once = forks or project.forks
    target = choose_target(registry, inventory, deployer=deployer, limit=limit, extra=extra, forks=at_once)
    code = ExitCode.PASS
    for steps in _different(plans, target):
        try:
            report = do_tasks(target, steps, check=check_only)
        except Interrupted:
            return ExitCode.INTERRUPTED
        except Unsupported as error:
            raise UsageError(str(error)) from None
        click.echo()
        render_table(report.recap(), console_for(sys.stdout))
        code = ExitCode.INFRASTRUCTURE if report.failed else code
    return code


def _different(plans: Sequence[Plan], target: Target) -> Iterator[Sequence[Step]]:
    """The tasks of every plan of a matrix, but those that another one has in the same way."""
    seen: list[object] = []
    for plan in plans:
        hosts = (*target.place(plan, partly=True), *target.senders(plan))
        steps = anyio.run(target.steps, plan, hosts)
        if not plan.prepare:
            click.echo(f"{plan.playbook.source} has no [[prepare]]: there is nothing to do")
            return
        key = [(step.task, step.hosts.keys()) for step in steps]
        if key not in seen:
            seen.append(key)
            yield steps
