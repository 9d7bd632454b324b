"""Ways to break a node on purpose, each exactly one property, so that a harness's judgement can itself be judged.

Only a node whose environment says HARNESS_DEVNET_MISBEHAVE=allowed takes such a switch."""

from __future__ import annotations

import os
from dataclasses import dataclass

SWITCHES = {
    "silent": "never proposes a block",
    "freeze": "answers, but stands still: its chain no longer moves and it proposes nothing",
    "fork": "follows no block but its own, so that its final blocks conflict with everyone else's",
    "stay-behind": "once it is started again it answers, but stands still where its chain had ended",
    "sign-twice": "signs a second, empty block for a slot whose block has transactions, each for half its peers",
    "slow-pace": "leaves 3 of every 13 slots unused: blocks come 30 % more slowly where all validators do",
    "mute": "takes part in the network, but its API answers nothing but errors",
    "panic": "dies of an unhandled exception",
    "drop-transactions": "accepts transactions, then neither passes them on nor puts them into its blocks",
    "forge-balance": "shows one wallet richer than it is",
    "accept-bad-signature": "takes transactions and blocks without looking at transactions' signatures",
    "accept-replay": "takes transfers again whose nonce is used already",
    "include-invalid": "refuses what is invalid as it should, then puts it into its blocks, without effect",
    "mint": "credits a transfer's recipient with more than its sender gave",
    "negative-balance": "takes transfers that their sender's balance does not cover",
    "corrupt-shares": "answers with shares that are not those it was given",
    "withhold-shares": "attests to its shares, then says it has none",
}
OF_THE_LEDGER = frozenset({"accept-bad-signature", "accept-replay", "include-invalid", "mint", "negative-balance"})
"""What changes which blocks are valid: nodes that have one and nodes that have not part ways."""
OF_VALIDATORS = frozenset({"silent", "fork", "sign-twice", "slow-pace", "corrupt-shares", "withhold-shares"})
"""What only a validator can do."""
PERMISSION = "HARNESS_DEVNET_MISBEHAVE"
FORGED_AMOUNT = 1_000_000
MINTED_AMOUNT = 5
UNUSED_SLOTS, SLOTS = 3, 13
"""Of so many slots, so many are not used by who has `slow-pace`: the mean interval is 13/10 of what it should be."""


class NotAllowed(Exception):
    """A switch that does not exist, or that the environment does not permit."""


class Panic(Exception):
    """What the switch `panic` dies of."""


def permitted() -> bool:
    return os.environ.get(PERMISSION) == "allowed"


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a node behaves: by the rules (no switch), or breaking one from a height of its own chain on."""

    switch: str = ""
    from_height: int = 0

    def breaks(self, switch: str, height: int) -> bool:
        """Whether, at this height, the node does what `switch` says."""
        return self.switch == switch and height >= self.from_height

    def lapse(self, height: int) -> str:
        """The rule of the ledger that this node does not keep to in a block of this height, "" where it keeps all."""
        return self.switch if self.switch in OF_THE_LEDGER and height >= self.from_height else ""


def parse(text: str) -> Conduct:
    """Read "switch" or "switch@height"; "" is honest. Raises NotAllowed for what does not exist."""
    switch, _, height = text.partition("@")
    if not text:
        return Conduct()
    if switch not in SWITCHES:
        raise NotAllowed(f"no misbehaviour {switch!r}; there are: {', '.join(SWITCHES)}")
    if "@" in text and not height.isdecimal():
        raise NotAllowed(f"{text!r}: after @ comes a height")
    return Conduct(switch, int(height or 0))
