"""`harness inventory ping`: can the machines be reached, and what are they?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from harness.cli.interrupts import Interrupted, run_interruptible
from harness.cli.options import OF_HOSTS, extra_option, forks_option, inventory_option, open_machines
from harness.engine.adhoc import on_each
from harness.engine.ping import Ability, HostPing, ping
from harness.errors import ExitCode
from harness.plugin.clock_offset import ClockOffset
from harness.plugin.contract.machine import Machine
from harness.record.render import console_for, render_table
from harness.record.tables import NONE, Mood, Row, Table
from harness.record.text import counted, one_line
from harness.redact import redact_value
from harness.spec.durations import format_duration

_ABILITIES = ("nft", "tc", "netem", "htb", "tbf", "systemd")


@click.command("ping")
@click.argument("pattern", default="all")
@inventory_option
@extra_option(OF_HOSTS)
@forks_option
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="SECONDS", help="Give up on a machine after so long.")  # fmt: skip
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="json: everything that is known, a line for each host as it answers.")  # fmt: skip
def ping_(
    pattern: str,
    inventory_path: Path | None,
    extra_texts: tuple[str, ...],
    forks: int | None,
    timeout: float,
    output: str,
) -> int:
    """Connect to the hosts that match PATTERN, and show what they are; changes nothing there.

    LATENCY is the median round trip of a small command over the open connection. CLOCK says how far the machine's
    clock is ahead of ours. SIZE has the disk that is free where runs keep what they have there. ROOT: whether one can
    become it. CAN: what is there for faults and nodes; with a ? what only root could tell; below, why the rest is not.
    Exits with 3 when a machine was not reached.

    \b
    Examples:
      harness inventory ping -i inventories/lab.toml
      harness inventory ping 'rack1:!node03' --forks 50 --output json
    """
    target, hosts = open_machines(inventory_path, pattern, extra_texts, forks)
    found: dict[str, HostPing] = {}

    def tell(seen: HostPing) -> None:
        found[seen.host] = seen
        if output == "json":
            click.echo(json.dumps(redact_value(asdict(seen))))

    async def one(name: str, machine: Machine) -> None:
        tell(await ping(name, machine, timeout))

    def refuse(name: str, why: str) -> None:
        tell(HostPing(name, reached=False, error=why))

    try:
        run_interruptible(partial(on_each, target, hosts, one, refuse, _warn))
    except Interrupted:
        return ExitCode.INTERRUPTED
    seen = [found[host.name] for host in hosts]
    if output == "table":
        _show(seen)
    return ExitCode.PASS if all(host.reached for host in seen) else ExitCode.INFRASTRUCTURE


def _warn(machine: str, message: str) -> None:
    click.echo(f"{one_line(machine)}: {one_line(message)}", err=True)


def _show(seen: Sequence[HostPing]) -> None:
    reached = [host for host in seen if host.reached]
    lost = [host for host in seen if not host.reached]
    console = console_for(sys.stdout)
    if reached:
        columns = ("HOST", "LATENCY", "CLOCK", "SYSTEM", "SIZE", "ROOT", "CAN")
        rows = tuple(_row(host) for host in reached)
        render_table(
            Table(
                "reached",
                columns,
                rows,
                frozenset({"LATENCY"}),
                frozenset({"HOST", "SYSTEM", "SIZE", "CAN"}),
                notes=tuple(_absent(reached)),
            ),
            console,
        )
    if lost:
        rows = tuple(Row((host.host, host.error), Mood.BAD) for host in lost)
        render_table(Table("not reached", ("HOST", "WHY"), rows, wide=frozenset({"WHY"})), console)
    console.print(f"{len(reached)} of {counted(len(seen), 'host')} reached")


def _row(host: HostPing) -> Row:
    machine = host.machine
    system, size = host.probe_error, NONE
    if machine:
        system = f"{machine['os']}, {machine['kernel']} {machine['architecture']}, Python {machine['python']}"
        memory, disk = (_gigabytes(machine[name]) for name in ("memory_bytes", "free_disk_bytes"))
        size = f"{machine['cpus']} CPU, {memory}, disk {disk}"
    can = (_can(name, host.abilities[name]) for name in _ABILITIES if name in host.abilities)
    cells = (
        host.host,
        NONE if host.latency is None else format_duration(host.latency),
        _clock(host.clock),
        system,
        size,
        {True: "yes", False: "no", None: "?"}[host.abilities["root"].there],
        " ".join(filter(None, can)) or NONE,
    )
    return Row(cells, Mood.GOOD if machine else Mood.DOUBTFUL)


def _absent(reached: Sequence[HostPing]) -> Iterator[str]:
    """Why each ability is not there, or not known, by hosts that have the same reason."""
    for name in _ABILITIES:
        hosts: dict[Ability, list[str]] = {}
        for host in reached:
            if name in host.abilities and not host.abilities[name].there:
                hosts.setdefault(host.abilities[name], []).append(host.host)
        for ability, of in hosts.items():
            on = f"{of[0]} (and {len(of) - 1} more)" if len(of) > 1 else of[0]
            what = f"no {name} on {on}" if ability.there is False else f"perhaps {name} on {on}"
            yield one_line(f"{what}: {ability.why}")


def _clock(offset: ClockOffset | None) -> str:
    if offset is None:
        return NONE
    sign = "-" if offset.seconds < 0 else "+"
    return f"{sign}{_brief(abs(offset.seconds))} ±{_brief(offset.uncertainty)}"


def _brief(seconds: float) -> str:
    return f"{seconds * 1000:.1f}ms" if seconds < 1 else format_duration(seconds)


def _can(name: str, ability: Ability) -> str:
    return {True: name, False: "", None: f"{name}?"}[ability.there]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
