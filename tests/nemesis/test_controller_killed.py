"""The controller is killed while faults are on: nothing of them is left, nor of their nodes; by itself, or by clean."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fleet.deployers import LEASE, OnDocker, OnMachines, OnPlain, OnProcess, OnSystemd
from harness.api import Access, Fault
from harness.record.rundir import RunDirectory
from harness.testing.contracts import faults
from harness.testing.contracts.bench import READY_WITHIN, Bench
from harness.testing.contracts.deaths import die
from harness.testing.contracts.elsewhere import described
from harness.testing.waiting import eventually
from harness_nemesis.clock_skew import ClockSkew
from harness_nemesis.cpu_stress import CpuStress
from harness_nemesis.disk_full import DiskFull
from harness_nemesis.ending import Kill, Restart, Stop
from harness_nemesis.membership import Leave
from harness_nemesis.pause import Pause
from harness_nemesis.upgrade import Upgrade, UpgradeConfig

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

TRACES = r"""
import glob, json, os, sys
run, found = sys.argv[1], []
for process in glob.glob("/proc/[0-9]*"):
    try:
        line = open(process + "/cmdline", "rb").read()
        where = os.readlink(process + "/cwd")
    except OSError:
        continue
    if b'["work", "' in line and run in where:
        found.append("worker " + process)
found += ["mount " + line for line in open("/proc/mounts") if "harness-disk" in line and run in line]
found += ["cgroup " + name for name in glob.glob("/sys/fs/cgroup/**/*harness*", recursive=True) if run in name]
print(json.dumps(found))
"""
"""What faults would leave on a machine: busy processes, file systems, control groups (perhaps frozen)."""


class Killed(OnMachines):
    dies_alone: float
    disk: ClassVar[bool] = True
    clock: ClassVar[bool] = False

    def faults(self) -> Sequence[Fault[Any]]:
        upgrade = Upgrade(UpgradeConfig(env={"NEWER": "1"}))
        ours: list[Fault[Any]] = [Pause(Pause.Config()), CpuStress(CpuStress.Config(workers=1)), upgrade]
        ours += [fault(fault.Config()) for fault in (Kill, Stop, Restart, Leave)]
        if self.clock:
            ours.append(ClockSkew(ClockSkew.Config.model_validate({"ahead": "1h"})))
        return [*ours, DiskFull(DiskFull.Config())] if self.disk else ours

    async def injected(self, bench: Bench) -> tuple[Bench, RunDirectory]:
        """A run whose controller was killed when all of them were on, each on a node of its own."""
        bench = self.with_options(bench, **({"disk": "8MiB"} if self.disk else {}))
        run = await die(bench, "injected", program=faults.__name__, faults=[described(one) for one in self.faults()])
        return bench, run

    def traces(self, bench: Bench) -> list[str]:
        run_id = bench.runs[-1].run_id
        return list(json.loads(self.shell(bench, f"python3 -c {shlex.quote(TRACES)} {shlex.quote(run_id)}")))

    async def test_all_of_it_ends_by_itself(self, bench: Bench) -> None:
        bench, run = await self.injected(bench)

        async def gone() -> bool:
            return not await self.active(run.run_id, run.path)

        await eventually(gone, "all of the dead run has ended by itself", self.dies_alone)
        assert not self.traces(bench)
        await bench.deployer.clean(run.run_id, run.path)
        await self.assert_nothing_left(bench)
        async with bench.up() as net:
            assert await net.node.process_state() == "running"

    async def test_clean_undoes_it_at_once(self, bench: Bench) -> None:
        bench, run = await self.injected(bench)
        await bench.deployer.clean(run.run_id, run.path)
        await self.assert_nothing_left(bench, 2.0)
        assert not self.traces(bench)

    async def test_heal_lets_a_living_run_be(self, bench: Bench) -> None:
        async with self.with_options(bench, **({"disk": "8MiB"} if self.disk else {})).up() as net:
            await net.machine.put(b"mine", net.folder / "file")
            await bench.deployer.heal(bench.hosts, Access())
            assert await net.machine.get(net.folder / "file") == b"mine"
            await net.node.kill()
            await net.node.start()
            await net.node.wait_ready(READY_WITHIN)


class TestProcess(OnProcess, Killed):
    dies_alone = 5.0
    disk = os.geteuid() == 0
    clock = any(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class TestDocker(OnDocker, Killed):
    dies_alone = 30.0

    def traces(self, bench: Bench) -> list[str]:
        """All of them are in containers and volumes, of which none is left."""
        return []


class TestSystemd(OnSystemd, Killed):
    dies_alone = LEASE + 15.0


class TestSudo(TestSystemd):
    user = "deploy"


class TestPlain(OnPlain, Killed):
    dies_alone = LEASE + 15.0
    disk = False
