"""A wrong clock, as the node itself reads it; and programs on which it would have no effect."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.api import Deployer, FaultContext, FaultError
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, Net
from harness_nemesis.clock_script import obstacle_in
from harness_nemesis.clock_skew import ClockSkew
from harness_process.deployer import ProcessConfig, ProcessDeployer

pytestmark = pytest.mark.real


@pytest.fixture
def libfaketime() -> None:
    """A test never passes by skipping: in CI, what is missing is an error."""
    try:
        ensure({"faketime": "faketime"})  # which needs the library's package
    except FleetUnavailable as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


class TestClockSkew(DeployerSuite):
    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return ProcessDeployer(ProcessConfig())

    @pytest.mark.parametrize("options", [{"ahead": "90s"}, {"behind": "1h"}])
    async def test_the_node_reads_a_wrong_time_and_then_the_right_one(
        self, bench: Bench, fault_context: Callable[[Net], FaultContext], options: dict[str, str], libfaketime: None
    ) -> None:
        config = ClockSkew.Config.model_validate(options)
        async with bench.up() as net:
            ctx, one = fault_context(net), ClockSkew(config)
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
            assert abs((await net.ask(net.node.name, "facts"))["time"] - time.time() - config.offset) < 2.0
            await net.node.kill()
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            assert abs((await net.ask(net.node.name, "facts"))["time"] - time.time()) < 2.0
            assert (await one.prove(ctx)).holds is False

    async def test_a_machine_without_the_library_is_told(
        self, bench: Bench, fault_context: Callable[[Net], FaultContext]
    ) -> None:
        async with bench.up() as net:
            one = ClockSkew(ClockSkew.Config.model_validate({"ahead": "5s", "library": "/nowhere/libfaketime.so"}))
            pid = net.node.pid
            with pytest.raises(FaultError, match="there is no /nowhere/libfaketime.so on this machine: install"):
                await one.inject(fault_context(net))
            await one.heal(fault_context(net))
            assert net.node.pid == pid


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"\x7fELF\x02" + bytes(40) + b"\xff Go buildinf:" + bytes(40), "is a Go program"),
        (b"\x7fELF\x02" + bytes(200), "is linked statically"),
        (b"#!/bin/sh\n" + bytes(80), "is no 64 bit ELF program"),
    ],
)
def test_programs_on_which_it_would_have_no_effect(program: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(program)
    assert why in obstacle_in(str(file))


def test_nothing_is_known_against_this_python() -> None:
    assert obstacle_in(sys.executable) == ""
