"""When requests were really sent, as the kernel saw it, against an even schedule.

No generator's own word is taken for it: tcpdump records the packets that begin a request on the loopback interface,
each stamped by the kernel in the very system call that sends it, whenever tcpdump itself comes to it. From outside
nobody knows at which moment a schedule began. It is taken to begin where the best of all sends was in time: a lateness
that all of them share is not seen."""

from __future__ import annotations

import math
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from figures import percentile
from process import pinned

METHOD = b"POST"
SNAPSHOT = 96
"""Bytes of a packet that are kept: the link's, IP's and TCP's heads and the start of the request's."""
BUFFER = 65536
"""KiB in the kernel, for when tcpdump gets no time."""
PATIENCE = 30.0
_NANOSECONDS = 0xA1B23C4D
_PROTOCOL = 14 + 9
"""Where IP says which protocol it carries (RFC 791), after Ethernet's head."""
_CLEAN = 1e-6
"""Of a slot's length: what is lost in floating point."""


@dataclass(frozen=True)
class Lateness:
    """Of a schedule of `due` requests, of which `sent` were sent: seconds after they were due, None for never.

    Nobody knows which ones are missing where some are. Each send is held against the latest moment that it can have
    been meant for then: the percentiles are lower bounds."""

    due: int
    sent: int
    p50: float | None
    p99: float | None
    longest: float | None

    @property
    def missing(self) -> int:
        return max(0, self.due - self.sent)


def lateness(sends: Sequence[float], rate: float, seconds: float, warm_up: float = 0.0) -> Lateness:
    """Of these moments of sending (seconds of any clock, in order), at so many per second for so long. What is due in
    the warm-up is not in the percentiles. Raises ValueError when nothing was sent."""
    if not sends:
        raise ValueError("nothing was sent")
    due, skipped = round(rate * seconds), math.ceil(warm_up * rate)
    began = min(sent - number / rate for number, sent in enumerate(sends))
    late = {slot: sent - began - slot / rate for slot, sent in _slots(sends, began, rate, due)}
    of_due = sorted(late.get(slot, math.inf) for slot in range(skipped, max(due, len(sends))))
    p50, p99, longest = (percentile(of_due, percent) for percent in (50, 99, 100))
    return Lateness(due, len(sends), *(None if value == math.inf else value for value in (p50, p99, longest)))


def _slots(sends: Sequence[float], began: float, rate: float, due: int) -> Iterator[tuple[int, float]]:
    """Which place in the schedule each of these is for."""
    if len(sends) >= due:
        yield from enumerate(sends)
        return
    slot = due
    for sent in reversed(sends):
        slot = min(slot - 1, math.floor((sent - began) * rate + _CLEAN))
        yield slot, sent


class Capture:
    """What is sent to a port of 127.0.0.1."""

    def __init__(self, file: Path, port: int) -> None:
        self._file = file
        self._port = port

    def sends(self) -> list[float]:
        """Seconds since the epoch at which each request until now was sent, in order. Raises RuntimeError when tcpdump
        does not catch up."""
        give_up = time.monotonic() + PATIENCE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
            while time.monotonic() < give_up:
                # When this is in the file, everything before it is.
                mark.sendto(b"", ("127.0.0.1", self._port))
                time.sleep(0.1)
                packets = list(_packets(self._file.read_bytes()))
                if packets and packets[-1][1] == socket.IPPROTO_UDP:
                    return [sent for sent, protocol in packets if protocol == socket.IPPROTO_TCP]
        raise RuntimeError("tcpdump does not catch up")


@contextmanager
def capture(tcpdump: Path, port: int, core: int, scratch: Path) -> Iterator[Capture]:
    """Record what is sent to this port of 127.0.0.1. Raises RuntimeError when it does not begin, and at the end when
    packets were lost."""
    file = scratch / "sends.pcap"
    begins = f"tcp[((tcp[12] & 0xf0) >> 2):4] = 0x{METHOD.hex()}"
    wanted = f"dst host 127.0.0.1 and (udp dst port {port} or (tcp dst port {port} and {begins}))"
    argv = [str(tcpdump), "-i", "lo", "-n", "-U", "-w", str(file), "-Z", "root", "--time-stamp-precision=nano"]
    argv += ["-s", str(SNAPSHOT), "-B", str(BUFFER), wanted]
    with subprocess.Popen(pinned(core, argv), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = ""
            while "listening on" not in said:
                line = process.stderr.readline()
                if not line:
                    raise RuntimeError(f"tcpdump does not begin: {said}")
                said += line
            yield Capture(file, port)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
    lost = re.search(r"(\d+) packets? dropped by kernel", said)
    if lost is None or int(lost[1]):
        raise RuntimeError(f"tcpdump missed packets: {said}")


def _packets(data: bytes) -> Iterator[tuple[float, int]]:
    """When each was sent, and its protocol. pcap: a head of 24 bytes, then for each packet seconds, nanoseconds, bytes
    kept, bytes in all, and the packet: Ethernet's head, then IP's. The last one may be half written."""
    (magic,) = struct.unpack_from("=I", data)
    if magic != _NANOSECONDS:
        raise RuntimeError(f"not a capture in nanoseconds: {data[:4]!r}")
    at, head = 24, struct.Struct("=IIII")
    while at + head.size + _PROTOCOL < len(data):
        seconds, nanoseconds, kept, _ = head.unpack_from(data, at)
        at += head.size
        yield seconds + nanoseconds / 1e9, data[at + _PROTOCOL]
        at += kept
