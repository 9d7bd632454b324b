from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.api import NoConfig, Verdict
from harness_checks.safety import Safety
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def forked(world: World, check: Safety, times: tuple[float, float]) -> None:
    """One proposer's two blocks of one height, with these times, on two sides; then all take the first side."""
    await world.capture(check)
    await world.blocks(5)
    left, right = world.nodes["validator-0"].script, world.nodes["validator-1"].script
    for script, hash, time in ((left, "left", times[0]), (right, "right", times[1])):
        block = replace(script.head, height=6, hash=hash, parent=script.head.hash, time=time, proposer="validator-1")
        script.replace([*script.chain, block])
    await world.blocks(0)
    for name in ("validator-1", "executor-0"):
        world.nodes[name].script.replace(left.chain)
    await world.blocks(8)


async def test_two_blocks_for_one_moment_fail(make_world: MakeWorld) -> None:
    world, check = make_world(), Safety(NoConfig())
    async with world.live():
        await forked(world, check, (50.0, 50.0))
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert "validator-1 signed two blocks at height 6" in judgement.measured
    assert set(judgement.evidence["signed_twice"][0]["blocks"]) == {"left", "right"}
    assert len(world.violations) == 1


async def test_a_proposer_who_builds_again_later_is_no_double_signer(make_world: MakeWorld) -> None:
    world, check = make_world(), Safety(NoConfig())
    async with world.live():
        await forked(world, check, (50.0, 51.0))
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.PASS, judgement
    assert "none of 2 blocks signed twice" in judgement.measured


async def test_whom_the_chain_itself_accuses_has_signed_twice(make_world: MakeWorld) -> None:
    world, check = make_world(), Safety(NoConfig())
    async with world.live():
        await world.capture(check)
        await world.blocks(5)
        script = world.nodes["validator-0"].script
        block = replace(script.head, height=6, hash="with evidence", parent=script.head.hash, accused=("validator-1",))
        for node in world.nodes.values():
            node.script.replace([*script.chain[:6], block])
        await world.blocks(8)
        judgement = await world.evaluate(check)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured.startswith("validator-1 signed twice: the evidence is in block 6 of ")
    assert len(world.violations) == 1


async def test_a_fork_beyond_finality_fails_and_nothing_seen_is_unknown(make_world: MakeWorld) -> None:
    world, check = make_world(), Safety(NoConfig())
    async with world.live():
        await world.capture(check)
        assert (await world.evaluate(check, making=False)).verdict is Verdict.UNKNOWN
        for _ in range(6):
            await world.blocks(1, "validator-0", "executor-0")
            await world.blocks(1, "validator-1")
        assert (await world.evaluate(check)).verdict is Verdict.FAIL
