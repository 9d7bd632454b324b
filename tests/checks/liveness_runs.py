"""Runs that `consensus-liveness` judges."""

from __future__ import annotations

from typing import Any

import anyio

from harness.api import Judgement
from harness_checks.liveness import ConsensusLiveness
from tests.observe.world import World


def liveness(**options: Any) -> ConsensusLiveness:
    return ConsensusLiveness(ConsensusLiveness.Config(**options))


async def begin(world: World, **options: Any) -> ConsensusLiveness:
    """A few blocks, the baseline, and the beginning of the drive."""
    check = liveness(**options)
    await world.blocks(5)
    await world.capture(check)
    world.begin()
    return check


async def end(world: World, check: ConsensusLiveness, *, making: bool = True) -> Judgement:
    await anyio.wait_all_tasks_blocked()
    world.end()
    return await world.evaluate(check, making=making)
