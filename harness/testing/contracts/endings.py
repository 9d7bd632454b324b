"""Deployments end, by whatever, and leave nothing; and do not get into each other's way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from harness.engine.tasks import plain_errors
from harness.errors import HarnessError, Unsupported
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.deployer import Access, Deployer, Deployment, DeployRequest, HostSpec
from harness.spec.topology import Link
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import READY_WITHIN, Bench, is_silent
from harness.testing.contracts.chain import SERVICE

MOMENTS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
"""When a life is cut short, as shares of its length."""
REFUSED_WITHIN = 5.0
"""Seconds until nothing is left of a run that was refused: what had been begun for it ends by itself."""


class Boom(Exception):
    """What goes wrong in these tests."""


class EndingsSuite(DeployerSuite):
    async def test_inspecting_touches_nothing(self, bench: Bench) -> None:
        nodes = bench.planned(4)
        reports = await bench.deployer.inspect(nodes, bench.chain, Access())
        assert sorted(report.host for report in reports) == sorted({node.host.name for node in nodes})
        for report in reports:
            assert not report.problems
            assert report.capabilities <= bench.deployer.capabilities
            assert not report.capabilities & report.lacks.keys()
            assert MachineCapability.NODE_CONTROL in report.capabilities
        bench.run()
        await self.assert_nothing_left(bench)

    async def test_hopeless_hosts_are_told_in_plan_and_leave_nothing(
        self, bench: Bench, hopeless: tuple[Deployer[Any], Sequence[HostSpec]] | None
    ) -> None:
        if hopeless is None:
            pytest.skip("the author knows no host on which it must fail")
        deployer, hosts = hopeless
        request = bench.request(len(hosts), hosts=hosts)
        reports = {report.host: report for report in await deployer.inspect(request.nodes, bench.chain, Access())}
        assert reports[hosts[-1].name].problems, "nothing is said to be wrong with it"
        assert not any(reports[host.name].problems for host in hosts[:-1])
        with pytest.raises(HarnessError):
            async with deployer.deploy(request):
                pytest.fail("it was deployed to")
        await self.assert_nothing_left(bench)

    async def test_connecting_without_a_run(self, bench: Bench) -> None:
        try:
            async with bench.deployer.connect(bench.hosts, Access(audit=bench.audit.append)) as machines:
                assert list(machines) == [host.name for host in bench.hosts]
                for name, machine in machines.items():
                    done = await machine.run(("printf", "%s", name))
                    assert (done.stdout.decode(), bench.audit[-1].machine) == (name, machine.name)
        except Unsupported as error:
            assert bench.deployer.name in str(error)

    @pytest.mark.parametrize("phase", ["at once", "provide", "put", "start", "run"])
    async def test_a_failure_in_any_phase_leaves_nothing(self, bench: Bench, phase: str) -> None:
        with pytest.raises(Boom), plain_errors():
            async with bench.deploy(request := bench.request(2)) as deployment, anyio.create_task_group() as tasks:
                await _come_to(phase, bench, deployment, request, tasks)
                raise Boom
        await self.assert_nothing_left(bench)
        async with bench.up(2):
            """The machines can be used again."""
        await self.assert_nothing_left(bench)

    async def test_taking_down_takes_nodes_down_in_any_state(self, bench: Bench) -> None:
        """Running, paused, stopped, killed, with children, disobedient."""
        async with bench.up(5) as net:
            running, paused, stopped, killed, stubborn = net.nodes.values()
            if MachineCapability.PAUSE in paused.capabilities:
                await paused.pause()
            await stopped.stop()
            await killed.kill()
            await net.ask(running.name, "child", bench.runs[-1].run_id)
            await net.ask(stubborn.name, "ignore", 15)
            ends = [net.deployment.endpoint(name, "api") for name in net.nodes]
        await self.assert_nothing_left(bench)
        assert [await is_silent(end) for end in ends] == [True] * 5
        for name in net.nodes:
            assert bench.runs[-1].log(name).read_bytes().startswith(f"{name} is up\n".encode()), "a log is not there"

    async def test_two_runs_at_once(self, bench: Bench) -> None:
        async with bench.up(2) as first:
            if self.exclusive:
                with pytest.raises(HarnessError, match=bench.runs[0].run_id):
                    async with bench.deploy(bench.request(2)):
                        pytest.fail("two runs have one machine")
            else:
                async with bench.up(2) as second:
                    nets = (first, second)
                    ends = {str(net.deployment.endpoint(name, "api")) for net in nets for name in net.nodes}
                    assert len(ends) == 4
                    for net in nets:
                        await net.nodes["member-1"].kill()
                        await net.nodes["member-1"].start()
                        await net.nodes["member-1"].wait_ready(READY_WITHIN)
                        assert await net.dial(Link("member-0", "member-1")) == "member-1"
            await self.assert_ended(bench.runs[1], REFUSED_WITHIN)
            assert await first.ask("member-0", "facts"), "the end of another run has ended this one"
            assert (await first.machine.run(("true",))).returncode == 0
            await first.machine.put(b"x", first.folder / "file")
        await self.assert_nothing_left(bench)

    async def test_cancelled_at_any_moment_nothing_is_left(self, bench: Bench) -> None:
        """Of a whole life: deploy, provide, put, start, run, teardown."""
        began = anyio.current_time()
        await _whole_life(bench)
        length = anyio.current_time() - began
        for share in MOMENTS:
            with anyio.move_on_after(share * length):
                await _whole_life(bench)
            await self.assert_nothing_left(bench)
        await _whole_life(bench)

    async def test_teardown_that_is_cancelled_is_carried_through(self, bench: Bench) -> None:
        for delay in (0.0, 0.01, 0.1):
            with anyio.CancelScope() as scope:
                async with bench.up(2):
                    scope.deadline = anyio.current_time() + delay
            await self.assert_nothing_left(bench)


async def _come_to(phase: str, bench: Bench, deployment: Deployment, request: DeployRequest, tasks: TaskGroup) -> None:
    place = next(iter(deployment.placements.values()))
    if phase == "provide":
        (artifact,) = bench.chain.artifacts(await place.machine.facts())
        path = await deployment.provide(place.machine, artifact)
        assert path.name == SERVICE
    elif phase == "put":
        await place.machine.put(b"x", place.directory / "a" / "b")
    elif phase in ("start", "run"):
        net = await bench.start(request, deployment, tasks)
        if phase == "run":
            await net.node.wait_ready(READY_WITHIN)
            tasks.start_soon(net.machine.run, ("sleep", "1000"))
            await net.machine.run(("true",))


async def _whole_life(bench: Bench) -> None:
    async with bench.up(2) as net:
        await net.machine.put(bytes(1024 * 1024), net.folder / "file")
        await net.machine.run(("sleep", "0.05"))
        await net.node.stop()
