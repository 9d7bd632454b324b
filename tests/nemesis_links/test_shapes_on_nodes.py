"""Every shape of a partition on real nodes: who reaches whom while it holds, and again when it is healed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.real]

V0, V1, V2, V3, X = (*(f"validator-{number}" for number in range(4)), "executor-0")
VALIDATORS = (V0, V1, V2, V3)
ONE_WAY = {"asymmetric"}


def between(*sides: Sequence[str]) -> set[frozenset[str]]:
    """All pairs of nodes of different sides."""
    return {frozenset((a, b)) for one, other in itertools.combinations(sides, 2) for a in one for b in other}


def reached(seen: Mapping[str, Any]) -> dict[frozenset[str], bool]:
    """The reach matrix of a proof: which pairs of nodes, and whether the one answered the other now."""
    return {
        frozenset(pair.split(" → ")): told["now"].startswith("answers")
        for pair, told in seen["reach"].items()
        if " → " in pair
    }


@pytest.mark.parametrize(
    ("targets", "options", "cut"),
    [
        ((V2,), {"shape": "isolate"}, between([V2], [V0, V1, V3, X])),
        (VALIDATORS, {"shape": "halves"}, between([V0, V1, X], [V2, V3])),
        ((V0, V1, X), {"shape": "halves"}, between([V0, V2, V3, X], [V1])),
        (VALIDATORS, {"shape": "majority-minority"}, between([V0], [V1, V2, V3, X])),
        (VALIDATORS, {"shape": "bridge"}, between([V0, V1, X], [V2])),
        (VALIDATORS, {"shape": "majorities-ring"}, between([V0], [V2]) | between([V1], [V3]) | between([X], [V2])),
        (VALIDATORS, {"shape": "asymmetric"}, between([V0, V1, X], [V2, V3])),
        ((), {"role": "executor"}, between([X], VALIDATORS)),
        ((), {"groups": [[V0], ["validator-[12]"], [V3, X]]}, between([V0], [V1, V2], [V3, X])),
        ((), {"grudge": {V0: [V1], X: ["validator-[23]"]}}, between([V0], [V1]) | between([X], [V2, V3])),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
async def test_who_reaches_whom(
    stage: Any, targets: Sequence[str], options: Mapping[str, Any], cut: set[frozenset[str]]
) -> None:
    finished = await stage.run("partition", *targets, executors=1, **options)
    assert stage.stages == ["intended", "injected", "proven", "healing", "healed"], finished.outcome
    during, after = reached(stage.seen["proven"]), reached(stage.seen["healed"])
    assert len(during) == len(after) == 10, "five nodes are linked with one another"
    assert {pair for pair, answers in during.items() if not answers} == cut
    assert all(after.values())
