"""Who may propose in which slot: the stake-weighted lottery of Ouroboros Praos (David, Gaži, Kiayias, Russell 2018).

A validator with relative stake α wins a slot with probability φ(α) = 1 - (1-f)^α, independently of all others, so a
slot has at least one leader with probability 1 - ∏(1-φ(αᵢ)) = f however the stake is split.

Praos draws with a verifiable random function, so that leaders are secret until they propose. Here the draw is a plain
hash of public values: anybody can verify it from the seed, and compute it in advance, which is what a test wants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from .genesis import Genesis, Member

SPACE = 1 << 256


def threshold(stake: int, total: int, f: float) -> int:
    """Draws below this win. `f` is the active slot coefficient, 0 < f ≤ 1."""
    return min(SPACE - 1, int((1.0 - (1.0 - f) ** (stake / total)) * SPACE))


class Lottery:
    """The lottery of one network."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._epoch = -1
        self._epoch_seed = b""

    def draw(self, slot: int, key: str) -> int:
        """What this validator drew for this slot, from 0 to 2^256 - 1."""
        epoch = slot // self._genesis.epoch_slots
        if epoch != self._epoch:
            seed = bytes.fromhex(self._genesis.seed)
            self._epoch_seed = hashlib.sha256(seed + epoch.to_bytes(8, "big")).digest()
            self._epoch = epoch
        digest = hashlib.sha256(self._epoch_seed + slot.to_bytes(8, "big") + bytes.fromhex(key)).digest()
        return int.from_bytes(digest, "big")

    def leads(self, slot: int, member: Member) -> bool:
        return member.role == "validator" and self.draw(slot, member.key) < member.threshold

    def leaders(self, slot: int) -> tuple[Member, ...]:
        return tuple(member for member in self._genesis.validators if self.leads(slot, member))

    def next_led(self, member: Member, after: int) -> int | None:
        """The first slot above `after` that this validator leads; None if it never wins."""
        if member.threshold == 0:
            return None
        slot = max(after, 0) + 1
        while not self.leads(slot, member):
            slot += 1
        return slot

    def active_slots(self, first: int, end: int) -> Iterator[int]:
        """The slots of [first, end) that have a leader: what the protocol promises blocks for."""
        return (slot for slot in range(max(first, 1), end) if self.leaders(slot))
