"""The turns of nemeses as a journal tells them: what was scheduled, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import UsageError
from harness.record.events import FaultSkipped, FaultsScheduled, FaultStaged, PhaseStarted, Recorded
from harness.record.evidence import mechanism_of

ABOUT_TURNS = (PhaseStarted, FaultsScheduled, FaultSkipped, FaultStaged)
"""Events that `turns_taken` looks at."""


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """What became of a turn. `turn` is its index in the schedule of `component`, None for a fault of no schedule.

    `stages` are what its fault came to: seconds since the drive began. `outcome` is its last stage, "skipped", or
    "not reached" for a turn that the run did not come to. `mechanism` is what it was done by (relay, nft, tc), "" where
    its evidence does not say."""

    component: str
    turn: int | None
    at: float
    fault: str
    targets: tuple[str, ...]
    duration: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    outcome: str = "not reached"
    why: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    mechanism: str = ""


def turns_taken(journal: Iterable[Recorded]) -> list[TurnTaken]:
    """Every turn that was scheduled and every fault that was not, by their times."""
    began = 0.0
    turns: dict[tuple[str, int], TurnTaken] = {}
    others: dict[str, TurnTaken] = {}
    keys: dict[str, tuple[str, int]] = {}
    for recorded in journal:
        match recorded.event:
            case PhaseStarted("drive"):
                began = recorded.t
            case FaultsScheduled(component, turns_of_it):
                turns |= {
                    (component, number): TurnTaken(component, number, **scheduled(turn))
                    for number, turn in enumerate(turns_of_it)
                }
            case FaultSkipped(component, number, why) if (component, number) in turns:
                key = component, number
                turns[key] = replace(turns[key], outcome="skipped", why=why)
            case FaultStaged() as staged:
                t = recorded.t - began
                if staged.turn is not None and (staged.by, staged.turn) in turns:
                    keys[staged.id] = staged.by, staged.turn
                if key_of := keys.get(staged.id):
                    turns[key_of] = _staged(turns[key_of], staged, t)
                else:
                    new = TurnTaken(staged.by, None, t, staged.fault, staged.targets, options=staged.options)
                    others[staged.id] = _staged(others.get(staged.id, new), staged, t)
            case _:
                pass
    return sorted((*turns.values(), *others.values()), key=lambda one: one.at)


def _staged(turn: TurnTaken, staged: FaultStaged, t: float) -> TurnTaken:
    return replace(
        turn,
        id=staged.id,
        outcome=staged.stage,
        why=staged.error or turn.why,
        stages={**turn.stages, staged.stage: t},
        mechanism=turn.mechanism or mechanism_of(staged.seen),
    )


def scheduled(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as a journal has it, which may have been written by anybody. Raises UsageError."""
    match turn:
        case {
            "at": int() | float() as at,
            "fault": str(fault),
            "targets": [*targets],
            "options": dict(options),
            "duration": int() | float() as duration,
        } if all(isinstance(target, str) for target in targets):
            return {
                "at": float(at),
                "fault": fault,
                "targets": tuple(targets),
                "options": options,
                "duration": float(duration),
            }
    raise UsageError(f"the journal has a turn of a schedule that is none: {dict(turn)!r}")
