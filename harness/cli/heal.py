"""`harness heal`: machines as they were, from what dead runs have written on them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from harness.cli.interrupts import Interrupted, run_interruptible
from harness.cli.main import tell
from harness.cli.options import OF_HOSTS, extra_option, forks_option, inventory_option, open_machines
from harness.engine.adhoc import sorted_out
from harness.errors import ExitCode, SpecError
from harness.plugin.contract.deployer import Access, HealReport
from harness.record.text import counted, one_line


@click.command(short_help="Undo on machines what dead runs have left there.")
@click.argument("pattern", default="all")
@inventory_option
@extra_option(OF_HOSTS)
@forks_option
def heal(pattern: str, inventory_path: Path | None, extra_texts: tuple[str, ...], forks: int | None) -> int:
    """Undo, on the hosts that match PATTERN, what dead runs have left there: faults, processes, files.

    It goes by what the runs have written on the machines themselves, so the folder of runs is not needed: see `harness
    clean` for that. A run that is still alive, or whose lease is not over yet, is left alone, and named. Exits with 5
    when something is left in spite of it, or a host could not be looked at.

    \b
    Examples:
      harness heal -i inventories/lab.toml
      harness heal -i inventories/lab.toml 'rack1:!node03'
    """
    target, hosts = open_machines(inventory_path, pattern, extra_texts, forks)
    sane, nonsense = sorted_out(hosts)
    if nonsense:
        tell(SpecError({problem for problems in nonsense.values() for problem in problems}))
    access = Access(target.forks, warn=_warn)
    try:
        healed: HealReport = run_interruptible(partial(target.deployer.heal, sane, access)) if sane else HealReport()
    except Interrupted:
        return ExitCode.INTERRUPTED
    for line in (*healed.done, *healed.alone):
        click.echo(one_line(line))
    if healed.done or (sane and not healed.alone):
        click.echo(f"{counted(len(healed.done), 'thing')} undone" if healed.done else "there was nothing to undo")
    if nonsense:
        click.echo(one_line(f"not looked at: {', '.join(nonsense)}"), err=True)
    return ExitCode.TEARDOWN if nonsense else ExitCode.PASS


def _warn(machine: str, message: str) -> None:
    click.echo(f"{one_line(machine)}: {one_line(message)}", err=True)
