"""Randomness that can be had again: every component draws from a generator of its own."""

from __future__ import annotations

import hashlib
import random
import secrets


def derive(seed: int, *names: str) -> random.Random:
    """A generator that depends on the run's seed and these names only, and on no other component's draws."""
    text = "\x1f".join((str(seed), *names)).encode()
    return random.Random(int.from_bytes(hashlib.sha256(text).digest(), "big"))


def fresh_seed() -> int:
    """A seed for a run that names none; it is recorded, so that the run can be had again."""
    return secrets.randbelow(2**32)
