"""A network for a run, in which every node has an address that does not change."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from harness.api import DeployError
from harness_docker.engine import Engine, Interrupt, explanation

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A bridge of the engine's."""

    id: str
    subnet: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address

    def addresses(self) -> Iterator[str]:
        """For nodes, one after the other."""
        return (str(address) for address in self.subnet.hosts() if address != self.gateway)


async def make_network(engine: Engine, name: str, labels: Mapping[str, str]) -> NodeNetwork:
    """Raises DeployError.

    An engine gives out fixed addresses only in networks whose addresses it was told, and only the engine knows which
    are free: those of its pools that no route of its machine needs. So it is asked to choose first, then told that."""
    return await engine.stream(lambda interrupt: _make(engine, name, dict(labels), interrupt))


def _make(engine: Engine, name: str, labels: dict[str, str], interrupt: Interrupt) -> NodeNetwork:
    refusal = ""
    for _ in range(ATTEMPTS):
        if interrupt.stopped:
            break
        try:
            chosen = _create(engine, name, labels, None)
            engine.client.remove_network(chosen.id)
            return _create(engine, name, labels, chosen)
        except APIError as error:
            refusal = explanation(error)
            if "overlap" not in refusal:
                break
        # Somebody else was given the same addresses in between.
    raise DeployError(f"docker: no network for the nodes: {refusal}")


def _create(engine: Engine, name: str, labels: dict[str, str], like: NodeNetwork | None) -> NodeNetwork:
    pool = IPAMPool(subnet=str(like.subnet), gateway=str(like.gateway)) if like else None
    created = engine.client.create_network(
        name, driver="bridge", labels=labels, ipam=IPAMConfig(pool_configs=[pool]) if pool else None
    )
    given = engine.client.inspect_network(created["Id"])["IPAM"]["Config"][0]
    subnet = ipaddress.IPv4Network(given["Subnet"])
    gateway = given.get("Gateway", str(next(subnet.hosts()))).partition("/")[0]
    return NodeNetwork(created["Id"], subnet, ipaddress.IPv4Address(gateway))
