"""Faults on real nodes of every deployer: seen from outside, by a look that shares nothing with their own proof."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from fleet.deployers import PS, OnDocker, OnMachines, OnPlain, OnProcess, OnSystemd, Process
from harness.api import Fault, FaultContext, FaultError
from harness.testing.contracts import chain
from harness.testing.contracts.bench import READY_WITHIN, Bench, Net, is_silent
from harness.testing.waiting import eventually
from harness_nemesis.clock_skew import ClockSkew
from harness_nemesis.cpu_stress import CpuStress
from harness_nemesis.disk_full import DiskFull
from harness_nemesis.ending import Kill, Restart, Stop
from harness_nemesis.pause import Pause
from harness_nemesis.upgrade import Upgrade, UpgradeConfig

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

SERVICE = Path(chain.__file__).with_name("service.py")
WORKER = '["work", "'
"""In the arguments of the busy processes of cpu-stress: a word of their program."""


FaultContextOf = Callable[[Net], FaultContext]


def of(fault: Fault[Any]) -> str:
    """The token by which its busy processes are known."""
    return fault._token if isinstance(fault, CpuStress) else ""


class FaultsContract(OnMachines):
    def workers(self, bench: Bench, fault: Fault[Any]) -> list[Process]:
        return [one for one in self.processes(bench) if WORKER + of(fault) in one.arguments]

    async def is_paused(self, bench: Bench, net: Net) -> bool:
        """It is there and does nothing. What a frozen process is called differs from kernel to kernel."""
        before = self.of_node(bench)
        silent = await is_silent(net.deployment.endpoint(net.node.name, "api"))
        return bool(before) and silent and before == self.of_node(bench)

    @pytest.mark.parametrize("fault", [Kill, Stop, Restart])
    async def test_an_ended_node_is_gone_and_comes_back(
        self, bench: Bench, fault: type[Fault[Any]], fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), fault(fault.Config())
            before = {process.pid for process in self.of_node(bench)}
            assert before
            for _ in range(2):
                await one.inject(ctx)
                assert (await one.prove(ctx)).holds is True
                assert not self.of_node(bench)
            for _ in range(2):
                await one.heal(ctx)
                assert (await one.prove_healed(ctx)).holds is True
                after = {process.pid for process in self.of_node(bench)}
                assert after
                assert not after & before
        assert not net.lost

    async def test_that_a_node_runs_is_no_proof_that_it_was_killed(
        self, bench: Bench, fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), Kill(Kill.Config())
            await one.inject(ctx)
            await net.node.start()  # somebody does: a supervisor of its own
            assert (await one.prove(ctx)).holds is False
            await one.heal(ctx)
            assert (await one.prove_healed(ctx)).holds is True

    async def test_a_paused_node_stands_still_and_goes_on(self, bench: Bench, fault_context: FaultContextOf) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), Pause(Pause.Config())
            for _ in range(2):
                await one.inject(ctx)
                assert (await one.prove(ctx)).holds is True
                assert await self.is_paused(bench, net)
            for _ in range(2):
                await one.heal(ctx)
                assert (await one.prove_healed(ctx)).holds is True
                assert not await self.is_paused(bench, net)
            assert (await one.prove(ctx)).holds is False
            await net.node.wait_ready(READY_WITHIN)
        assert not net.lost

    @pytest.mark.parametrize("fault", [Kill, Stop, Restart, Pause, CpuStress])
    async def test_healed_after_the_target_died(
        self, bench: Bench, fault: type[Fault[Any]], fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), fault(fault.Config())
            await one.inject(ctx)
            await net.node.kill()
            await one.heal(ctx)
            healed = await one.prove_healed(ctx)
            if fault is CpuStress:  # in a container that has ended nobody can look
                assert healed.holds is not False
                assert not self.workers(bench, one)
            else:
                assert healed.holds is True
                assert not await self.is_paused(bench, net)

    async def test_cpu_time_is_used_and_no_more_once_it_is_healed(
        self, bench: Bench, fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), CpuStress(CpuStress.Config(workers=2))
            assert not self.workers(bench, one)
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
                begun = {process.pid: process.ticks for process in self.workers(bench, one)}
                assert len(begun) == 2

            async def working() -> bool:
                return all(process.ticks > begun[process.pid] for process in self.workers(bench, one))

            await eventually(working, "both workers use the CPU")
            for _ in range(2):
                await one.heal(ctx)
                assert (await one.prove_healed(ctx)).holds is True
                assert not self.workers(bench, one)
            assert (await one.prove(ctx)).holds is False
            assert self.of_node(bench)

    async def test_cpu_time_is_used_also_when_the_node_was_restarted_meanwhile(
        self, bench: Bench, fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), CpuStress(CpuStress.Config(workers=1))
            await one.inject(ctx)
            assert (await one.prove(ctx)).holds is True
            await net.node.kill()
            await net.node.start()
            proof = await one.prove(ctx)
            assert proof.holds is True, proof.seen
            await one.heal(ctx)
            assert (await one.prove_healed(ctx)).holds is True
            assert not self.workers(bench, one)

    async def test_an_upgraded_node_runs_as_something_else(
        self, bench: Bench, fault_context: FaultContextOf, tmp_path: Path
    ) -> None:
        async with bench.up() as net:
            before = (await net.ask(net.node.name, "facts"))["argv"]
            newer = tmp_path / "newer" / "service.py"
            newer.parent.mkdir()
            newer.write_text(SERVICE.read_text() + "\n# a newer version\n")
            options = {"env": {"NEWER": "a 'b'"}, "artifact": newer, "in_place_of": "service.py"}
            ctx, one = fault_context(net), Upgrade(UpgradeConfig.model_validate(options))
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
            facts = await net.ask(net.node.name, "facts")
            assert facts["env"]["NEWER"] == "a 'b'"
            await net.node.kill()
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            facts = await net.ask(net.node.name, "facts")
            assert facts["argv"] == before
            assert "NEWER" not in facts["env"]
            assert (await one.prove(ctx)).holds is False

    async def test_an_upgrade_may_be_kept(self, bench: Bench, fault_context: FaultContextOf) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), Upgrade(UpgradeConfig(env={"NEWER": "1"}, keep=True))
            await one.inject(ctx)
            await net.node.kill()
            await one.heal(ctx)
            assert (await one.prove_healed(ctx)).holds is True
            assert (await net.ask(net.node.name, "facts"))["env"]["NEWER"] == "1"

    @pytest.mark.parametrize(
        ("fault", "options", "why"),
        [
            (DiskFull, {}, "root file system|shares the file system|more than the"),
            (ClockSkew, {"ahead": "5s", "library": "/nowhere/x.so"}, "there is no /nowhere/x.so on this machine"),
            (Upgrade, {"artifact": SERVICE, "in_place_of": "nothing"}, "no word of its command line is nothing"),
        ],
    )
    async def test_what_cannot_be_done_is_refused_and_the_node_left_alone(
        self,
        bench: Bench,
        fault: type[Fault[Any]],
        options: dict[str, Any],
        why: str,
        fault_context: FaultContextOf,
    ) -> None:
        async with bench.up() as net:
            ctx, one, pid = fault_context(net), fault(fault.Config.model_validate(options)), net.node.pid
            with pytest.raises(FaultError, match=why):
                await one.inject(ctx)
            await one.heal(ctx)
            assert net.node.pid == pid
            assert await net.node.process_state() == "running"


class TestProcess(OnProcess, FaultsContract):
    """On this machine."""


class TestDocker(OnDocker, FaultsContract):
    """On a real engine."""

    def workers(self, bench: Bench, fault: Fault[Any]) -> list[Process]:
        """From inside: the engine's ps has the first 4 KiB of arguments."""
        if not self.container(bench, "running"):
            return []
        inside = [Process(*one) for one in json.loads(self.shell(bench, f"python3 -c {shlex.quote(PS)}"))]
        return [one for one in inside if WORKER + of(fault) in one.arguments]


CPU_OF_UNIT = r"""
import glob, json, sys
used = {}
for folder in glob.glob("/sys/fs/cgroup/**/harness-*.service", recursive=True):
    for file, scale in (("cpu.stat", 1e-6), ("cpuacct.usage", 1e-9)):
        try:
            text = open(folder + "/" + file).read()
        except OSError:
            continue
        value = next((line for line in text.splitlines() if line.startswith("usage_usec")), text.splitlines()[0])
        used[folder] = int(value.split()[-1]) * scale
print(json.dumps(used))
"""
"""CPU seconds of the harness's units, as the kernel accounts them to their control groups."""


class TestSystemd(OnSystemd, FaultsContract):
    """On a host with systemd, as root."""

    def used(self, bench: Bench, net: Net) -> float:
        """By the node's unit, seen from outside."""
        found = json.loads(self.shell(bench, f"python3 -c {shlex.quote(CPU_OF_UNIT)}"))
        groups = self.shell(bench, f"cat /proc/{net.node.pid}/cgroup")
        [unit] = {line.rpartition("/")[2] for line in groups.splitlines() if line.endswith(".service")} - {""}
        return float(max(seconds for folder, seconds in found.items() if folder.endswith(unit)))

    async def test_cpu_time_is_taken_in_the_nodes_own_control_group(
        self, bench: Bench, fault_context: FaultContextOf
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), CpuStress(CpuStress.Config(workers=2))
            before = self.used(bench, net)
            await one.inject(ctx)
            proof = await one.prove(ctx)
            assert proof.holds is True
            assert proof.seen["member-0"]["in_its_control_group"] is True, proof.seen

            async def counted() -> bool:
                return self.used(bench, net) > before + 1.0

            await eventually(counted, "the unit's control group is charged with what they use")
            owners = self.shell(bench, "stat -c %u " + " ".join(f"/proc/{p.pid}" for p in self.workers(bench, one)))
            assert set(owners.split()) == {self.shell(bench, f"stat -c %u /proc/{net.node.pid}").strip()}
            await one.heal(ctx)
            assert (await one.prove_healed(ctx)).holds is True
            after = self.used(bench, net)
            await anyio.sleep(1.0)  # what would be charged meanwhile
            assert self.used(bench, net) < after + 0.5
        assert not net.lost


class TestSudo(TestSystemd):
    """The same as somebody who may become root."""

    user = "deploy"


class TestPlain(OnPlain, FaultsContract):
    """On a host without, as somebody who may become root."""
