"""Our chains do what every chain must."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import Chain
from harness.testing.contracts import ChainContract
from harness_cometbft.chain import CometBFT, CometConfig
from harness_devnet.chain import Devnet, DevnetConfig


@pytest.mark.real
class TestDevnet(ChainContract):
    @pytest.fixture
    def chain(self) -> Chain[Any]:
        return Devnet(DevnetConfig.model_validate({"slot_duration": "200ms", "security_param": 4}))


@pytest.mark.real
class TestCometBFT(ChainContract):
    @pytest.fixture
    def chain(self) -> Chain[Any]:
        return CometBFT(CometConfig())
