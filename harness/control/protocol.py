"""What is said on a run's control socket: one JSON object a line, a reply for each request, in order.

A request is `{"do": "pause"}`, and whatever else its kind takes. A reply is `{"ok": true, …}`, or
`{"ok": false, "error": "…"}` with a sentence for whoever asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError

MAX_LINE = 1 << 20
"""Bytes of a request or reply at most."""
DURATION_LIMIT = 24 * 3600.0
"""Seconds that a fault by hand may be asked to hold at most."""


class BadRequest(HarnessError):
    """What was asked is nothing that can be done; the sentence says why."""


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """A fault to be injected by hand on these nodes, held for `duration` seconds, then healed."""

    fault: str
    targets: tuple[str, ...]
    duration: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, asked: Mapping[str, Any]) -> FaultRequest:
        """Raises BadRequest."""
        fault, targets, options = asked.get("fault"), asked.get("targets"), asked.get("options", {})
        duration = asked.get("duration")
        if not isinstance(fault, str) or not fault:
            raise BadRequest("which fault is wanted? `fault` is its name")
        if not isinstance(targets, list) or not targets or not all(isinstance(name, str) for name in targets):
            raise BadRequest(f"{fault} of which nodes? `targets` is a list of their names")
        if isinstance(duration, bool) or not isinstance(duration, int | float) or not math.isfinite(duration):
            raise BadRequest(f"{fault} for how long? `duration` is in seconds")
        if not 0 <= duration <= DURATION_LIMIT:
            raise BadRequest(f"{fault} for {duration:g} s: it may hold for 0 to {DURATION_LIMIT:g} seconds")
        if not isinstance(options, dict):
            raise BadRequest(f"`options` of {fault} is a table")
        return cls(fault, tuple(dict.fromkeys(targets)), float(duration), options)

    def asked(self) -> dict[str, Any]:
        """As a request has it."""
        return {
            "fault": self.fault,
            "targets": list(self.targets),
            "duration": self.duration,
            "options": dict(self.options),
        }


def encode(message: Mapping[str, Any]) -> bytes:
    """A line, ASCII only, so that it can be read whatever nodes and hosts have put into it."""
    return json.dumps(message, default=str).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises BadRequest for anything but an object."""
    try:
        message = json.loads(line)
    except ValueError:
        raise BadRequest("this is no line of JSON") from None
    except RecursionError:
        raise BadRequest("this is nested too deeply") from None
    if not isinstance(message, dict):
        raise BadRequest("this is no JSON object")
    return message
