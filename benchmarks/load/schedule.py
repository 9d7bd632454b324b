"""Open-loop generators at given rates: when they really send."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import ours
from endpoint import Endpoint
from figures import Load
from generators import K6, OURS, VEGETA, k6_run, vegeta_attack
from install import Tools
from lateness import Lateness, capture, lateness
from ours import OwnWord

WARM_UP = 1.0
"""Seconds in which connections are made: not in the percentiles."""
MOST = 200
"""Connections, and so requests in flight, that each may have: plenty for a server that answers at once."""

Scheduled = Callable[[Load, float], OwnWord]


@dataclass(frozen=True)
class Timed:
    """`rate` was asked for."""

    rate: float
    word: OwnWord
    seen: Lateness


def _vegeta(tools: Tools) -> Scheduled:
    attack = vegeta_attack(tools)

    def send(load: Load, rate: float) -> OwnWord:
        told, _ = attack(load, rate)
        return OwnWord(told["requests"], 0)

    return send


def _k6(tools: Tools) -> Scheduled:
    script = k6_run(tools)

    def send(load: Load, rate: float) -> OwnWord:
        told, _ = script(load, rate)
        return OwnWord(told["requests"] + told["errors"], told["dropped"])

    return send


SCHEDULED: Mapping[str, Callable[[Tools], Scheduled]] = {
    OURS: lambda tools: (
        lambda load, rate: ours.scheduled(load.url, load.body, load.connections, load.seconds, load.core, rate)
    ),
    VEGETA: _vegeta,
    K6: _k6,
}


def timed(
    send: Scheduled, server: Endpoint, tcpdump: Path, body: bytes, rate: float, seconds: float, cores: Sequence[int]
) -> Timed:
    """At this rate for so many seconds after the warm-up. `cores`: the server's and tcpdump's, and the generator's."""
    whole = WARM_UP + seconds
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        captured = stack.enter_context(capture(tcpdump, server.port, cores[0], scratch))
        word = send(Load(server.url, body, MOST, whole, cores[1], scratch), rate)
        sends = captured.sends()
    if abs(len(sends) - word.sent) > 1:
        print(f"it says that it sent {word.sent}; {len(sends)} were seen", file=sys.stderr)
    return Timed(rate, word, lateness(sends, rate, whole, WARM_UP))
