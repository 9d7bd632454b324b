"""The embedded default chain: a small, honest longest-chain blockchain that travels as one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.api import hookimpl

if TYPE_CHECKING:
    from harness.api import Chain


@hookimpl
def harness_chains() -> Sequence[type[Chain[Any]]]:
    from harness_devnet.chain import Devnet

    return (Devnet,)
