"""What the proofs of faults on links say, by a network in memory that does what it is told, or does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest
from pydantic import ValidationError

from harness.api import (
    CUT,
    Fault,
    Flow,
    Link,
    LinkShape,
    NodeState,
)
from harness.engine.wiring import Wiring
from harness_nemesis.bandwidth import Bandwidth, BandwidthConfig
from harness_nemesis.block_peer import BlockPeer, BlockPeerConfig
from harness_nemesis.latency import Latency, LatencyConfig
from harness_nemesis.loss import Loss, LossConfig, binomial, fisher
from harness_nemesis.partition import Partition, PartitionConfig
from tests.nemesis_links.network import FULL, World

pytestmark = pytest.mark.anyio

SLOW = LatencyConfig.model_validate({"delay": "50ms"})
STAR = [(one, 0) for one in range(1, 4)]


async def through(fault: Fault[Any], world: World) -> tuple[bool | None, bool | None]:
    """Inject, prove, heal, prove healed."""
    await fault.inject(world)
    proof = await fault.prove(world)
    await fault.heal(world)
    await fault.heal(world)
    return proof.holds, (await fault.prove_healed(world)).holds


def faults() -> list[Fault[Any]]:
    return [
        Partition(PartitionConfig()),
        Partition(PartitionConfig(shape="asymmetric")),
        BlockPeer(BlockPeerConfig()),
        Latency(SLOW),
        Loss(LossConfig(share=0.3)),
    ]


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: str(fault.name))
async def test_what_is_done_and_undone_is_proven(fault: Fault[Any]) -> None:
    world = World()
    assert await through(fault, world) == (True, True)
    assert world.mine == {}


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: str(fault.name))
async def test_links_that_nothing_is_done_to(fault: Fault[Any]) -> None:
    world = World()
    world.obeys = False
    assert (await through(fault, world))[0] is False


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: str(fault.name))
async def test_links_that_are_not_put_back(fault: Fault[Any]) -> None:
    world = World()
    world.undoes = False
    assert await through(fault, world) == (True, False)


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: str(fault.name))
async def test_machines_that_cannot_be_asked(fault: Fault[Any]) -> None:
    world = World()
    await fault.inject(world)
    world.mute = set(world.fake)
    assert (await fault.prove(world)).holds is None
    await fault.heal(world)
    assert (await fault.prove_healed(world)).holds is None


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: str(fault.name))
async def test_what_was_not_there_before_is_not_judged(fault: Fault[Any]) -> None:
    world = World()
    for node in world.fake.values():
        node.state = NodeState.EXITED
    assert await through(fault, world) == (None, None)


async def test_a_target_that_dies_is_not_judged_and_the_others_are() -> None:
    world = World()
    fault = Partition(PartitionConfig())
    await fault.inject(world)
    world.fake["validator-3"].state = NodeState.EXITED
    assert (await fault.prove(world)).holds is True
    await fault.heal(world)
    proof = await fault.prove_healed(world)
    assert proof.holds is True
    assert proof.seen["reached again"] == "3 of 3 links that could be judged"


async def test_a_partition_that_cuts_too_much() -> None:
    world = World()
    fault = Partition(PartitionConfig())
    await fault.inject(world)
    world.mine = {**world.mine, Flow("validator-0", "validator-1"): CUT}
    proof = await fault.prove(world)
    assert proof.holds is False
    assert proof.seen["lost though not to be cut"] == ["validator-1 → validator-0"]


async def test_a_cut_that_spares_one_link() -> None:
    world = World()
    fault = Partition(PartitionConfig())
    await fault.inject(world)
    world.mine = {
        flow: shape for flow, shape in world.mine.items() if {flow.src, flow.dst} != {"validator-0", "validator-3"}
    }
    proof = await fault.prove(world)
    assert (proof.holds, proof.seen["not cut"]) == (False, ["validator-3 → validator-0"])


async def test_a_symmetric_cut_that_lets_connections_be_made() -> None:
    world = World()
    fault = Partition(PartitionConfig())
    await fault.inject(world)
    world.mine = {flow: shape for flow, shape in world.mine.items() if flow.src < flow.dst}
    assert (await fault.prove(world)).holds is False


async def test_what_other_faults_do_is_not_judged() -> None:
    """Others cut links before and during, and mend theirs after this one has been healed."""
    world = World()
    fault = Partition(PartitionConfig())
    await fault.inject(world)
    world.theirs = {Flow("validator-0", "validator-1"): CUT, Flow("validator-1", "validator-0"): CUT}
    assert (await fault.prove(world)).holds is True
    await fault.heal(world)
    proof = await fault.prove_healed(world)
    assert (proof.holds, proof.seen["reached again"]) == (True, "5 of 5 links that could be judged")
    slow = Latency(SLOW)
    world.theirs = {flow: LinkShape(rate=1000) for link in world.links for flow in [Flow(link.src, link.dst)]}
    await slow.inject(world)
    world.theirs = {}
    assert (await slow.prove(world)).holds is True, "a rate that is gone makes nothing slower"


async def test_what_is_being_done_to_links_is_not_relied_upon() -> None:
    flow, seen = Flow("a", "b"), []

    class Deployed:
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            seen.append((wiring.others("mine"), wiring.others("theirs")))

    wiring = Wiring((), {})
    wiring.deployment = cast(Any, Deployed())
    slow = LinkShape(delay=0.1)
    await wiring.shape("theirs", {flow: slow})
    assert wiring.others("mine") == {flow: slow}
    await wiring.shape("theirs", {})
    assert wiring.others("mine") == {}
    assert [mine[flow].cut for mine, _ in seen] == [True, True]
    assert [theirs for _, theirs in seen] == [{}, {}]


@pytest.mark.parametrize("then", [0.0, 0.08])
@pytest.mark.parametrize("later", [0.0, 0.2])
@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("kind", ["latency", "loss"])
async def test_delays_that_others_add_are_taken_off(then: float, later: float, obeys: bool, kind: str) -> None:
    world = World()
    slow = Latency(SLOW) if kind == "latency" else Loss(LossConfig(share=0.3))

    def others(delay: float) -> dict[Flow, LinkShape]:
        return {Flow(link.dst, link.src): LinkShape(delay=delay) for link in world.links} if delay else {}

    world.obeys, world.undoes = obeys, obeys
    world.theirs = others(then)
    await slow.inject(world)
    world.theirs = others(later)
    assert (await slow.prove(world)).holds is obeys
    if obeys:
        world.undoes = False
        await slow.heal(world)
        assert (await slow.prove_healed(world)).holds is False
        world.undoes = True
        await slow.heal(world)
        world.theirs = others(then)
        assert (await slow.prove_healed(world)).holds is True


BETWEEN = {"matrix": {"eu": {"us": "40ms", "eu": "0s"}}, "zones": {"eu": "validator-1", "us": "validator-[23]"}}
ONE_ZONE = {"matrix": {"eu": {"eu": "5ms"}}, "zones": {"eu": "validator-[12]"}}


@pytest.mark.parametrize(
    ("fault", "targets", "links", "told"),
    [
        (
            Partition(PartitionConfig(grudge={"validator-1": ("validator-2",)})),
            "012",
            STAR,
            "validator-2 to validator-1",
        ),
        (Latency(LatencyConfig.model_validate(BETWEEN)), "0123", STAR, "eu to us"),
        (Latency(LatencyConfig.model_validate(ONE_ZONE)), "12", STAR, "eu to eu"),
        (Latency(SLOW), "3", [(1, 0)], "traffic of validator-3"),
        (Loss(LossConfig(share=0.3)), "0", [], "traffic of validator-0"),
        (Bandwidth(BandwidthConfig(rate=1000)), "23", [(1, 0)], "traffic of validator-2, traffic of validator-3"),
    ],
)
def test_what_no_link_carries(fault: Fault[Any], targets: str, links: list[tuple[int, int]], told: str) -> None:
    names = [f"validator-{number}" for number in targets]
    powers = {f"validator-{number}": 1 for number in range(4)}

    def why(ends: Iterable[tuple[int, int]]) -> str:
        return fault.pointless(names, powers, [Link(f"validator-{a}", f"validator-{b}") for a, b in ends])

    assert why(links) == f"it would change nothing: no link of this network carries what it is to disturb ({told})"
    assert why(FULL) == ""


async def test_what_nothing_was_done_to_is_healed() -> None:
    world, fault = World(), Partition(PartitionConfig())
    await fault.heal(world)
    assert (await fault.prove_healed(world)).holds is True


async def test_delays_by_zones() -> None:
    world = World()
    config = {
        "matrix": {"eu": {"us": "40ms", "eu": "5ms"}, "us": {"eu": "60ms"}, "ap": {"eu": "100ms"}},
        "zones": {"eu": "validator-[01]", "us": "validator-2", "ap": "validator-3"},
    }
    fault = Latency(LatencyConfig.model_validate(config))
    await fault.inject(world)
    delays = {(flow.src[-1], flow.dst[-1]): shape.delay for flow, shape in world.mine.items()}
    assert delays == {
        ("0", "1"): 0.005, ("1", "0"): 0.005, ("0", "2"): 0.04, ("1", "2"): 0.04, ("2", "0"): 0.06, ("2", "1"): 0.06,
        ("3", "0"): 0.1, ("3", "1"): 0.1, ("0", "3"): 0.1, ("1", "3"): 0.1,
    }  # fmt: skip
    proof = await fault.prove(world)
    assert proof.holds is True
    assert proof.seen["links judged"] == 5
    one_slow = Latency(SLOW)
    alone = World(targets=[0])
    await one_slow.inject(alone)
    assert {
        link for flow in alone.mine for link in (flow.src, flow.dst) if "validator-0" not in (flow.src, flow.dst)
    } == set()
    assert len(alone.mine) == 6


async def test_a_delay_that_one_link_is_spared() -> None:
    world = World()
    fault = Latency(SLOW)
    await fault.inject(world)
    spared = {"validator-0", "validator-3"}
    world.mine = {flow: shape for flow, shape in world.mine.items() if {flow.src, flow.dst} != spared}
    proof = await fault.prove(world)
    assert (proof.holds, proof.seen["not delayed"]) == (False, ["validator-3 → validator-0"])


async def test_noise_hides_a_small_delay() -> None:
    world = World()
    world.noise = 0.2
    world.obeys = False
    fault = Latency(LatencyConfig.model_validate({"delay": "5ms"}))
    await fault.inject(world)
    assert (await fault.prove(world)).holds is not False


async def test_a_small_loss_cannot_be_told() -> None:
    world = World()
    world.obeys = False
    fault = Loss(LossConfig(share=0.001))
    await fault.inject(world)
    assert (await fault.prove(world)).holds is None


@pytest.mark.parametrize(
    ("usual", "obeys", "undoes", "told"),
    [
        (1e6, True, True, (True, True)),
        (1e6, False, True, (False, True)),
        (1e6, True, False, (True, False)),
        (1500.0, True, True, (None, True)),  # it was hardly faster before; now more passes than would
        (None, True, True, (None, None)),  # it cannot be measured
    ],
)
async def test_a_rate_is_proven_by_what_passes(
    usual: float | None,
    obeys: bool,
    undoes: bool,
    told: tuple[bool | None, bool | None],
) -> None:
    world = World()
    world.usual, world.obeys, world.undoes = usual, obeys, undoes
    assert await through(Bandwidth(BandwidthConfig(rate=1000)), world) == told


async def test_a_rate_that_others_bring_about_tells_nothing() -> None:
    world, fault = World(), Bandwidth(BandwidthConfig(rate=1000))
    await fault.inject(world)
    world.usual = 300.0
    assert (await fault.prove(world)).holds is None, "slower than was asked"
    world.theirs = {Flow(link.src, link.dst): LinkShape(rate=1000) for link in world.links}
    world.theirs |= {Flow(link.dst, link.src): LinkShape(rate=1000) for link in world.links}
    world.usual = 1e6
    assert (await fault.prove(world)).holds is None, "another fault does the same"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "write a delay"),
        ({"delay": "10ms", "jitter": "20ms"}, "jitter is more"),
        ({"delay": "90s"}, "60"),
        ({"delay": "1s", "matrix": {"a": {"a": "1s"}}, "zones": {"a": "all"}}, "write one"),
        ({"matrix": {"a": {"b": "1s"}}, "zones": {"a": "all"}}, 'no zone is called "b"'),
        ({"matrix": {"a": {"a": "0s"}}, "zones": {"a": "all"}}, "write a delay"),
        ({"delay": "1s", "zones": {"a": "all"}}, "zones are for"),
    ],
)
def test_latencies_that_make_no_sense(options: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LatencyConfig.model_validate(options)


def test_probabilities() -> None:
    """Against R: fisher.test(matrix(c(8, 2, 1, 5), 2), alternative = "greater"), pbinom(2, 10, 0.5)."""
    assert fisher(8, 10, 1, 6) == pytest.approx(0.02448, abs=1e-5)
    assert binomial(2, 10, 0.5) == pytest.approx(0.0546875)
    assert fisher(0, 0, 0, 0) == binomial(0, 0, 0.5) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.91, 1.0, 1.5])
def test_losing_all_is_a_cut_and_no_loss(share: float) -> None:
    """It would take nothing from the fault budget."""
    with pytest.raises(ValidationError):
        Loss.Config.model_validate({"share": share})
