"""A network for a run, in which every node has an address that does not change."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from harness.api import DeployError
from harness_docker.engine import Engine, Interrupt, explanation

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A bridge of the engine's. `ipv6`: whoever is in it has an address of that family as well."""

    id: str
    subnet: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address
    ipv6: bool

    def addresses(self) -> Iterator[str]:
        """For nodes, one after the other."""
        return (str(address) for address in self.subnet.hosts() if address != self.gateway)


async def make_network(engine: Engine, name: str, labels: Mapping[str, str], *, ipv6: bool) -> NodeNetwork:
    """`ipv6`: with addresses of that family, too. Raises DeployError.

    An engine gives out fixed addresses only in networks whose addresses it was told, and only the engine knows which
    are free: those of its pools that no route of its machine needs. So it is asked to choose first, then told that."""
    return await engine.stream(lambda interrupt: _make(engine, name, dict(labels), ipv6, interrupt))


def _make(engine: Engine, name: str, labels: dict[str, str], ipv6: bool, interrupt: Interrupt) -> NodeNetwork:
    refusal = ""
    for _ in range(ATTEMPTS):
        if interrupt.stopped:
            break
        try:
            chosen = _create(engine, name, labels, None, ipv6=False)
            engine.client.remove_network(chosen.id)
            return _create(engine, name, labels, chosen, ipv6=ipv6)
        except APIError as error:
            refusal = explanation(error)
            if "overlap" not in refusal:
                break
        # Somebody else was given the same addresses in between.
    raise DeployError(f"docker: no network for the nodes: {refusal}")


def _create(engine: Engine, name: str, labels: dict[str, str], like: NodeNetwork | None, *, ipv6: bool) -> NodeNetwork:
    pools = [IPAMPool(subnet=str(like.subnet), gateway=str(like.gateway))] if like else []
    if ipv6:
        pools.append(IPAMPool(subnet=str(_local_prefix())))
    created = engine.client.create_network(
        name,
        driver="bridge",
        labels=labels,
        ipam=IPAMConfig(pool_configs=pools) if pools else None,
        enable_ipv6=ipv6,
    )
    seen = engine.client.inspect_network(created["Id"])
    given = next(each for each in seen["IPAM"]["Config"] if ":" not in each["Subnet"])
    subnet = ipaddress.IPv4Network(given["Subnet"])
    gateway = given.get("Gateway", str(next(subnet.hosts()))).partition("/")[0]
    return NodeNetwork(created["Id"], subnet, ipaddress.IPv4Address(gateway), bool(seen["EnableIPv6"]))


def _local_prefix() -> ipaddress.IPv6Network:
    """One that nobody else is likely to have: of all engines only newer ones choose one themselves (RFC 4193)."""
    return ipaddress.IPv6Network((b"\xfd" + secrets.token_bytes(5) + bytes(10), 64))
