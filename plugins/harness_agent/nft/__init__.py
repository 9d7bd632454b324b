"""Links between nodes that the kernel cuts and loses packets of: nftables on machines that hold one node each, or in
network namespaces of one node each.

`rules` says what the kernel is to do, `survey` who is who on a machine, `shaper` has it done."""

from __future__ import annotations

from harness_agent.nft.rules import IP, Session, address, trial
from harness_agent.nft.shaper import RULES, End, NftShaper, Split
from harness_agent.nft.survey import survey

__all__ = ["IP", "RULES", "End", "NftShaper", "Session", "Split", "address", "survey", "trial"]
