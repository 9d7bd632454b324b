"""The chain `cometbft`: the real CometBFT 0.38 with its built-in kvstore application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api import Chain, hookimpl
from harness_cometbft.chain import CometBFT


@hookimpl
def harness_chains() -> Sequence[type[Chain[Any]]]:
    return [CometBFT]
