"""`harness inventory`: hosts, groups, and where each variable comes from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import OF_HOSTS, extra_option, inventory_option, open_project, read_inventory
from harness.errors import ExitCode
from harness.record.text import one_line


class _Group(click.Group):
    """`ping` deals with machines, which is a lot to import: only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "ping"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "ping":
            from harness.cli.ping import ping_

            return ping_
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group)
def inventory() -> None:
    """Show an inventory as harness reads it, and what its machines are.

    Inventories have the shape of Ansible's TOML inventories."""


@inventory.command("list")
@inventory_option
@extra_option(OF_HOSTS)
@click.argument("pattern", default="all")
@click.option("--json", "as_json", is_flag=True, help="The whole inventory, as `ansible-inventory --list` prints it.")
def list_hosts(inventory_path: Path | None, extra_texts: tuple[str, ...], pattern: str, as_json: bool) -> int:
    """List the hosts that match PATTERN, with the groups that they are in.

    What is wrong with how they are to be reached is told after them, and is an error."""
    from harness.errors import SpecError
    from harness.spec.inventory_views import as_list, problems_of
    from harness.spec.variables import parse_extras

    found, extra = read_inventory(inventory_path, open_project()), parse_extras(extra_texts)
    if as_json:
        click.echo(json.dumps(as_list(found, extra), indent=2, default=str))
        return ExitCode.PASS
    hosts = found.select(pattern)
    width = max((len(host) for host in hosts), default=0)
    for host in hosts:
        click.echo(one_line(f"{host:<{width}}  {', '.join(g for g in found.groups_of(host) if g != 'all')}"))
    if problems := {problem for host in hosts for problem in problems_of(found, host, extra)}:
        raise SpecError(problems)
    return ExitCode.PASS


@inventory.command()
@inventory_option
@click.argument("group", default="all")
@click.option("--vars", "with_vars", is_flag=True, help="With variables.")
def graph(inventory_path: Path | None, group: str, with_vars: bool) -> int:
    """Draw GROUP, the groups below it and their hosts, as `ansible-inventory --graph` does."""
    from harness.spec.inventory_views import as_graph

    for line in as_graph(read_inventory(inventory_path, open_project()), group, variables=with_vars):
        click.echo(one_line(line))
    return ExitCode.PASS


@inventory.command()
@inventory_option
@extra_option(OF_HOSTS)
@click.argument("name")
def host(inventory_path: Path | None, extra_texts: tuple[str, ...], name: str) -> int:
    """Show every variable of host NAME and the place that it comes from."""
    from harness.spec.variables import parse_extras

    found = read_inventory(inventory_path, open_project()).variables(name, parse_extras(extra_texts))
    width = max((len(key) for key in found), default=0)
    for key, origin in sorted(found.items()):
        value = json.dumps(origin.value, default=str, ensure_ascii=False)
        click.echo(one_line(f"{key:<{width}} = {value}  ({origin.source})"))
    return ExitCode.PASS
