"""The fault `block_peer`: one node's traffic to one other vanishes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pydantic import ConfigDict, Field, model_validator

from harness.api import FaultError, PlanView
from harness_nemesis.cutting import Cut
from harness_nemesis.grudge import Grudge, Powers
from harness_nemesis.shaping import LinkConfig


class BlockPeerConfig(LinkConfig):
    """`from` and `to`: names of the nodes; who is not named is the first (then the next) of the targets, which a
    nemesis draws."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    sender: str = Field("", alias="from")
    to: str = ""

    @model_validator(mode="after")
    def _two(self) -> BlockPeerConfig:
        if self.sender and self.sender == self.to:
            raise ValueError(f"from and to are both {self.to}: a node does not dial itself")
        return self


class BlockPeer(Cut[BlockPeerConfig]):
    """What one node sends to one other vanishes; what the other sends still arrives.

    Proven by dialling the link between the two, which no longer answers: that shows that one way is cut, not which.
    Two nodes without a link between them cannot be blocked."""

    name = "block_peer"
    Config = BlockPeerConfig

    def check(self, ctx: PlanView) -> Sequence[str]:
        named = {"from": self.config.sender, "to": self.config.to}
        return [
            f'{option}: no node is called "{name}" (there are: {", ".join(ctx.node_names)})'
            for option, name in named.items()
            if name and name not in ctx.node_names
        ]

    def choose(self, free: Sequence[str], rng: Random) -> Sequence[str]:
        drawn = [name for name in rng.sample(free, len(free)) if name not in (self.config.sender, self.config.to)]
        ends = self._ends(drawn)
        return ends if set(ends) <= set(free) else ()

    def grudge(self, targets: Sequence[str], powers: Powers) -> Grudge:
        sender, to = self._ends([name for name in targets if name not in (self.config.sender, self.config.to)])
        if not sender or not to:
            raise FaultError("it needs two nodes: write from and to, or have two targets")
        return {name: frozenset({sender}) if name == to else frozenset() for name in powers}

    def _ends(self, others: Sequence[str]) -> tuple[str, ...]:
        """From whom to whom, "" where there is nobody."""
        free = iter(others)
        return (self.config.sender or next(free, ""), self.config.to or next(free, ""))
