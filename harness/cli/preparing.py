"""Doing the tasks of `[[prepare]]` without a run, and showing what each comes to on each host."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from harness.cli.interrupts import run_interruptible
from harness.clock import SystemClock
from harness.engine.placement import host_spec
from harness.engine.prepare import Step, TaskOutcome, prepare
from harness.engine.target import Target
from harness.plugin.contract.deployer import Access, HostSpec
from harness.record.rundir import run_id
from harness.record.tables import Mood, Row, Table
from harness.record.text import block, one_line
from harness.redact import redact

_WORDS = {False: "ok", True: "changed"}
_WORDS_OF_CHECK = {False: "ok", True: "would change"}


class TaskReport:
    """Prints what a task came to on a host, as it ends: hosts beneath their task, diffs beneath their host. Nothing of
    it is trusted, and no secret in it is shown."""

    def __init__(self, steps: Sequence[Step], *, check: bool) -> None:
        self.outcomes: list[TaskOutcome] = []
        self._steps = steps
        self._words = _WORDS_OF_CHECK if check else _WORDS
        self._shown: Step | None = None
        self._width = max((len(host) for step in steps for host in step.hosts), default=0)

    def __call__(self, outcome: TaskOutcome) -> None:
        self.outcomes.append(outcome)
        if self._shown is not outcome.step:
            self._shown = outcome.step
            self._print(heading(outcome.step))
        result = outcome.result
        state = "FAILED" if result is None else self._words[result.changed]
        detail = outcome.error if result is None else result.detail
        self._print(f"  {one_line(outcome.host):<{self._width}}  {state:<{len(self._words[True])}}  {one_line(detail)}")
        for line in result.diff.splitlines() if result is not None else ():
            self._print(f"    {line}")

    @property
    def failed(self) -> bool:
        return any(outcome.result is None for outcome in self.outcomes)

    def recap(self) -> Table:
        """A row for each host: on how many tasks it was ok, how many of these changed something, how many failed."""
        rows = []
        for host in dict.fromkeys(host for step in self._steps for host in step.hosts):
            results = [outcome.result for outcome in self.outcomes if outcome.host == host]
            done = [result for result in results if result is not None]
            changed, failed = sum(result.changed for result in done), len(results) - len(done)
            mood = Mood.BAD if failed else Mood.DOUBTFUL if changed else Mood.GOOD
            rows.append(Row((host, str(len(done)), str(changed), str(failed)), mood))
        columns = ("host", "ok", self._words[True], "failed")
        return Table("recap", columns, tuple(rows), numeric=frozenset(columns[1:]))

    def _print(self, line: str) -> None:
        click.echo(block(redact(line)).rstrip())


def heading(step: Step) -> str:
    """`install tools  (package, playbook.toml:12:1)`."""
    use = step.task.use
    return f"{one_line(use.label)}  ({use.use.use}, {use.use.where})"


def do_tasks(target: Target, steps: Sequence[Step], *, check: bool) -> TaskReport:
    """Have the hosts to ourselves and do all tasks there, or with `check` touch nothing; print what comes of it.

    Raises Interrupted, DeployError for a host that a run has, TeardownError, and Unsupported where the deployer has no
    machines without a run."""
    report = TaskReport(steps, check=check)
    run_interruptible(partial(_do, target, steps, report, check))
    return report


async def _do(target: Target, steps: Sequence[Step], report: TaskReport, check: bool) -> None:
    access, hosts, clock = Access(target.forks, warn=_warn), _hosts(target, steps), SystemClock()
    if check:
        held = target.deployer.connect(hosts, access)
    else:
        held = target.deployer.hold(hosts, access, who=run_id("prepare", clock.wall()))
    async with held as machines:
        await prepare(steps, machines, forks=target.forks, clock=clock, tell=report, check=check)


def _hosts(target: Target, steps: Sequence[Step]) -> Sequence[HostSpec]:
    names = dict.fromkeys(name for step in steps for name in step.hosts)
    return [host_spec(target.inventory, name, target.extra) for name in names]


def _warn(machine: str, message: str) -> None:
    click.echo(f"{one_line(machine)}: {one_line(redact(message))}", err=True)
