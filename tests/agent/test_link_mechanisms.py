"""Whoever shapes links says by what, also where several share the work."""

from __future__ import annotations

import pytest

from harness.api import CUT, LinkShape, MachineCapability
from harness_agent.nft import NftShaper, Split
from harness_agent.relay import RelayShaper
from harness_agent.tc import Shared, TcShaper

RELAYS = RelayShaper((), lambda machine, sentence: None)
RULES, QUEUES = NftShaper("run", {}), TcShaper({}, {}, ())
LATE, LOSSY, SLOW = LinkShape(delay=0.1, jitter=0.01), LinkShape(loss=0.1), LinkShape(rate=1e6)


@pytest.mark.parametrize(
    ("shape", "split", "shared"),
    [
        (LinkShape(), set(), set()),
        (CUT, {"nft"}, {"nft"}),
        (LOSSY, {"nft"}, {"nft"}),
        (LATE, {"relay"}, {"tc"}),
        (SLOW, {"relay"}, {"relay"}),
        (CUT & LATE & SLOW, {"nft", "relay"}, {"nft", "relay", "tc"}),
    ],
)
def test_by_what(shape: LinkShape, split: set[str], shared: set[str]) -> None:
    """The queues here only delay."""
    parts = {
        MachineCapability.LINK_CONTROL: RULES,
        MachineCapability.LINK_DELAY: QUEUES,
        MachineCapability.LINK_RATE: RELAYS,
    }
    assert Split(RULES, RELAYS).mechanisms(shape) == split
    assert Shared(parts, RELAYS).mechanisms(shape) == shared
