"""The controller is killed: `clean` removes what it left, from what it wrote; or all of it ends by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from harness.plugin.contract.node import NodeState
from harness.testing.contracts import controller
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, eventually
from harness.testing.contracts.elsewhere import command

COMES_UP_WITHIN = 120.0
"""Seconds for a controller to come to any of its moments."""

UNRECORDED = 2.0
"""Seconds for what had been begun, and not been written down yet, to see by itself that nobody wants it."""


@asynccontextmanager
async def victim(bench: Bench, moment: str, then: float = 0.0) -> AsyncIterator[None]:
    """A controller that was killed with SIGKILL, so many seconds after it had come to a moment."""
    run = bench.run()
    what = bench.folder / f"{run.run_id}.json"
    what.write_text(controller.describe(bench, run))
    complained = bench.folder / "controller.err"
    with complained.open("wb") as complaints:
        async with await anyio.open_process(command(controller.__name__, str(what)), stderr=complaints) as process:
            try:
                assert process.stdout is not None
                said = BufferedByteReceiveStream(process.stdout)
                with anyio.fail_after(COMES_UP_WITHIN):
                    while (await said.receive_until(b"\n", 1000)).decode() != moment:
                        pass
                await anyio.sleep(then)  # the moment itself, not to wait for anything
            except anyio.IncompleteRead:
                pytest.fail(f"the controller has ended: {await anyio.Path(complained).read_text()}")
            finally:
                with anyio.CancelScope(shield=True):
                    process.kill()
                    await process.wait()
            yield


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
        async with victim(bench, moment, then):
            run = bench.runs[-1]
            await bench.deployer.clean(run.run_id, run.path)
            await self.assert_nothing_left(bench, UNRECORDED)
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
            async with victim(bench, "busy"):
                await bench.deployer.clean(bench.runs[-1].run_id, bench.runs[-1].path)
            assert await net.ask("member-0", "facts")
            assert await net.node.process_state() == "running"
            assert not net.node.exits
        await self.assert_nothing_left(bench)

    async def test_all_of_it_ends_by_itself(self, bench: Bench) -> None:
        if self.dies_alone is None:
            pytest.skip("what this deployer makes stays until somebody cleans")
        async with victim(bench, "busy"):
            run = bench.runs[-1]

            async def gone() -> bool:
                return not await self.active(run.run_id, run.path)

            await eventually(gone, "all of the dead run has ended by itself", self.dies_alone)
            await bench.deployer.clean(run.run_id, run.path)
            await self.assert_nothing_left(bench)
