"""Ports that nobody else will take: chosen free, and leased for the life of a run.

A port is drawn outside the kernel's ephemeral range, so that no outgoing connection gets it while its node is down,
and tried by binding it, TCP and UDP, on every address of this machine. That it stays ours, though its node may be down
for a while, is known to other runs on this machine by a *lease*: a socket with an abstract name that has the port in
it (unix(7)). Such names live in the network namespace, as ports do; the kernel frees them when their owner dies,
there is nothing on disk, and the node may use both TCP and UDP on its port. Where there are no such names (macOS) the
lease is a UDP socket on 127.0.0.1 with the port's number."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from typing import Sequence

LOWEST = 10_000
"""Ports below are other people's: well-known services tend to be there."""
ENOUGH = 1_000
"""Where less than so many are outside the ephemeral range, all of it is used: better a small risk than no run."""


def ephemeral_range() -> tuple[int, int]:
    """The ports that the kernel gives to outgoing connections, both ends included (ip(7), ip_local_port_range);
    where it does not say, 32768 and above, which covers the defaults of Linux, macOS and the BSDs."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = file.read().split()
    except FileNotFoundError:
        return 32768, 65535
    return int(low), int(high)


def candidates(low: int, high: int) -> list[int]:
    """The ports to choose from when `low` to `high` are ephemeral."""
    every = range(LOWEST, 65536)
    outside = [port for port in every if not low <= port <= high]
    return outside if len(outside) >= ENOUGH else list(every)


class NoPorts(OSError):
    """So many are not to be had."""


class PortLeases:
    """Leased ports. Close it to give them back; they go back by themselves when this process dies."""

    def __init__(self, count: int, among: Sequence[int] = ()) -> None:
        """From outside the ephemeral range, unless it is said among which; those last on which connections that were
        closed linger (TIME_WAIT, a minute): servers can have them. Raises NoPorts."""
        self.ports: list[int] = []
        self._leases: list[socket.socket] = []
        pool = list(among) or candidates(*ephemeral_range())
        start = int.from_bytes(os.urandom(4), "big") % len(pool)
        for lingering, port in itertools.product((False, True), pool[start:] + pool[:start]):
            if len(self.ports) == count:
                break
            lease = _lease(port)
            if lease is None:
                continue
            if _is_free(port, lingering):
                self.ports.append(port)
                self._leases.append(lease)
            else:
                lease.close()
        if len(self.ports) < count:
            self.close()
            raise NoPorts(f"{count} ports are needed, only {len(self.ports)} are free on this machine")

    def close(self) -> None:
        for lease in self._leases:
            lease.close()


def _lease(port: int) -> socket.socket | None:
    if sys.platform == "linux":
        return _bind(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0harness/port/{port}")
    return _bind(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port))


def _is_free(port: int, lingering: bool = False) -> bool:
    """Whether a server can have it. With `lingering` it may be one that takes over from connections that were closed,
    as servers do (SO_REUSEADDR, socket(7)): what is listened on is not to be had for them either."""
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM] if sys.platform == "linux" else [socket.SOCK_STREAM]
    for kind in kinds:
        probe = _bind(socket.AF_INET, kind, ("", port), lingering and kind == socket.SOCK_STREAM)
        if probe is None:
            return False
        probe.close()
    return True


def _bind(
    family: socket.AddressFamily, kind: socket.SocketKind, address: str | tuple[str, int], reuse: bool = False
) -> socket.socket | None:
    bound = socket.socket(family, kind)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        bound.bind(address)
    except OSError:  # taken, or not ours to take
        bound.close()
        return None
    return bound
