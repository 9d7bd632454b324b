"""What the deployer `ssh` says of links, by the mechanisms that it may use and can."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from harness.api import Adoption, HostSpec, MachineCapability, NodeSpec, PlannedNode
from harness_agent.nft import Session
from harness_ssh.firewall import Links, beside, capabilities, crowded, wants_relays, wants_rules

CONTROL, DELAY = MachineCapability.LINK_CONTROL, MachineCapability.LINK_DELAY
RATE, LOSS = MachineCapability.LINK_RATE, MachineCapability.LINK_LOSS
ALL = {CONTROL, DELAY, RATE, LOSS}


@pytest.mark.parametrize(
    ("links", "why_not", "offered"),
    [
        ("auto", "", ALL),
        ("auto", "no nft", ALL - {LOSS}),
        ("relay", "", ALL - {LOSS}),
        ("nft", "", {CONTROL, LOSS}),
        ("nft", "no nft", set()),
    ],
)
def test_what_is_offered(links: Links, why_not: str, offered: set[MachineCapability]) -> None:
    can, lacks = capabilities(links, why_not)
    assert can == offered
    assert lacks.keys() == ALL - offered, "a reason is given for each"
    if why_not:
        assert lacks[LOSS] == "takes nft, and no nft"


@pytest.mark.parametrize(
    ("links", "needs", "rules", "relays"),
    [
        ("auto", {CONTROL}, True, False),
        ("auto", {LOSS, CONTROL}, True, False),
        ("auto", {DELAY}, False, True),
        ("auto", {CONTROL, RATE}, True, True),
        ("auto", {MachineCapability.PAUSE}, False, False),
        ("relay", {CONTROL}, False, True),
        ("nft", {CONTROL, DELAY}, True, False),
    ],
)
def test_what_is_set_up(links: Links, needs: set[MachineCapability], rules: bool, relays: bool) -> None:
    wanted = frozenset(needs)
    assert wants_rules(links, wanted) is rules
    assert wants_relays(links, wanted, ruled=rules) is relays
    if links == "auto" and rules:
        assert wants_relays(links, wanted, ruled=False) is not wanted.isdisjoint({CONTROL, DELAY, RATE}), "instead"


def planned(name: str, host: str, adoption: Adoption | None = None) -> PlannedNode:
    return PlannedNode(NodeSpec(name, "v", 0, 0), HostSpec(host, {}), ("p2p",), "p2p", adoption)


def test_addresses_tell_nodes_apart_where_each_has_a_machine() -> None:
    assert crowded([planned("a", "one"), planned("b", "two")]) == ""
    assert "one has several nodes, a and b" in crowded([planned("a", "one"), planned("b", "one")])
    assert "somebody else's" in crowded([planned("a", "one", Adoption({}))])


def test_a_controller_on_a_nodes_machine_is_seen() -> None:
    ours, theirs = ip_address("10.0.0.1"), ip_address("10.0.0.2")
    assert beside([Session.of("10.0.0.9 1 10.0.0.1 22")], {ours, theirs}) == ""
    assert "tunnel" in beside([Session.of("10.0.0.1 1 10.0.0.2 22")], {ours, theirs})
