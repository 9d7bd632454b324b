"""A fleet for tests: a real Docker engine and real sshd hosts, started by the tests themselves and gone after them.

fixtures    pytest fixtures: docker_engine, ssh_hosts, ssh_hosts_plain, light_hosts
client      what the fixtures use: a connection to the keeper
keeper      the process that owns the engine and the hosts, and removes what the sessions leave
pool        the hosts of one session
engine      the Docker engine: the one that answers, or one of our own
images      debian:bookworm-slim and the image of the hosts
containers  hosts of that image
light       many hosts in no time: namespaces and sshd, no Docker
relay       links that take their time
host        what is reached by ssh, and inventories of it
"""

from fleet.client import Fleet, HostPool
from fleet.containers import ContainerHost
from fleet.errors import FleetError, FleetUnavailable
from fleet.host import Host, inventory
from fleet.light import LightFleet

__all__ = ["ContainerHost", "Fleet", "FleetError", "FleetUnavailable", "Host", "HostPool", "LightFleet", "inventory"]
