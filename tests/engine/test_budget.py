"""What faults together take out of consensus: by power, and by who still reaches whom over the network's links."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.budget import FaultBudget, Toll, connected
from harness.spec.links import Flow
from harness.spec.model import TopologySpec
from harness.spec.topology import LAYOUTS, Link, build_topology

A, B, C, D, E = (f"validator-{number}" for number in range(5))


def network(
    layout: str, count: int = 4, *, tolerance: Fraction = Fraction(1, 3), unlimited: bool = False, **powers: int
) -> FaultBudget:
    topology = build_topology(TopologySpec(layout, {"validator": count}), random.Random(1))
    weights = {node.name: powers.get(node.name.replace("-", "_"), 1) for node in topology.nodes}
    return FaultBudget(weights, tolerance, unlimited, links=topology.links)


def down(*names: str) -> Toll:
    return Toll(frozenset(names))


def apart(ones: Sequence[str], others: Sequence[str], *, one_way: bool = False) -> Toll:
    flows = {Flow(a, b) for a in ones for b in others}
    return Toll(cut=frozenset(flows if one_way else flows | {Flow(flow.dst, flow.src) for flow in flows}))


def alone(name: str, budget: FaultBudget) -> Toll:
    return apart([name], [other for other in budget.powers if other != name])


@st.composite
def networks(draw: st.DrawFn) -> FaultBudget:
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    count = draw(st.integers(1, 7))
    topology = build_topology(TopologySpec(layout, {"validator": count}), random.Random(draw(st.integers(0, 9))))
    powers = {node.name: draw(st.integers(0, 4)) for node in topology.nodes}
    return FaultBudget(powers, Fraction(1, 3), links=topology.links)


@st.composite
def tolls(draw: st.DrawFn, budget: FaultBudget) -> Toll:
    names = st.sampled_from(sorted(budget.powers))
    flows = st.builds(Flow, names, names)
    return Toll(draw(st.frozensets(names, max_size=3)), draw(st.frozensets(flows, max_size=12)))


def test_the_middle_of_a_star_takes_all_others_with_it_and_its_ends_only_themselves() -> None:
    star = network("star", 5)
    assert star.lost(alone(A, star)) == {B, C, D, E}
    assert star.lost(alone(C, star)) == {C}
    assert star.refuses("it", alone(A, star))
    assert not star.refuses("it", alone(C, star))
    assert network("full", 5).lost(alone(A, star)) == {A}


def test_a_chain_is_parted_where_it_is_cut() -> None:
    chain = network("chain", 5)
    assert chain.lost(apart([B], [C])) == {A, B}
    assert chain.lost(apart([C], [D])) == {D, E}
    assert chain.lost(apart([A], [E])) == frozenset(), "there is no such link"


def test_a_connection_needs_both_ways() -> None:
    chain = network("chain", 3)
    assert chain.lost(apart([A], [B], one_way=True)) == {A}
    full = network("full", 4)
    assert full.lost(apart([A], [B], one_way=True)) == frozenset(), "they reach each other by the others"
    assert full.lost(apart([A, B], [C, D], one_way=True)) == {C, D}


def test_several_faults_add_up() -> None:
    ring = network("ring", 5)
    one, other = apart([A], [B]), apart([C], [D])
    assert ring.lost(one) == ring.lost(other) == frozenset()
    assert ring.lost(one | other) == {B, C}
    assert not ring.refuses("it", one)
    assert "2 of 5 of the voting power would be out, and less than 1/3 may be" in ring.refuses("it", other, one)
    assert ring.lost(one | down(E)) == {A, E}, "A was linked with E yet"
    assert "out of consensus already" in ring.refuses("it", down(A), apart([A], [B, C, D, E]))
    assert "out of consensus already" in ring.refuses("it", down(A), down(A))


def test_who_has_died_counts_and_a_fault_that_takes_no_more_than_that_may_be() -> None:
    full = network("full", 4, validator_3=0)
    assert full.refuses("it", down(B), dead=[A])
    assert not full.refuses("it", down(D), dead=[A, B]), "it has no power"
    assert not full.refuses("it", Toll(), dead=[A, B, C])
    assert not network("full", 4, unlimited=True).refuses("it", down(A, B, C))


def test_the_greater_part_goes_on_by_power_and_not_by_nodes() -> None:
    chain = network("chain", 4, validator_3=9)
    assert chain.lost(apart([C], [D])) == {A, B, C}
    assert chain.refuses("it", down(D)) and not chain.refuses("it", apart([C], [D]))
    outside = FaultBudget({A: 1, B: 1}, Fraction(1, 3), others=8, links=[Link(B, A)])
    assert not outside.refuses("it", apart([A], [B])), "most of the power is none of ours"


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_node_that_is_down_counts_by_itself_while_no_link_is_cut(layout: str) -> None:
    assert all(network(layout, 5).lost(down(name)) == {name} for name in (A, B, E))


@given(st.data(), networks())
def test_more_faults_never_lose_less_power(data: st.DataObject, budget: FaultBudget) -> None:
    one, other = data.draw(tolls(budget)), data.draw(tolls(budget))
    both = budget.power(budget.lost(one | other))
    assert both >= max(budget.power(budget.lost(one)), budget.power(budget.lost(other)))
    assert budget.lost(one | other) >= one.down | other.down


@given(st.data(), networks())
def test_who_is_left_runs_and_reaches_one_another(data: st.DataObject, budget: FaultBudget) -> None:
    """Found in another way: by spreading from one of them until nothing is new."""
    toll = data.draw(tolls(budget))
    left = budget.powers.keys() - budget.lost(toll)
    assert not left & toll.down
    usable = {
        (link.src, link.dst)
        for link in budget.links
        if not toll.cut & {Flow(link.src, link.dst), Flow(link.dst, link.src)}
    }
    if len(usable) == len(budget.links):
        assert left == budget.powers.keys() - toll.down
        return
    running = budget.powers.keys() - toll.down
    reached = {name: {name} for name in running}
    for _ in running:
        for a, b in usable:
            if a in running and b in running:
                for whom in reached.values():
                    if whom & {a, b}:
                        whom |= {a, b}
    assert all(reached[name] == left for name in left)
    assert all(budget.power(part) <= budget.power(left) for part in reached.values())


@given(st.data(), networks())
def test_what_is_refused_is_beyond_the_tolerance_or_out_already(data: st.DataObject, budget: FaultBudget) -> None:
    toll, held = data.draw(tolls(budget)), data.draw(tolls(budget))
    why = budget.refuses("it", toll, held)
    power = budget.power(budget.lost(toll | held))
    if not why:
        assert power == budget.power(budget.lost(held)) or Fraction(power, budget.total) < budget.tolerance
    elif "out of consensus already" not in why:
        assert Fraction(power, budget.total) >= budget.tolerance
    assert not FaultBudget(budget.powers, budget.tolerance, True, 0, budget.links).refuses("it", toll)


@given(networks())
def test_parts_are_of_all_nodes_each_once(budget: FaultBudget) -> None:
    parts = connected(tuple(budget.powers), budget.links)
    assert sorted(name for part in parts for name in part) == sorted(budget.powers)
    assert len(parts) == 1, "layouts are connected"
    assert len(connected(tuple(budget.powers), ())) == len(budget.powers)
