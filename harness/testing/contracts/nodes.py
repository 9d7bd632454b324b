"""Nodes: every control, seen in the kernel's state and in how they answer; and what they write."""

from __future__ import annotations

import base64
import signal
from pathlib import PurePosixPath

import anyio
import pytest

from harness.errors import InfrastructureError, NotReadyError, Unreachable
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.machine import Exit, ServiceSpec
from harness.plugin.contract.node import NodeState
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net, is_silent
from harness.testing.contracts.chain import ODD
from harness.testing.waiting import eventually

NAME = "member-0"


def was_killed(how: Exit) -> bool:
    """By SIGKILL, told as a signal or in the way of shells."""
    return how.signal == signal.SIGKILL or how.code == 128 + signal.SIGKILL


async def silent(net: Net) -> bool:
    return await is_silent(net.deployment.endpoint(NAME, "api"))


class NodesSuite(DeployerSuite):
    async def test_a_node_gets_what_its_chain_gave_it(self, bench: Bench) -> None:
        async with bench.up() as net:
            facts = await net.ask(NAME, "facts")
            place = net.deployment.placements[NAME]
            ports = [str(place.ports["p2p"]), str(place.ports["api"])]
            assert facts["argv"] == [NAME, place.bind, *ports, ODD, ""]
            assert facts["env"]["CONTRACT"] == ODD
            assert facts["cwd"] == str(place.directory)
            assert await net.machine.get(net.folder / "config" / "peers.json") == b"{}"
            assert (net.node.state, await net.node.process_state()) == (NodeState.RUNNING, "running")

    async def test_stop_asks_and_start_starts_again(self, bench: Bench) -> None:
        async with bench.up() as net:
            for _ in range(3):
                how = await net.node.stop()
                assert how == Exit(0, None, how.at)
                assert (net.node.pid, await net.node.process_state()) == (None, "gone")
                assert await silent(net)
                await net.node.start()
                await net.node.wait_ready(READY_WITHIN)
            assert [expected for _, expected in net.node.exits] == [True] * 3
        assert not net.lost

    async def test_a_node_that_does_not_obey_is_killed(self, bench: Bench) -> None:
        async with bench.up() as net:
            await net.ask(NAME, "ignore", signal.SIGTERM)
            assert was_killed(await net.node.stop())
            assert [expected for _, expected in net.node.exits] == [False]

    async def test_kill(self, bench: Bench) -> None:
        async with bench.up() as net:
            assert was_killed(await net.node.kill())
            assert await net.node.process_state() == "gone"
            assert await silent(net)
            await net.node.start()
            await net.node.wait_ready(READY_WITHIN)
            assert await net.node.process_state() == "running"

    async def test_pause_and_resume_by_the_kernels_word(self, bench: Bench) -> None:
        async with bench.up() as net:
            if MachineCapability.PAUSE not in net.machine.capabilities:
                pytest.skip("these machines do not pause")
            before = await net.ask(NAME, "facts")
            for _ in range(2):
                await net.node.pause()

                async def paused() -> bool:
                    return await net.node.process_state() == "paused"

                async def running() -> bool:
                    return await net.node.process_state() == "running"

                await eventually(paused, "the kernel says that it is paused")
                assert await silent(net)
                assert await paused(), "something has resumed it"
                await net.node.resume()
                await eventually(running, "the kernel says that it runs again")
                await net.node.wait_ready(READY_WITHIN)
            assert (await net.ask(NAME, "facts"))["pid"] == before["pid"], "it is another process"
            assert not net.node.exits

    async def test_what_a_node_uses_is_told_while_it_runs(self, bench: Bench) -> None:
        async with bench.up() as net:
            before = await net.node.usage()
            if before is None:
                pytest.skip("these machines do not tell")
            assert before.memory > 1 << 20, "a Python process has more than a megabyte"

            async def has_worked() -> bool:
                for _ in range(50):
                    await net.ask(NAME, "facts")
                now = await net.node.usage()
                return now is not None and now.cpu > before.cpu

            await eventually(has_worked, "answering has cost CPU time")
            await net.node.kill()
            assert await net.node.usage() is None

    @pytest.mark.parametrize("end", ["stop", "kill"])
    async def test_a_paused_node_can_be_ended(self, bench: Bench, end: str) -> None:
        async with bench.up() as net:
            if MachineCapability.PAUSE not in net.machine.capabilities:
                pytest.skip("these machines do not pause")
            await net.node.pause()
            with anyio.fail_after(30):
                how = await (net.node.stop() if end == "stop" else net.node.kill())
            assert how.code == 0 if end == "stop" else was_killed(how)
            await net.node.start()
            await net.node.wait_ready(READY_WITHIN)
        assert not net.lost

    async def test_signals_arrive(self, bench: Bench) -> None:
        async with bench.up() as net:
            await net.node.stop()
            launch, log = net.node.launch, net.node.log_path
            service = await net.machine.spawn(ServiceSpec(NAME, launch.argv, net.folder, log, launch.env))

            async def answers() -> bool:
                return not await silent(net)

            async def arrived() -> bool:
                return signal.SIGUSR1 in (await net.ask(NAME, "facts"))["signals"]

            await eventually(answers, "the node answers")
            assert service.pid > 0 and service.exit is None and await service.state() == "running"
            await service.signal(signal.SIGUSR1)
            await eventually(arrived, "the node was sent the signal")
            await service.signal(signal.SIGKILL)
            with anyio.fail_after(30):
                how = await service.wait()
            assert was_killed(how) and service.exit == how and await service.wait() == how
            await service.signal(signal.SIGUSR1)  # nothing happens
            assert await service.state() == "gone"

    @pytest.mark.parametrize("code", [0, 1, 77])
    async def test_an_end_that_nobody_asked_for_is_seen(self, bench: Bench, code: int) -> None:
        async with bench.up() as net:
            with pytest.raises(Unreachable):  # it ends before it answers
                await net.ask(NAME, "exit", code)

            async def seen() -> bool:
                return bool(net.node.exits)

            await eventually(seen, "its end is seen")
            ((how, expected),) = net.node.exits
            assert (how, expected) == (Exit(code, None, how.at), False)
            assert (net.node.state, await net.node.process_state()) == (NodeState.EXITED, "gone")
        assert not net.lost

    async def test_when_a_node_ends_what_it_started_ends(self, bench: Bench) -> None:
        """Also what has a session of its own; by whatever a node ends."""
        async with bench.up(2) as net:
            mark = f"child-of-{bench.runs[-1].run_id}"
            for node in net.nodes.values():
                await net.ask(node.name, "child", mark)
                await net.ask(node.name, "child", mark)
            assert await net.find(mark)
            await net.nodes[NAME].stop()
            await net.nodes["member-1"].kill()
            for node in net.nodes.values():
                await node.start()
                await node.wait_ready(READY_WITHIN)
            assert not await net.find(mark), "a child of a node has outlived it"

    async def test_what_cannot_be_started_says_why(self, bench: Bench) -> None:
        async with bench.deploy() as deployment:
            place = deployment.placements[NAME]
            log = bench.runs[-1].log(NAME)
            with pytest.raises(InfrastructureError):
                await place.machine.spawn(ServiceSpec(NAME, ("/nowhere/program",), place.directory, log))
            nowhere = PurePosixPath("/proc/nowhere")
            with pytest.raises(InfrastructureError):
                await place.machine.spawn(ServiceSpec(NAME, ("sleep", "1000"), nowhere, log))

    async def test_a_node_that_ends_while_it_starts_is_told_with_its_last_words(self, bench: Bench) -> None:
        async with bench.up() as net:
            await net.node.stop()
            code = "import sys; sys.exit('no " + "config')"
            place = net.deployment.placements[NAME]
            spec = ServiceSpec(NAME, (net.machine.python, "-c", code), place.directory, net.node.log_path)
            service = await net.machine.spawn(spec)
            assert (await service.wait()).code == 1
            await service.sync_log()
            assert b"no config" in net.node.log_path.read_bytes()
            with pytest.raises(NotReadyError):
                await net.node.wait_ready(0.5)

    async def test_logs_while_it_runs_after_its_death_and_over_restarts(self, bench: Bench) -> None:
        """In order, each line once, every byte as it was."""
        odd = b"\xff\x00\x1b[31m<b>\n" + ODD.encode() + b"\n"
        async with bench.up() as net:
            expected = b"member-0 is up\n"
            for end in ("stop", "kill"):
                await net.ask(NAME, "count", 0, 1000)
                await net.ask(NAME, "write", 2, base64.b64encode(odd).decode())
                expected += b"".join(b"%d\n" % number for number in range(1000)) + odd
                await net.node.sync_log()
                assert net.node.log_path.read_bytes() == expected, "the log of a node that runs"
                await (net.node.stop() if end == "stop" else net.node.kill())
                expected += b"stopping\n" if end == "stop" else b""
                await net.node.sync_log()
                assert net.node.log_path.read_bytes() == expected, "the log of a node that is dead"
                await net.node.start()
                await net.node.wait_ready(READY_WITHIN)
                expected += b"member-0 is up\n"
            await net.node.sync_log()
            assert net.node.log_path.read_bytes() == expected

    async def test_much_that_is_written_before_a_sudden_end_is_in_the_log(self, bench: Bench) -> None:
        async with bench.up() as net:
            await net.ask(NAME, "count", 0, 300_000)
            await net.node.kill()
            await net.node.sync_log()
            expected = b"member-0 is up\n" + b"".join(b"%d\n" % number for number in range(300_000))
            assert net.node.log_path.read_bytes() == expected
