"""A disk of its own for each node, on every deployer, and a fault that fills it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, ClassVar

import pytest

from fleet.deployers import OnDocker, OnMachines, OnPlain, OnProcess, OnSystemd
from harness.api import DeployError, FaultContext, FaultError, HostReport, MachineCapability
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net
from harness_nemesis.disk_full import DiskFull

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="mounts file systems")]

MIB = 2**20
SIZE = 8 * MIB
OWN_DISK = MachineCapability.OWN_DISK

FaultContextOf = Callable[[Net], FaultContext]


async def seen(bench: Bench, **variables: Any) -> HostReport:
    hosts = [replace(host, vars={**host.vars, **variables}) for host in bench.hosts]
    (report,) = await bench.deployer.inspect(bench.planned(hosts=hosts), bench.chain, bench.request().access)
    return report


class Planned(OnMachines):
    async def test_plan_refuses_to_fill_what_is_not_the_nodes_own(self, bench: Bench) -> None:
        report = await seen(bench)
        assert OWN_DISK in DiskFull(DiskFull.Config()).requires_machine() - report.capabilities
        assert "set the deployer's option disk, or the variable harness_disk" in report.lacks[OWN_DISK]
        assert "harness_disk: " in (await seen(bench, harness_disk="lots")).problems[0]

    async def test_what_is_shared_is_not_filled_either(self, bench: Bench, fault_context: FaultContextOf) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), DiskFull(DiskFull.Config())
            with pytest.raises(FaultError, match="root file system|shares the file system|more than the"):
                await one.inject(ctx)
            await one.heal(ctx)
            assert await net.node.process_state() == "running"


class Disks(Planned):
    def room(self, bench: Bench, folder: PurePosixPath, size: int) -> bool:
        """Whether so much can be written there, past the deployer."""
        file = shlex.quote(str(folder / "more"))
        wrote = self.shell(
            bench, f"head -c {size} /dev/zero 2>/dev/null > {file} 2>/dev/null; wc -c < {file}; rm -f {file}"
        )
        return int(wrote) == size

    async def test_no_room_is_left_and_then_all_of_it(self, bench: Bench, fault_context: FaultContextOf) -> None:
        bench = self.with_options(bench, disk=SIZE)
        report = await seen(bench)
        assert OWN_DISK in report.capabilities
        assert not report.problems
        async with bench.up(2) as net:
            folders = [net.deployment.placements[name].directory for name in net.nodes]
            one = DiskFull(DiskFull.Config())
            ctx = fault_context(net)
            ctx.targets = (net.node,)
            assert (await one.prove(ctx)).holds is False
            assert self.room(bench, folders[0], SIZE // 2)
            assert not self.room(bench, folders[0], 2 * SIZE)
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
                assert not self.room(bench, folders[0], MIB)
            assert await net.ask("member-0", "facts")
            await net.nodes["member-1"].machine.put(bytes(SIZE // 2), folders[1] / "more")
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            assert self.room(bench, folders[0], SIZE // 2)
        await self.assert_nothing_left(bench)

    async def test_files_stay_when_the_node_is_restarted_and_when_it_runs_as_something_else(self, bench: Bench) -> None:
        async with self.with_options(bench, disk=SIZE).up() as net:
            await net.machine.put(b"stays", net.folder / "sub" / "file")
            await net.node.kill()
            await net.machine.put(b"stays, too", net.folder / "other")
            await net.node.start()
            await net.node.stop()
            await net.node.start(replace(net.node.launch, env={**net.node.launch.env, "NEWER": "1"}))
            await net.node.wait_ready(READY_WITHIN)
            assert await net.machine.get(net.folder / "sub" / "file") == b"stays"
            assert await net.machine.get(net.folder / "other") == b"stays, too"
        await self.assert_nothing_left(bench)

    async def test_healed_after_the_target_died(self, bench: Bench, fault_context: FaultContextOf) -> None:
        bench = self.with_options(bench, disk=SIZE)
        async with bench.up() as net:
            ctx, one = fault_context(net), DiskFull(DiskFull.Config(leave=MIB))
            await one.inject(ctx)
            assert (await one.prove(ctx)).holds is True
            await net.node.kill()
            await one.heal(ctx)
            assert (await one.prove_healed(ctx)).holds is not False  # in a container that has ended nobody can look
            await net.node.start()
            await net.node.wait_ready(READY_WITHIN)
            assert (await one.prove_healed(ctx)).holds is True
            assert self.room(bench, net.folder, SIZE // 2)

    async def test_a_host_may_say_it_for_itself(self, bench: Bench) -> None:
        assert OWN_DISK in (await seen(bench, harness_disk="2MiB")).capabilities
        given: Mapping[str, Any] = {**bench.hosts[0].vars, "harness_disk": "2MiB"}
        bench.hosts = [replace(bench.hosts[0], vars=given)]
        async with self.with_options(bench, disk=SIZE).up() as net:
            assert self.room(bench, net.folder, MIB)
            assert not self.room(bench, net.folder, 3 * MIB)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
class TestProcess(OnProcess, Disks):
    """As root."""


class TestDocker(OnDocker, Disks):
    """On a real engine."""


class TestSystemd(OnSystemd, Disks):
    """On a host with systemd, as root."""


class TestSudo(OnSystemd, Disks):
    """The same as somebody who may become root."""

    user = "deploy"


class TestPlain(OnPlain, Planned):
    """On hosts that are containers without the right to mount anything."""

    why: ClassVar[str] = "mounting one takes a right that root lacks"

    async def test_plan_refuses_a_disk(self, bench: Bench) -> None:
        bench = self.with_options(bench, disk=SIZE)
        assert (await seen(bench)).problems == (
            f"each node is to have a disk of {SIZE} bytes, and {self.why} (CAP_SYS_ADMIN)",
        )
        with pytest.raises(DeployError, match="no disks for nodes"):
            async with bench.up():
                """It does not come up."""
        await self.assert_nothing_left(bench)
