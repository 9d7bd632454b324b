"""Hosts to try things on: `python -m fleet up --hosts 4`, and `down` when done."""

from __future__ import annotations

import argparse
import sys

from fleet.client import Fleet
from fleet.errors import FleetError
from fleet.host import inventory

SESSION = "by-hand"


def up(count: int, systemd: bool) -> None:
    """Start hosts that stay, and print what to do with them."""
    fleet = Fleet(SESSION, pin=True)
    _, hosts = fleet.lease(count, systemd=systemd)
    path = fleet.folder / f"{hosts[0].name}.toml"
    path.write_text(inventory(hosts, harness_deployer="ssh"))
    print(path.read_text())
    print(f"# That inventory is {path}; the engine:")
    print(f"export DOCKER_HOST={fleet.docker_host}")
    print("# OpenSSH:", *(_shell(word) for word in hosts[0].ssh))


def down() -> None:
    """Raises FleetError when there is nothing."""
    fleet = Fleet(SESSION)
    found = fleet.end()
    fleet.close()
    if not found:
        raise FleetError(f"`up` has started nothing on the engine {fleet.docker_host}: is DOCKER_HOST as it was then?")


def _shell(word: str) -> str:
    return word if word.isprintable() and " " not in word else repr(word)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fleet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start hosts, more at each call")
    starting.add_argument("--hosts", type=int, default=4, metavar="N")
    starting.add_argument("--plain", action="store_true", help="without systemd")
    commands.add_parser("down", help="remove all that `up` started")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            up(arguments.hosts, not arguments.plain)
        else:
            down()
    except FleetError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
