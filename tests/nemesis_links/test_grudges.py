"""Grudges: what each shape is made of, whatever the nodes and their powers."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import CUT, FaultError, Flow, Link, UsageError
from harness.cli.plugins import doc_lines
from harness.engine.budget import FaultBudget, Toll, connected
from harness.plugin.discovery import Kind
from harness_nemesis import grudge as grudges
from harness_nemesis.block_peer import BlockPeer, BlockPeerConfig
from harness_nemesis.partition import DRAWN, Partition, PartitionConfig

SYMMETRIC = ("isolate", "halves", "majority-minority", "bridge", "majorities-ring")


def partition(**options: Any) -> Partition:
    return Partition(PartitionConfig.model_validate(options))


def even(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


def numbered(count: int, role: str = "validator") -> list[str]:
    return [f"{role}-{number}" for number in range(count)]


@st.composite
def networks(draw: st.DrawFn, least: int = 2) -> tuple[list[str], dict[str, int]]:
    """Targets in any order, and all nodes' powers."""
    names = numbered(draw(st.integers(least, 9)))
    others = numbered(draw(st.integers(0, 3)), "executor")
    powers = {name: draw(st.integers(0, 5)) for name in (*names, *others)}
    return draw(st.permutations(names)), powers


def components(grudge: grudges.Grudge) -> list[frozenset[str]]:
    """Who still reaches whom where everybody is linked with everybody."""
    pairs = itertools.combinations(grudge, 2)
    return connected(tuple(grudge), [Link(a, b) for a, b in pairs if a not in grudge[b] and b not in grudge[a]])


def out(fault: Partition | BlockPeer, targets: Sequence[str], powers: Mapping[str, int]) -> frozenset[str]:
    """Who is out of consensus by it, in a network in which all are linked."""
    links = [Link(a, b) for a, b in itertools.combinations(powers, 2)]
    budget = FaultBudget(powers, Fraction(1, 2), links=links)
    return budget.lost(Toll(fault.downs(targets, powers), frozenset(fault.cuts(targets, powers))))


def hears(grudge: grudges.Grudge, name: str) -> frozenset[str]:
    return frozenset(grudge) - grudge[name]


@pytest.mark.parametrize("shape", [*SYMMETRIC, "asymmetric"])
@given(network=networks(4))
def test_every_shape_covers_all_nodes_and_cuts_nobody_from_itself(shape: str, network: Any) -> None:
    targets, powers = network
    try:
        grudge = partition(shape=shape).grudge(targets, powers)
    except FaultError as error:
        assert shape == "majorities-ring", error
        return
    assert list(grudge) == list(powers)
    assert all(name not in dropped and dropped <= powers.keys() for name, dropped in grudge.items())
    assert grudges.is_symmetric(grudge) == (shape != "asymmetric")
    assert any(grudge.values())
    assert grudge == partition(shape=shape).grudge(list(targets), dict(powers))
    assert set(grudges.flows(grudge).values()) == {CUT}


@given(networks(4))
def test_a_ring_gives_each_target_a_majority_of_its_own(network: Any) -> None:
    targets, powers = network
    weights = powers if any(powers[one] for one in targets) else dict.fromkeys(powers, 1)
    try:
        grudge = grudges.majorities_ring(targets, powers)
    except FaultError:
        # Some window that leaves out one or two targets has no majority: somebody has very much power, or all that is.
        width = 2 * (len(targets) // 2 - 1) + 1
        windows = [[targets[(at + step) % len(targets)] for step in range(width)] for at in range(len(targets))]
        assert min(sum(weights[one] for one in window) for window in windows) * 2 <= sum(
            weights[one] for one in targets
        )
        return
    seen = [hears(grudge, one) & set(targets) for one in targets]
    assert len(set(seen)) == len(targets)
    total = sum(weights[one] for one in targets)
    assert all(2 * sum(weights[one] for one in them) > total for them in seen)


@pytest.mark.parametrize(("count", "each"), [(4, 3), (5, 3), (6, 5), (7, 5), (9, 5)])
def test_a_ring_of_equals(count: int, each: int) -> None:
    grudge = grudges.majorities_ring(numbered(count), even(*numbered(count)))
    assert {len(hears(grudge, name)) for name in grudge} == {each}


@given(networks(2))
def test_a_minority_has_less_than_a_third_or_is_one(network: Any) -> None:
    targets, powers = network
    grudge = grudges.majority_minority(targets, powers)
    majority, minority = sorted(components(grudge), key=lambda one: bool(one & set(targets[:1])))
    weights = powers if any(powers[one] for one in targets) else dict.fromkeys(powers, 1)
    sides = sorted((majority, minority), key=lambda one: sum(weights[name] for name in one))
    share = sum(weights[name] for name in sides[0]) / sum(weights.values())
    assert share < 1 / 3 or min(len(majority), len(minority)) == 1
    if min(weights[one] for one in targets if weights[one]) < sum(weights.values()) / 3:
        assert share < 1 / 3, "somebody has so little"


def test_shapes_by_example() -> None:
    names = numbered(5)
    powers = even(*names, "executor-0")
    a, b, c, d, e = names
    parted = {shape: components(partition(shape=shape).grudge(names, powers)) for shape in SYMMETRIC}
    assert parted["halves"] == [{a, b, c, "executor-0"}, {d, e}]
    assert parted["majority-minority"] == [{a}, {b, c, d, e, "executor-0"}]
    assert parted["bridge"] == parted["majorities-ring"] == [powers.keys()]
    bridge = partition(shape="bridge").grudge(names, powers)
    assert hears(bridge, e) == powers.keys()
    assert hears(bridge, a) == hears(bridge, "executor-0") == {a, b, e, "executor-0"}
    assert hears(bridge, c) == {c, d, e}
    alone = partition(shape="isolate").grudge([b], powers)
    assert components(alone) == [powers.keys() - {b}, {b}]
    deaf = partition(shape="asymmetric").grudge([a, b], even(a, b))
    assert grudges.flows(deaf) == {Flow(b, a): CUT}
    assert components(deaf) == [{a}, {b}]


def test_four_equals_are_parted_three_to_one() -> None:
    names = numbered(4)
    three_one = partition(shape="majority-minority")
    assert len(out(three_one, names, even(*names))) == 1
    assert len(out(partition(shape="halves"), names, even(*names))) == 2


def test_where_powers_differ_they_count_and_not_the_nodes() -> None:
    a, b, c, d = names = numbered(4)
    mighty = {a: 97, b: 1, c: 1, d: 1}
    assert components(partition(shape="halves").grudge(names, mighty)) == [{a}, {b, c, d}]
    assert components(partition(shape="majority-minority").grudge(names, mighty)) == [{a}, {b, c, d}]
    assert out(partition(shape="majority-minority"), names, mighty) == {b, c, d}
    uneven = {a: 40, b: 30, c: 20, d: 10}
    assert components(partition(shape="halves").grudge(names, uneven)) == [{a, d}, {b, c}]
    with_others = {**even(*names), "executor-0": 0, "executor-1": 0}
    halves = components(partition(shape="halves").grudge(list(with_others), with_others))
    assert halves == [{a, b, "executor-0"}, {c, d, "executor-1"}]


@given(networks(2))
def test_halves_are_as_even_as_can_be_by_moving_one(network: Any) -> None:
    """No node could go over without making the other side the heavier one. The deaf half is the first."""
    targets, powers = network
    grudge = partition(shape="asymmetric").grudge(targets, powers)
    sides = [one for one in targets if grudge[one]], [one for one in targets if not grudge[one]]
    assert all(sides)
    (light, _), (heavy, side) = sorted((sum(powers[one] for one in side), side) for side in sides)
    assert all(light + powers[one] >= heavy - powers[one] for one in side if powers[one])
    if len({powers[one] for one in targets}) == 1:
        assert len(sides[0]) == (len(targets) + 1) // 2
    parted = components(partition(shape="halves").grudge(targets, powers))
    assert {frozenset(part & set(targets)) for part in parted} == set(map(frozenset, sides))


def test_groups_roles_and_grudges_as_written() -> None:
    powers = even(*numbered(3), *numbered(2, "executor"))
    by_role = partition(role="executor").grudge((), powers)
    assert components(by_role) == [set(numbered(3)), set(numbered(2, "executor"))]
    groups = partition(groups=[["validator-[01]"], ["validator-2", "executor-0"]]).grudge((), powers)
    assert components(groups) == [{"validator-0", "validator-1", "executor-1"}, {"validator-2", "executor-0"}]
    one_way = partition(grudge={"validator-0": ["validator-1", "validator-0"]}).grudge((), powers)
    assert grudges.flows(one_way) == {Flow("validator-1", "validator-0"): CUT}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"groups": [["validator-0"], ["validator-*"]]}, "validator-0 is in two"),
        ({"groups": [["validator-7"]]}, '"validator-7" matches no node'),
        ({"role": "seed"}, '"seed" matches no node'),
        ({"grudge": {"validator-0": ["nobody"]}}, '"nobody" matches no node'),
    ],
)
def test_names_of_nobody_are_told(options: Mapping[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("[", "\\[")):
        partition(**options).grudge((), even(*numbered(3)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"groups": [["all"]]}, ("groups: it parts nobody from anybody",)),
        ({"role": "validator"}, ("role: it parts nobody from anybody",)),
        ({"grudge": {"validator-0": ["validator-0"]}}, ("grudge: it parts nobody from anybody",)),
        ({"grudge": {"validator-0": ["validator-1"]}}, ()),
        ({"groups": [["validator-0"], ["validator-1"]]}, ()),
    ],
)
def test_a_partition_that_parts_nobody_is_told_in_plan(options: Mapping[str, Any], told: tuple[str, ...]) -> None:
    view: Any = SimpleNamespace(node_names=numbered(3))
    assert partition(**options).check(view) == told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shape": "role"}, "needs the option role"),
        ({"shape": "halves", "role": "executor"}, "role is for"),
        ({"role": "executor", "groups": [["validator"]]}, "groups is for"),
        ({"shape": "thirds"}, "halves"),
    ],
)
def test_options_that_contradict(options: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        partition(**options)


@given(st.sampled_from(sorted(DRAWN)), st.integers(0, 9), st.integers())
def test_a_nemesis_draws_enough_or_nobody(shape: str, count: int, seed: int) -> None:
    free = numbered(count)
    fault = partition(shape=shape)
    chosen = fault.choose(free, random.Random(seed))
    assert chosen == fault.choose(free, random.Random(seed))
    assert set(chosen) <= set(free)
    assert len(chosen) == (0 if count < DRAWN[shape][0] else 1 if shape == "isolate" else count)


@given(networks(2), st.sampled_from(sorted(DRAWN)))
def test_whoever_goes_on_has_the_most_power(network: tuple[Sequence[str], dict[str, int]], shape: str) -> None:
    targets, powers = network
    try:
        fault = partition(shape=shape)
        down, parts = out(fault, targets, powers), components(fault.grudge(targets, powers))
    except FaultError:
        return
    main = powers.keys() - down
    assert main in parts
    assert all(sum(powers[n] for n in one) <= sum(powers[n] for n in main) for one in parts)


def test_a_blocked_peer_is_named_or_drawn() -> None:
    names = numbered(4)

    def blocked(**options: str) -> BlockPeer:
        return BlockPeer(BlockPeerConfig.model_validate(options))

    both = blocked(**{"from": "validator-2", "to": "validator-0"})
    assert grudges.flows(both.grudge((), even(*names))) == {Flow("validator-2", "validator-0"): CUT}
    assert both.choose(names, random.Random(1)) == ("validator-2", "validator-0")
    assert both.choose(names[1:], random.Random(1)) == ()
    assert out(both, (), even(*names)) == frozenset()
    assert both.config.model_dump(mode="json", exclude_defaults=True) == {"from": "validator-2", "to": "validator-0"}
    drawn = blocked().choose(names, random.Random(1))
    assert len(set(drawn)) == 2
    assert grudges.flows(blocked().grudge(drawn, even(*names))) == {Flow(*drawn): CUT}
    to = blocked(to="validator-3")
    assert grudges.flows(to.grudge(["validator-3", "validator-1"], even(*names))) == {
        Flow("validator-1", "validator-3"): CUT
    }
    with pytest.raises(FaultError, match="two nodes"):
        blocked().grudge(["validator-0"], even(*names))
    with pytest.raises(ValueError, match="dial itself"):
        blocked(**{"from": "validator-0", "to": "validator-0"})


def test_options_are_documented_as_they_are_written() -> None:
    told = "\n".join(doc_lines(Kind.FAULT, BlockPeer))
    assert re.search(r"^    from +text +default \"\"$", told, re.MULTILINE)
