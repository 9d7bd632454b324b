"""systemd: transient units."""

from __future__ import annotations

from typing import Any, Sequence

from .ledger import Audit


def end_units(about: dict[str, Any], audit: Audit) -> tuple[Sequence[str], Sequence[str]]:
    return (), ()
