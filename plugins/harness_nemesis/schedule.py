"""When a nemesis does what to whom: a pure function of the seed, the nodes' names, its options and the duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from harness.api import Config, Fault, FaultError, FaultTurn


@dataclass(frozen=True, slots=True)
class Choice:
    """A fault with its options, how long it is to hold (seconds), and how often it is drawn beside others."""

    fault: type[Fault[Any]]
    config: Config
    duration: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A turn every `shortest` to `longest` seconds; each node is free again `cooldown` seconds after its planned
    end."""

    shortest: float
    longest: float
    cooldown: float


def schedule(
    rng: Random,
    names: Sequence[str],
    choices: Sequence[Choice],
    pace: Pace,
    duration: float,
    late: Sequence[str] = (),
) -> list[FaultTurn]:
    """All turns of a drive of so many seconds. How long injecting and healing really take changes nothing in it.

    Of `names` it chooses, but of those that are `late`, or have left, only once they are in the network."""
    turns: list[FaultTurn] = []
    absent = list(late)
    free_from: dict[str, float] = {}
    at = rng.uniform(pace.shortest, pace.longest)
    while at < duration:
        free = [name for name in names if at >= free_from.get(name, 0.0) and name not in absent]
        choice = choices[0] if len(choices) == 1 else rng.choices(choices, [one.weight for one in choices])[0]
        fault = choice.fault(choice.config)
        targets = tuple(fault.choose(free, rng))
        try:
            come = fault.comes(targets, absent)
        except FaultError:  # nobody is there to come
            targets, come = (), ()
        absent = [name for name in absent if name not in come] + sorted(fault.gone(targets))
        free_from |= dict.fromkeys((*targets, *come), at + choice.duration + pace.cooldown)
        turns.append(FaultTurn(at, choice.fault, choice.config, targets, choice.duration))
        at += rng.uniform(pace.shortest, pace.longest)
    return turns
