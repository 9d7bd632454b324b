"""What is said to nft. Pure: all of it is made of numbers, of addresses that were read as such, and of a table's name
that has no letter of its own choosing."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.api import LinkShape

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

PARTS = 1_000_000
"""A loss is a whole number of so many parts."""
LONGEST = 120
"""Characters of a run's id in a table's name; the kernel takes 255."""


def address(text: str) -> IP:
    """As packets have it: without a zone, and IPv4 as such where it is written as IPv6. Raises ValueError."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """An SSH connection as its server sees it; of the client the address alone, as its ports change."""

    client: IP
    server: IP
    port: int

    @classmethod
    def of(cls, said: str) -> Session:
        """From the environment variable SSH_CONNECTION, see ssh(1). Raises ValueError."""
        client, _, server, port = said.split()
        number = int(port)
        if not 0 < number < 1 << 16:
            raise ValueError(f"{number} is no port")
        return cls(address(client), address(server), number)


def table_of(run_id: str) -> str:
    """The name of a run's table: no other run's, and its own id where nft takes that in a name."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)[:LONGEST]
    if name != run_id:
        name += "_" + hashlib.sha256(run_id.encode()).hexdigest()[:16]
    return f"harness_{name}"


def removal(table: str) -> str:
    """Has the table not be there, whether it was or not."""
    return f"add table inet {table}; delete table inet {table}"


def ruleset(table: str, sessions: Iterable[Session], flows: Iterable[tuple[Iterable[IP], LinkShape]]) -> str:
    """A table in which packets from these addresses are lost as the shapes say, in place of the one that there is: nft
    does all of it in one transaction. What else the shapes have is not looked at.

    Whatever arrives is looked at, in connections that exist too. Before all else pass the SSH sessions, as their client
    or server, what the machine says to itself, and what finds neighbours (of IPv4, ARP is not seen here). Nothing is
    dropped on its way out: the kernel would tell the sender (EPERM), which a network does not."""
    lines = ['iifname "lo" accept', "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"]
    for session in sorted(set(sessions), key=_order):
        lines += [
            f"{_from((session.client,))} {_to(session.server)} tcp dport {session.port} accept",
            f"{_from((session.server,))} {_to(session.client)} tcp sport {session.port} accept",
        ]
    for sources, shape in flows:
        if fate := _fate(shape):
            by_family: dict[int, list[IP]] = {}
            for ip in sorted(set(sources), key=lambda ip: (ip.version, int(ip))):
                by_family.setdefault(ip.version, []).append(ip)
            lines += [f"{_from(some)} {fate}" for some in by_family.values()]
    body = "\n".join(f"        {line}" for line in lines)
    return (
        f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n    chain input {{\n"
        f"        type filter hook input priority 0; policy accept;\n{body}\n    }}\n}}\n"
    )


def trial() -> str:
    """Rules that have all that ours may have, and mean nobody, to see whether nft and the kernel take them."""
    nobody = (address("192.0.2.1"), address("2001:db8::1"))  # addresses for documents, RFC 5737 and RFC 3849
    return ruleset("harness-check", [Session(nobody[0], nobody[0], 22)], [(nobody, LinkShape(loss=0.5))])


def loses(shape: LinkShape) -> bool:
    """Whether rules do anything to such a flow."""
    return bool(_fate(shape))


def _fate(shape: LinkShape) -> str:
    """What becomes of a packet, "" for nothing."""
    parts = PARTS if shape.cut else round(shape.loss * PARTS)
    if parts >= PARTS:
        return "drop"
    return f"numgen random mod {PARTS} < {parts} drop" if parts > 0 else ""


def _from(ips: Iterable[IP]) -> str:
    found = list(ips)
    return f"{_family(found[0])} saddr {{ {', '.join(map(str, found))} }}"


def _to(ip: IP) -> str:
    return f"{_family(ip)} daddr {ip}"


def _family(ip: IP) -> str:
    return "ip" if ip.version == 4 else "ip6"


def _order(session: Session) -> tuple[int, int, int, int]:
    return session.client.version, int(session.client), int(session.server), session.port


def clashes(heard: Mapping[str, Iterable[IP]]) -> str:
    """Why packets do not say by their source which of these nodes sent them, "" if they do."""
    owners: dict[IP, str] = {}
    for node, ips in heard.items():
        for ip in ips:
            other = owners.setdefault(ip, node)
            if other != node:
                return f"{other} and {node} have the same address, {ip}"
    return ""
