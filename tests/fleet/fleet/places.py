"""Folders that outlive a test session."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache() -> Path:
    """The folder of everything that is kept: $HARNESS_TESTS_CACHE, else harness-tests among the user's caches."""
    chosen = os.environ.get("HARNESS_TESTS_CACHE")
    if chosen:
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness-tests"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.resolve()


def short(text: str) -> str:
    """Six letters that stand for a text: names of bridges have at most fifteen."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]
