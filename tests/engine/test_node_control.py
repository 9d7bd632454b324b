"""Node control on real nodes: what the kernel and the node's API say after each."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from harness import Scenario, deployer
from harness.api import InfrastructureError, Node, NodeState, NotReadyError, Unreachable

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def until(node: Node, process: str) -> None:
    """Wait until the kernel says so: a signal takes effect a moment after it was sent."""
    with anyio.fail_after(5):
        while await node.process_state() != process:
            await anyio.sleep(0.01)


async def test_every_control_does_what_it_says(tmp_path: Path) -> None:
    plan = (
        Scenario.topology(layout="full", validators=3)
        .chain("devnet", slot_duration="100ms", security_param=3)
        .expect_no_forks()
        .run_for("1s")
        .build()
    )
    async with deployer("process", runs=tmp_path).deploy(plan) as runner:
        node, other = runner.nodes["validator-1"], runner.nodes["validator-0"]
        first = node.pid
        assert await node.process_state() == "running"

        await node.pause()
        await until(node, "paused")
        assert node.state is NodeState.PAUSED
        with pytest.raises(Unreachable):
            await node.new_client().head()
        await node.resume()
        await until(node, "running")
        await node.wait_ready(10)

        assert str(await node.stop()) == "exit status 0"
        assert (await node.process_state(), node.pid, node.state) == ("gone", None, NodeState.STOPPED)
        with pytest.raises(InfrastructureError, match="validator-1 is not running"):
            await node.pause()
        await node.start()
        await node.start()  # it is there already: nothing happens
        await node.wait_ready(10)
        assert node.pid not in (None, first)

        assert str(await node.kill()) == "killed by SIGKILL"
        with pytest.raises(NotReadyError, match="validator-1 ended while it was starting: killed by SIGKILL"):
            await node.wait_ready(10)
        await node.start()
        await node.wait_ready(10)
        goal = (await other.client().head()).height
        with anyio.fail_after(20):  # it has caught up with what was made without it
            while (await node.client().head()).height < goal:
                await anyio.sleep(0.05)

        await node.pause()
        await node.stop()  # also one that is paused
        assert await node.process_state() == "gone"
        await node.start()
        assert [asked for _, asked in node.exits] == [True, True, True]
