"""A fleet for tests: a real Docker engine and real sshd hosts, started by the tests themselves and gone after them.

fixtures  pytest fixtures: docker_engine, ssh_hosts, ssh_hosts_plain
client    what the fixtures use: a connection to the keeper
keeper    the process that owns the engine and the hosts, and removes what the sessions leave
engine    the Docker engine: the one that answers, or one of our own
images    debian:bookworm-slim and the image of the hosts
hosts     containers that one reaches by ssh
"""

from fleet.client import Fleet, HostPool
from fleet.errors import FleetError, FleetUnavailable
from fleet.hosts import Host, inventory

__all__ = ["Fleet", "FleetError", "FleetUnavailable", "Host", "HostPool", "inventory"]
