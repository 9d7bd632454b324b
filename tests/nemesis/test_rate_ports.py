"""The port at which bytes are taken for a measurement may be somebody else's."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

from fleet.deployers import OnProcess
from harness.api import Link
from harness.engine.wiring import PORTS, PORTS_TRIED, Wiring
from harness.testing.contracts.bench import Bench

pytestmark = pytest.mark.real


class TestProcess(OnProcess):
    @pytest.mark.parametrize("always", [False, True])
    async def test_another_is_tried(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, always: bool) -> None:
        async with bench.up(2) as net:
            link = Link(*net.nodes)
            wiring = Wiring([link], net.nodes)
            wiring.deployment = net.deployment
            with socket.create_server(("127.0.0.1", 0)) as others:
                taken = others.getsockname()[1]
                given = [taken] * (PORTS_TRIED if always else 1)  # the others may be somebody's, too
                choice = random.SystemRandom().choice

                def choose(ports: Any) -> Any:
                    return given.pop() if ports is PORTS and given else choice(ports)

                monkeypatch.setattr("harness.engine.wiring.secrets.choice", choose)
                measured = (await wiring.throughput([link], 100_000, 20.0))[link]
            if always:
                assert measured.there is None and f"port {taken} is somebody else's" in measured.error
            else:
                assert measured.there and measured.back and not measured.error
