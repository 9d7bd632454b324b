"""The controller is killed: `clean` removes what it left, from what it wrote; or all of it ends by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from harness.plugin.contract.node import NodeState
from harness.record.rundir import RunDirectory
from harness.testing.contracts import controller
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench
from harness.testing.contracts.elsewhere import command
from harness.testing.waiting import eventually

COMES_UP_WITHIN = 120.0
"""Seconds for a controller to come to any of its moments."""

UNRECORDED = 2.0
"""Seconds for what had been begun, and not been written down yet, to see by itself that nobody wants it. While machines
are being made it is `dies_alone`: what a controller has asked for just before its death may come after `clean` has
looked."""


async def die(
    bench: Bench, moment: str, then: float = 0.0, program: str = controller.__name__, **more: Any
) -> RunDirectory:
    """Have a controller that is killed with SIGKILL, so many seconds after it has come to a moment; returns its run.
    `program` is its module, which is told `more` in JSON than what is described."""
    run = bench.run()
    process, said, complained = _start_controller(bench, run, program, more)

    async def there() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the controller has ended: {await complained.read_text()}")
        return moment in (await said.read_text()).split()

    try:
        await eventually(there, f"the controller has {moment}", COMES_UP_WITHIN)
        await anyio.sleep(then)  # the moment itself, not to wait for anything
    finally:
        process.kill()
        process.wait()
    return run


def _start_controller(
    bench: Bench, run: RunDirectory, program: str, more: Mapping[str, Any]
) -> tuple[subprocess.Popen[bytes], anyio.Path, anyio.Path]:
    """With files for stdout and stderr: whatever else it starts may hold their ends."""
    what, said, complained = (bench.folder / f"{run.run_id}.{suffix}" for suffix in ("json", "out", "err"))
    what.write_text(controller.describe(bench, run, **more))
    with said.open("wb") as out, complained.open("wb") as err:
        process = subprocess.Popen(command(program, str(what)), stdout=out, stderr=err)
    return process, anyio.Path(said), anyio.Path(complained)


class DeathsSuite(DeployerSuite):
    @pytest.mark.parametrize(
        ("moment", "then"),
        [
            ("began", 0.0),
            ("began", 0.05),
            ("began", 0.2),
            ("began", 0.6),
            ("deployed", 0.0),
            ("started", 0.0),
            ("busy", 0.3),
        ],
    )
    async def test_clean_removes_what_a_killed_controller_left(self, bench: Bench, moment: str, then: float) -> None:
        run = await die(bench, moment, then)
        await bench.deployer.clean(run.run_id, run.path)
        on_its_way = self.dies_alone if moment == "began" else None
        await self.assert_nothing_left(bench, on_its_way or UNRECORDED)
        assert not await bench.deployer.clean(run.run_id, run.path), "there was more to clean the second time"
        async with bench.up(2) as net:
            assert {node.state for node in net.nodes.values()} == {NodeState.RUNNING}
        await self.assert_nothing_left(bench)

    async def test_clean_has_nothing_to_do_after_a_run_that_ended_well(self, bench: Bench) -> None:
        async with bench.up():
            """It comes and goes."""
        run = bench.runs[-1]
        assert not await bench.deployer.clean(run.run_id, run.path)
        nothing = bench.run()
        assert not await bench.deployer.clean(nothing.run_id, nothing.path)

    async def test_clean_leaves_other_runs_alone(self, bench: Bench) -> None:
        if self.exclusive:
            pytest.skip("there is one run to a machine")
        async with bench.up() as net:
            dead = await die(bench, "busy")
            await bench.deployer.clean(dead.run_id, dead.path)
            assert await net.ask("member-0", "facts")
            assert await net.node.process_state() == "running"
            assert not net.node.exits
        await self.assert_nothing_left(bench)

    async def test_all_of_it_ends_by_itself(self, bench: Bench) -> None:
        if self.dies_alone is None:
            pytest.skip("what this deployer makes stays until somebody cleans")
        run = await die(bench, "busy")

        async def gone() -> bool:
            return not await self.active(run.run_id, run.path)

        await eventually(gone, "all of the dead run has ended by itself", self.dies_alone)
        await bench.deployer.clean(run.run_id, run.path)
        await self.assert_nothing_left(bench)
