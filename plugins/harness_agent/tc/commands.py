"""What is said to tc. Pure: all of it is made of numbers, of addresses that were read as such, and of interfaces' names
as the kernel gave them.

On an interface that leads to peers the root becomes an htb (hierarchical token buckets) with a class for each peer to
which something is done: its bucket is the rate, in its leaf netem delays. What no filter knows passes by all classes
(htb's direct packets), and so do SSH sessions, which have filters of their own before those of peers. Delay and rate
are done to what leaves, where the sender waits for its own queue."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.api import LinkShape, MachineCapability
from harness_agent.nft import IP, Session

HANDLE = "4841:"
"""Of our root. The kernel gives those from 8000: up by itself; 0: is that of what nobody configured."""
UNLIMITED = 100_000_000_000
"""Bits a second of a class that only delays."""
BURST = 0.02
"""Seconds in which a flow that was idle may have saved up what it did not send."""
LEAST_BURST = 3200
"""Bytes: two frames."""
QUEUED, LEAST_QUEUED = 0.25, 256 * 1024
"""Seconds of its rate, and bytes at least, that wait before packets are dropped."""
HELD = 100_000
"""Packets that netem holds: more than any link here has under way."""
FIRST = 10
"""Priority of the first peer's filters: before them are those of SSH."""

UNDO = (
    '"$1" qdisc del dev "$2" root handle ' + HANDLE + " 2>/dev/null; "
    '! "$1" qdisc show dev "$2" 2>/dev/null | grep -q " ' + HANDLE + ' root"'
)
"""For sh: have our root not be there, whether it was or not, nor its interface. In its place the kernel puts what it
gives an interface by itself. Nobody else's is touched: the kernel compares handles."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One to whom something is done: number (from 0, its own on the machine), addresses, and what."""

    number: int
    addresses: tuple[IP, ...]
    shape: LinkShape


def undo(tc: str, device: str) -> tuple[str, ...]:
    return ("sh", "-c", UNDO, "sh", tc, device)


def trials() -> Mapping[MachineCapability, str]:
    """What shows whether a kernel can do it, on an interface of nobody's."""
    nobody = Peer(0, (), LinkShape())
    root = f"qdisc add dev lo root handle {HANDLE} htb default 0"
    match = f"filter add dev lo parent {HANDLE} protocol ip prio 1 u32 match ip dst 192.0.2.1/32 flowid {HANDLE}0"
    match6 = (
        f"filter add dev lo parent {HANDLE} protocol ipv6 prio 2 u32 match ip6 dst 2001:db8::1/128 flowid {HANDLE}0"
    )
    common = (root, match, match6)
    slow, late = LinkShape(rate=1e6), LinkShape(delay=0.1, jitter=0.05)
    return {
        what: "\n".join([*common, *_class("lo", nobody, shape)]) + "\n"
        for what, shape in ((MachineCapability.LINK_RATE, slow), (MachineCapability.LINK_DELAY, late))
    }


def setup(device: str, sessions: Iterable[Session]) -> list[str]:
    """Our root, in place of what nobody configured: the kernel refuses to replace what somebody did."""
    lines = [f"qdisc add dev {device} root handle {HANDLE} htb default 0 direct_qlen 1000"]
    for session in sorted(set(sessions), key=str):
        for to, port in ((session.client, f"sport {session.port}"), (session.server, f"dport {session.port}")):
            ip = _ip(to)
            lines.append(
                f"{_filter('add', device, to, 1)} u32 match {ip} dst {to}/{to.max_prefixlen} "
                f"match {ip} protocol 6 0xff match {ip} {port} 0xffff flowid {HANDLE}0"
            )
    return lines


def changes(device: str, before: Sequence[Peer], after: Sequence[Peer]) -> list[str]:
    """From one state to the other; what stays is not touched, so that nothing that waits there is lost."""
    then, now = {peer.number: peer for peer in before}, {peer.number: peer for peer in after}
    lines: list[str] = []
    for number, peer in then.items():
        if number not in now:
            for family in _families(peer):
                lines.append(_filter("del", device, family, FIRST + 2 * number))
            lines.append(f"class del dev {device} classid {_id(number)}")
    for number, peer in now.items():
        if number not in then:
            lines += _class(device, peer, peer.shape)
            lines += [
                f"{_filter('add', device, to, FIRST + 2 * number)} u32 match {_ip(to)} dst {to}/{to.max_prefixlen} "
                f"flowid {_id(number)}"
                for to in peer.addresses
            ]
        elif then[number] != peer:
            lines += _class(device, peer, peer.shape)
    return lines


def _class(device: str, peer: Peer, shape: LinkShape) -> list[str]:
    bits = UNLIMITED if shape.rate == math.inf else max(8, round(8 * shape.rate))
    burst = max(LEAST_BURST, round(BURST * bits / 8))
    leaf = f"bfifo limit {max(LEAST_QUEUED, round(QUEUED * bits / 8))}"
    if shape.delay or shape.jitter:
        leaf = f"netem limit {HELD} delay {_us(shape.delay)}us"
        if shape.jitter:  # a rate has it keep packets in order, which jitter alone does not
            leaf += f" {_us(shape.jitter)}us rate {UNLIMITED}bit"
    return [
        f"class replace dev {device} parent {HANDLE} classid {_id(peer.number)} htb rate {bits}bit ceil {bits}bit "
        f"burst {burst} cburst {burst} quantum 60000",
        f"qdisc replace dev {device} parent {_id(peer.number)} {leaf}",
    ]


def _us(seconds: float) -> int:
    return round(1e6 * seconds)


def _id(number: int) -> str:
    return f"{HANDLE}{number + 1:x}"


def _filter(do: str, device: str, to: IP, priority: int) -> str:
    """Protocols have a priority each."""
    six = to.version == 6
    return f"filter {do} dev {device} parent {HANDLE} protocol {'ipv6' if six else 'ip'} prio {priority + six}"


def _families(peer: Peer) -> list[IP]:
    """One address of each."""
    return list({ip.version: ip for ip in peer.addresses}.values())


def _ip(ip: IP) -> str:
    return "ip" if ip.version == 4 else "ip6"
