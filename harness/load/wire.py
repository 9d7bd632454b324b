"""Between a controller and its senders: frames of a kind, a length and bytes, and what they hold.

Both ends are of one version, and may be of different machines: everything has a stated size and byte order."""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_HEAD = struct.Struct("!BI")
_SHOT = struct.Struct("!QIII")
_RESULT = struct.Struct("!QBHHdddI")
LARGEST_FRAME = 256 << 20
NO_LANE = 2**32 - 1


class Kind(enum.IntEnum):
    """Of a frame. From the controller: JOB to REDIRECT; from the sender: READY to DONE."""

    JOB = 1
    START = 2
    SHOTS = 3
    PAUSE = 4
    RESUME = 5
    STOP = 6  # no moment after this one
    REDIRECT = 7  # JSON: where targets are now, and which are believed not to answer
    CLOCK = 8  # answered with the sender's monotonic time
    READY = 20
    RESULTS = 21
    TALLY = 22  # JSON: what was counted since the last one
    TIME = 23
    DONE = 24
    FAILED = 25  # text: why this sender ends


class Shot(NamedTuple):
    """A request's body, to be sent when its turn has come. Of one lane, those with an older epoch than one that was not
    taken are void."""

    serial: int
    lane: int
    epoch: int
    body: bytes


class Fate(enum.IntEnum):
    """What became of a shot."""

    TAKEN = 1
    READ = 2  # there is an answer, to be read by whoever knows how
    TIMED_OUT = 3  # it went out, no answer in time: nobody knows
    LOST = 4  # it went out, the connection was lost: nobody knows
    FAILED = 5  # it never went out
    CUT_OFF = 6  # the sender ended before the answer came


class Result(NamedTuple):
    """`intended`, `sent`, `ended` are monotonic seconds of the sender's machine; `sent` 0 for what never went out.
    `reply` is an answer's body for READ, else a reason. `tried` is how many servers it was sent to."""

    serial: int
    fate: Fate
    status: int
    target: int
    intended: float
    sent: float
    ended: float
    tried: int
    reply: bytes

    def later(self, seconds: float) -> Result:
        """The same, so much later."""
        sent = self.sent + seconds if self.sent else 0.0
        return self._replace(intended=self.intended + seconds, sent=sent, ended=self.ended + seconds)


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    payload: bytes


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises ValueError for a stream that cannot be of the other end."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(buffer, at)
            if length > LARGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(buffer) - at - _HEAD.size < length:
                break
            at += _HEAD.size
            yield Frame(Kind(kind), bytes(buffer[at : at + length]))
            at += length
        del buffer[:at]


def pack_shots(shots: Sequence[Shot]) -> bytes:
    parts: list[bytes] = []
    for serial, lane, epoch, body in shots:
        parts += (_SHOT.pack(serial, lane, epoch, len(body)), body)
    return b"".join(parts)


def unpack_shots(data: bytes) -> Iterator[Shot]:
    at, size = 0, _SHOT.size
    while at < len(data):
        serial, lane, epoch, length = _SHOT.unpack_from(data, at)
        at += size
        yield Shot(serial, lane, epoch, data[at : at + length])
        at += length


def pack_result(result: Result) -> bytes:
    serial, fate, status, target, intended, sent, ended, tried, reply = result
    return _RESULT.pack(serial, fate << 4 | min(tried, 15), status, target, intended, sent, ended, len(reply)) + reply


def unpack_results(data: bytes) -> Iterator[Result]:
    at, size = 0, _RESULT.size
    while at < len(data):
        serial, mixed, status, target, intended, sent, ended, length = _RESULT.unpack_from(data, at)
        at += size
        yield Result(
            serial, Fate(mixed >> 4), status, target, intended, sent, ended, mixed & 15, data[at : at + length]
        )
        at += length


class Redirect(NamedTuple):
    """A target's address from now on; not `trusted`: others are asked first."""

    name: str
    host: str
    port: int
    trusted: bool


def pack_redirects(redirects: Sequence[Redirect]) -> bytes:
    return json.dumps(redirects).encode()


def unpack_redirects(data: bytes) -> Iterator[Redirect]:
    for name, host, port, trusted in json.loads(data):
        yield Redirect(str(name), str(host), int(port), bool(trusted))
