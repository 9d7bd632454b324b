"""The fault `bandwidth`: no more than so many bytes a second pass."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from harness.api import FaultContext, Flow, LinkShape, MachineCapability, Size
from harness_nemesis.looking import both_ways
from harness_nemesis.shaping import LinkConfig, LinkFault


class BandwidthConfig(LinkConfig):
    """`rate`: bytes a second, each way of each link."""

    rate: Size = Field(gt=0)


class Bandwidth(LinkFault[BandwidthConfig]):
    """No more than `rate` bytes a second pass, each way of each link of the targets.

    Not proven: to measure a rate takes bytes that the nodes themselves would have to take in, and no protocol of peers
    does that for a stranger. A run with this fault is therefore `unknown` at best."""

    name = "bandwidth"
    Config = BandwidthConfig

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset({MachineCapability.LINK_RATE})

    def wanted(self, ctx: FaultContext) -> Mapping[Flow, LinkShape]:
        targets = {node.name for node in ctx.targets}
        links = [link for link in ctx.links if targets & {link.src, link.dst}]
        return {flow: LinkShape(rate=self.config.rate) for link in links for flow in both_ways(link)}
