"""`harness exec`: a command on machines, ad hoc."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from harness.cli.data_stream import DataStream
from harness.cli.interrupts import Interrupted, run_interruptible
from harness.cli.options import OF_HOSTS, extra_option, forks_option, inventory_option, open_machines
from harness.engine.adhoc import on_each
from harness.engine.target import Target
from harness.errors import CommandTimeout, ExitCode, InfrastructureError, MachineLost, UsageError
from harness.plugin.contract.deployer import HostSpec
from harness.plugin.contract.machine import Completed, Machine
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.text import one_line, unnamed
from harness.redact import redact_value
from harness.spec.durations import format_duration


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of the command on one host. Without `done`, `error` says why. `stdout` and `stderr` are also there of
    one that was killed."""

    host: str
    done: Completed | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    error: str = ""
    begun: bool = False
    lost: bool = False

    @property
    def exit_code(self) -> ExitCode:
        if self.lost:
            return ExitCode.INFRASTRUCTURE
        return ExitCode.PASS if self.done is not None and self.done.returncode == 0 else ExitCode.FAIL


@click.command("exec", short_help="Run a command on machines.")
@click.argument("pattern")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@inventory_option
@extra_option(OF_HOSTS)
@forks_option
@click.option("--become", is_flag=True,
              help="As root, the way that the inventory says; without, where it says so (ansible_become).")  # fmt: skip
@click.option("--script", type=click.File("rb"), metavar="FILE",
              help="Run this script by sh, with COMMAND as its arguments; - reads it from stdin.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              metavar="SECONDS", help="Kill the command after so long.")  # fmt: skip
@click.option("--output", type=click.Choice(["plain", "json"]), default="plain", show_default=True,
              help="plain: output on stdout and stderr, a table on stderr. json: a line for each host.")  # fmt: skip
def exec_(
    pattern: str,
    command: tuple[str, ...],
    inventory_path: Path | None,
    extra_texts: tuple[str, ...],
    forks: int | None,
    become: bool,
    script: BinaryIO | None,
    timeout: float,
    output: str,
) -> int:
    """Run COMMAND, with its arguments as they are and without a shell, on the hosts that match PATTERN.

    Each line of output has its host in front, a host's lines stand together. Ctrl-C kills the command wherever it
    runs. Exits with 0 when it did so everywhere, with 1 when it failed somewhere, with 3 when a machine was not
    reached.

    \b
    Examples:
      harness exec all -- uname -r
      harness exec 'validators:!node03' -i inventories/lab.toml --become -- nft list tables
      harness exec rack1 --script tidy.sh -- /var/tmp
    """
    argv = ("sh", "-s", "--", *command) if script is not None else command
    if not argv:
        raise UsageError("say what to run: harness exec PATTERN -- COMMAND ARG…")
    if any("\0" in word for word in argv):
        raise UsageError("no argument can hold a NUL")
    target, hosts = open_machines(inventory_path, pattern, extra_texts, forks)
    input = script.read() if script is not None else b""
    work = _Work(argv, input, timeout, become=become, as_json=output == "json")
    try:
        run_interruptible(partial(work.everywhere, target, hosts))
    except Interrupted:
        click.echo(f"interrupted; {len(work.results)} of {len(hosts)} had ended", err=True)
        return ExitCode.INTERRUPTED
    if output == "plain":
        _show_table(work.results, hosts)
    return max((ran.exit_code for ran in work.results), default=ExitCode.PASS)


class _Work:
    """One command on several machines; tells of each as it ends."""

    def __init__(self, argv: Sequence[str], input: bytes, timeout: float, *, become: bool, as_json: bool) -> None:
        """`become`: on all hosts; without, on those of which the inventory says it."""
        self.results: list[Ran] = []
        self._argv = argv
        self._input = input
        self._become = become
        self._timeout = timeout
        self._tell = _tell_json if as_json else _tell_plain

    async def everywhere(self, target: Target, hosts: Sequence[HostSpec]) -> None:
        by_name = {host.name: host for host in hosts}

        async def one(name: str, machine: Machine) -> None:
            await self._one(name, machine, become=self._become or by_name[name].connection.become)

        await on_each(target, hosts, one, self._refused, _warn)

    async def _one(self, name: str, machine: Machine, *, become: bool) -> None:
        try:
            done = await machine.run(self._argv, input=self._input, become=become, timeout=self._timeout)
            ran = Ran(name, done, done.stdout, done.stderr, begun=True)
        except (MachineLost, UsageError) as error:  # or ssh's own configuration says nonsense of this one
            ran = Ran(name, error=unnamed("; ".join(str(error).splitlines()), name), lost=True)
        except CommandTimeout as error:
            ran = Ran(name, None, error.stdout, error.stderr, unnamed(str(error), name), begun=True)
        except InfrastructureError as error:  # it could not be started
            ran = Ran(name, error=unnamed(str(error), name))
        self._ended(ran)

    def _refused(self, name: str, why: str) -> None:
        self._ended(Ran(name, error=why, lost=True))

    def _ended(self, ran: Ran) -> None:
        self.results.append(ran)
        self._tell(ran)


def _warn(machine: str, message: str) -> None:
    click.echo(f"{one_line(machine)}: {one_line(message)}", err=True)


def _tell_plain(ran: Ran) -> None:
    for stream, data in ((sys.stdout, ran.stdout), (sys.stderr, ran.stderr)):
        labelled = DataStream(stream, ran.host)
        labelled.write(data)
        labelled.close()
    if ran.error:
        click.echo(f"{one_line(ran.host)}: {one_line(ran.error)}", err=True)


def _tell_json(ran: Ran) -> None:
    record: dict[str, Any] = {"host": ran.host, "reached": not ran.lost, "error": ran.error}
    if ran.done is not None:
        record |= {"returncode": ran.done.returncode, "seconds": ran.done.seconds}
    if ran.begun:
        record |= _as_text("stdout", ran.stdout) | _as_text("stderr", ran.stderr)
    click.echo(json.dumps(redact_value(record)))


def _as_text(name: str, data: bytes) -> dict[str, str]:
    """Bytes that are no UTF-8 are told in base64 too, to be had exactly."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: data.decode(errors="replace"), f"{name}_base64": base64.b64encode(data).decode()}


def _show_table(results: Sequence[Ran], hosts: Sequence[HostSpec]) -> None:
    from harness.record.render import console_for, render_table

    order = [host.name for host in hosts]
    rows = tuple(
        Row(
            (
                ran.host,
                NONE if ran.done is None else str(ran.done.returncode),
                NONE if ran.done is None else format_duration(ran.done.seconds),
                ran.error,
            ),
            Mood.GOOD if ran.exit_code is ExitCode.PASS else Mood.BAD,
        )
        for ran in sorted(results, key=lambda ran: order.index(ran.host))
    )
    columns = ("HOST", "EXIT", "TOOK", "WHY")
    table = Table("exit codes", columns, rows, numeric=frozenset({"EXIT", "TOOK"}), wide=frozenset({"WHY"}))
    render_table(table, console_for(sys.stderr))
