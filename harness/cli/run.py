"""`harness run`: from files to plans, one run after the other, and an exit code."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import click

from harness.cli.options import (
    OF_PLAYBOOK,
    extra_option,
    forks_option,
    inventory_option,
    open_project,
    open_registry,
    read_inventory,
)
from harness.errors import SpecError, UsageError


@click.command(short_help="Run a playbook.")
@click.argument("playbook", type=click.Path(path_type=Path))
@inventory_option
@extra_option(OF_PLAYBOOK)
@click.option("--limit", default="", metavar="PATTERN", help="Use only hosts that match, e.g. 'rack1:!node03'.")
@click.option("--seed", type=click.IntRange(min=0), help="Use this seed: the same one gives the same schedule again.")
@click.option("--faults-from", "faults_from", default="", metavar="RUN",
              help="Play that run's faults again: the same ones, on the same nodes, at the same moments.")  # fmt: skip
@click.option("--deployer", default="", metavar="NAME", help="Deployer to use, whatever the inventory says.")
@forks_option
@click.option("--check", "check_only", is_flag=True, help="Stop after plan: print it and touch nothing.")
@click.option("--output", type=click.Choice(["screen", "plain", "json"]), default=None,
              help="screen: watch it (default on a terminal). plain: progress on stderr, summary on stdout. "
                   "json: every event as a line on stdout.")  # fmt: skip
@click.option("--announce", type=int, hidden=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress lines; the summary only.")
@click.option("--keep", is_flag=True, help="Keep the nodes' folders also after a run that passed.")
@click.option("--runs", "runs_dir", type=click.Path(path_type=Path), help="Folder for run directories.")
def run(
    playbook: Path,
    inventory_path: Path | None,
    extra_texts: tuple[str, ...],
    limit: str,
    seed: int | None,
    faults_from: str,
    deployer: str,
    forks: int | None,
    check_only: bool,
    output: str | None,
    announce: int | None,
    quiet: bool,
    keep: bool,
    runs_dir: Path | None,
) -> int:
    """Run PLAYBOOK: stand up its network, put its load and faults on it, judge it, and leave nothing behind.

    A playbook with a [matrix] makes one run for each combination, one after the other. Everything observed is
    in the run's own folder, readable at any moment, whatever happens to this process.

    \b
    Examples:
      harness run playbooks/quickstart.toml
      harness run playbooks/sustained_load.toml -e duration=60s --seed 7
      harness run playbooks/aggressive_chaos.toml -i inventories/local.toml --check
      harness run playbooks/aggressive_chaos.toml --faults-from latest
    """
    from harness.engine.checking import against
    from harness.engine.plan import outline_file
    from harness.engine.target import choose_target
    from harness.spec.playbook import load_playbook
    from harness.spec.variables import parse_extras

    project = open_project(playbook)
    registry = open_registry(project)
    extra = parse_extras(extra_texts)
    inventory = read_inventory(inventory_path, project)
    outlines = outline_file(
        load_playbook(playbook), registry, extra=extra, elsewhere=inventory.variable_names(), seed=seed
    )
    at_once = forks or project.forks
    choose = partial(choose_target, registry, inventory, deployer=deployer, limit=limit, extra=extra, forks=at_once)
    if problems := {problem for outline in outlines for problem in outline.problems}:
        if not faults_from:  # else not all faults are those of the playbook
            problems |= anyio.run(partial(against, outlines, choose, machines=False)).problems
        raise SpecError(problems)
    plans = tuple(outline.sound() for outline in outlines)
    if faults_from:
        from harness.engine.replay import replayed
        from harness.record.journal import read_journal
        from harness.record.rundir import find_run

        earlier = find_run(runs_dir or project.runs, faults_from)
        recorded = list(read_journal(earlier.journal))
        plans = tuple(replayed(plan, registry, earlier.run_id, recorded) for plan in plans)
    target = choose()
    if check_only:
        from harness.cli.plan_view import show_plans

        return show_plans(plans, target)
    command = _words(playbook, inventory_path, extra_texts, limit, deployer, faults_from)
    if announce is None and _is_shown(output, project.output, quiet):
        from harness.cli.attached import run_attached

        return run_attached(_arguments(command, seed, keep, runs_dir, forks))
    from harness.cli.running import RunOptions, run_all

    options = RunOptions(runs_dir or project.runs, output or project.output, quiet, keep, command, announce)
    return run_all(plans, target, registry, options)


def _is_shown(output: str | None, of_project: str, quiet: bool) -> bool:
    """On the screen: where that was asked for, or nothing else was and somebody looks on."""
    from harness.cli.attached import has_screen

    if output == "screen" and not has_screen():
        raise UsageError("--output screen needs a terminal: use plain or json")
    return output == "screen" or (output is None and of_project == "plain" and not quiet and has_screen())


def _arguments(
    command: tuple[str, ...], seed: int | None, keep: bool, runs: Path | None, forks: int | None
) -> list[str]:
    """Of the same command for a process of its own, which nobody looks at."""
    arguments = [*command[2:], "--output", "plain"]
    arguments += ["--seed", str(seed)] if seed is not None else []
    arguments += ["--runs", str(runs)] if runs is not None else []
    arguments += ["--forks", str(forks)] if forks is not None else []
    return [*arguments, "--keep"] if keep else arguments


def _words(
    playbook: Path, inventory: Path | None, extra: tuple[str, ...], limit: str, deployer: str, faults_from: str
) -> tuple[str, ...]:
    """The command that makes the same plan again; the seed is added where it is shown."""
    words = ["harness", "run", str(playbook)]
    words += ["-i", str(inventory)] if inventory is not None else []
    words += [word for text in extra for word in ("-e", text)]
    words += ["--limit", limit] if limit else []
    words += ["--faults-from", faults_from] if faults_from else []
    words += ["--deployer", deployer] if deployer else []
    return tuple(words)
