"""What a sender is told: where to send, what counts as taken, when, and within which bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.load.arrivals import Arrivals, Profile, Segment


@dataclass(frozen=True, slots=True)
class Target:
    """A server. `head` is the request line and the headers of every request, without Content-Length and without the
    empty line at its end. `tls`: speak TLS, `verify` its certificate against the name in `host` or `server_name`, and
    who signed it against the certificates in `ca` (PEM), or those that the machine trusts."""

    name: str
    host: str
    port: int
    head: bytes
    tls: bool = False
    verify: bool = True
    server_name: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """Which answers mean that the server took the request: a status of these, and, with a `pointer`, this value at
    that place of the JSON body. All others are handed back to be read."""

    statuses: tuple[int, ...] = (200,)
    pointer: tuple[str, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class Batching:
    """Requests that are due at once for one server go together, `most` at a time, as a JSON array; an answer is matched
    with its request by the member `id`, which is each request's serial number (JSON-RPC 2.0, section 6). With `most`
    1, nothing goes together."""

    most: int
    id: str = "id"


@dataclass(frozen=True, slots=True)
class Job:
    """One sender's work. Times are seconds.

    `ordered`: requests belong to lanes, and one of a lane is sent only when the one before it has been taken.
    `each`: every request's fate is told, not only how many there were of each; with `replies`, the answers of those
    that were taken, too.
    `resend`: a request that a server did not answer goes to the next one. `idempotent`: it may be sent twice, and is
    where a server closes a connection that was kept just as it goes out there (RFC 9110, 9.2.2). `repeat`: the body to
    send again and again, for a job that nobody feeds. `connections` to each target are opened beforehand. `number` of
    `among` senders that share the arrivals between them."""

    targets: tuple[Target, ...]
    taken: Taken = Taken()
    timeout: float = 5.0
    max_in_flight: int = 256
    connections: int = 1
    ordered: bool = False
    each: bool = False
    replies: bool = False
    resend: bool = False
    idempotent: bool = False
    repeat: bytes | None = None
    batching: Batching | None = None
    number: int = 0
    among: int = 1

    def to_json(self) -> bytes:
        value = asdict(self)
        for target in value["targets"]:
            target["head"] = base64.b64encode(target["head"]).decode()
        value["repeat"] = None if self.repeat is None else base64.b64encode(self.repeat).decode()
        return json.dumps(value).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Job:
        value = json.loads(data)
        targets = tuple(Target(**{**t, "head": base64.b64decode(t["head"])}) for t in value.pop("targets"))
        taken = value.pop("taken")
        batching = value.pop("batching")
        repeat = value.pop("repeat")
        return cls(
            targets=targets,
            taken=Taken(tuple(taken["statuses"]), tuple(taken["pointer"]), taken["value"]),
            batching=Batching(**batching) if batching else None,
            repeat=None if repeat is None else base64.b64decode(repeat),
            **value,
        )


@dataclass(frozen=True, slots=True)
class Start:
    """When it begins (monotonic seconds), the arrivals of all senders together, and from which
    second of the profile on latencies count (`warm_up`)."""

    at: float
    profile: Profile
    arrivals: Arrivals = "uniform"
    seed: int = 0
    warm_up: float = 0.0

    def later(self, seconds: float) -> Start:
        """The same, so much later."""
        return replace(self, at=self.at + seconds)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Start:
        value = json.loads(data)
        profile = Profile(tuple(Segment(**segment) for segment in value.pop("profile")["segments"]))
        return cls(profile=profile, **value)


def head(method: str, path: str, host: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Target.head of such requests; a header Host stands in place of `host`. Raises ValueError for what would end a
    line, or is not to be sent in one, and does not say what values are: they may be secret."""
    headers = headers or {}
    if " " in path or not path:
        raise ValueError(f"not to be sent in a request's head: the path {path!r}")
    lines = {"its first line": f"{method} {path} HTTP/1.1"}
    if "host" not in map(str.lower, headers):
        lines["the header Host"] = f"Host: {host}"
    lines |= {f"the header {name}": f"{name}: {value}" for name, value in headers.items()}
    for what, line in lines.items():
        if any(bad in line for bad in "\r\n\0") or not all(ord(character) < 256 for character in line):
            raise ValueError(f"not to be sent in a request's head: {what} has a line break, or is not Latin-1")
    return "\r\n".join(lines.values()).encode("latin-1")
