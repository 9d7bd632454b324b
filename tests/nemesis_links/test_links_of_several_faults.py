"""What the proofs of faults on links say where others disturb the same links by other means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest

from harness.api import (
    PLAIN,
    Fault,
    Flow,
    Link,
    LinkShape,
    Reach,
)
from harness_nemesis.bandwidth import Bandwidth, BandwidthConfig
from harness_nemesis.latency import Latency, LatencyConfig
from harness_nemesis.loss import Loss, LossConfig
from tests.nemesis_links.network import World

pytestmark = pytest.mark.anyio

SLOW = LatencyConfig.model_validate({"delay": "50ms"})
LIMIT, SLOWER = LinkShape(rate=1000.0), LinkShape(delay=0.2)


@pytest.mark.parametrize("when", ["before", "while it holds", "afterwards"])
@pytest.mark.parametrize(
    ("fault", "others"),
    [
        (Latency(SLOW), LIMIT),
        (Loss(LossConfig(share=0.4)), LIMIT),
        (Bandwidth(BandwidthConfig(rate=1000)), SLOWER),
    ],
    ids=["latency", "loss", "bandwidth"],
)
async def test_faults_of_several_kinds_on_one_link_are_told_apart(
    fault: Fault[Any], others: LinkShape, when: str
) -> None:
    world = World()

    def do(shape: LinkShape) -> None:
        ways = [flow for link in world.links for flow in (Flow(link.src, link.dst), Flow(link.dst, link.src))]
        world.theirs = dict.fromkeys(ways, shape) if shape != PLAIN else {}

    fault = type(fault)(fault.config)
    do(others if when == "before" else PLAIN)
    await fault.inject(world)
    do(others if when == "while it holds" else PLAIN)
    # What is slower may be others' doing, but for a rise that is this delay's, and a rate that is this one.
    is_theirs = fault.name == "loss" and when != "afterwards"
    assert (await fault.prove(world)).holds is (None if is_theirs else True)
    do(others if when == "afterwards" else PLAIN)
    await fault.heal(world)
    assert (await fault.prove_healed(world)).holds is True


async def test_what_others_make_slow_is_not_taken_for_this_fault() -> None:
    """Nothing is done, or nothing undone, and others slow the same links down by another means."""
    world = World()
    ways = [flow for link in world.links for flow in (Flow(link.src, link.dst), Flow(link.dst, link.src))]
    slow = Latency(SLOW)
    await slow.inject(world)
    world.theirs, world.noise = dict.fromkeys(ways, LIMIT), 0.4  # a queue
    assert (await slow.prove(world)).holds is None
    world.undoes = False
    await slow.heal(world)
    proof = await slow.prove_healed(world)
    assert proof.holds is None and len(cast(list[str], proof.seen["slower by others' doing, or still"])) == 6
    rated = Bandwidth(BandwidthConfig(rate=1000))
    world = World()
    await rated.inject(world)
    world.theirs, world.undoes = dict.fromkeys(ways, SLOWER), False
    await rated.heal(world)
    assert (await rated.prove_healed(world)).holds is None


async def test_a_look_that_noise_spoils_is_looked_again() -> None:
    world, looks = World(), []

    async def reach(links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        looks.append(world.time)
        world.noise = 0.5 if len(looks) <= 5 else 0.0005
        return await World.reach(world, links, patience)

    world.reach = reach  # type: ignore[method-assign]
    slow = Latency(SLOW)
    await slow.inject(world)
    assert len(looks) == 10
    assert (await slow.prove(world)).holds is True


async def test_a_look_at_what_others_are_changing_is_looked_again() -> None:
    world, looks = World(), []

    async def reach(links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        looks.append(world.time)
        if len(looks) == 3:
            world.theirs = dict.fromkeys((Flow(link.src, link.dst) for link in world.links), LIMIT)
        return await World.reach(world, links, patience)

    world.reach = reach  # type: ignore[method-assign]
    slow = Latency(SLOW)
    await slow.inject(world)
    assert (await slow.prove(world)).holds is True
    world.theirs = {}
    await slow.heal(world)
    assert (await slow.prove_healed(world)).holds is True


async def test_more_than_a_rate_tells_that_it_is_gone_whatever_others_did_before() -> None:
    world, rated = World(), Bandwidth(BandwidthConfig(rate=1000))
    ways = [flow for link in world.links for flow in (Flow(link.src, link.dst), Flow(link.dst, link.src))]
    world.theirs = dict.fromkeys(ways, LinkShape(rate=100.0))
    await rated.inject(world)
    proof = await rated.prove(world)
    assert (proof.holds, proof.seen["bytes a second measured"]) == (None, {}), "that would take ten times as long"
    world.theirs = {}
    await rated.heal(world)
    assert (await rated.prove_healed(world)).holds is True
