"""A wrong clock on every deployer, as the node itself reads it; and programs on which it would have no effect."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fleet.deployers import LEASE, OnDocker, OnMachines, OnProcess, OnSystemd
from fleet.errors import FleetUnavailable
from fleet.packages import ensure
from harness.api import ExitCode, FaultContext, FaultError, MachineCapability
from harness.plugin.registry import Registry
from harness.record.events import BlockObserved, FaultStaged
from harness.record.journal import read_journal
from harness.testing import run_playbook
from harness.testing.contracts import faults
from harness.testing.contracts.bench import Bench, Net
from harness.testing.contracts.deaths import die
from harness.testing.contracts.elsewhere import described
from harness.testing.waiting import eventually
from harness_nemesis.clock_script import obstacle_in
from harness_nemesis.clock_skew import ClockSkew

pytestmark = pytest.mark.real


CLOSE = 5.0
"""Seconds by which two looks at clocks may differ on a busy machine."""
INSTALL = "apt-get install --yes --no-install-recommends libfaketime"


class Clocks(OnMachines):
    dies_alone: float

    @pytest.fixture
    def supplied(self, bench: Bench) -> Bench:
        """With the library where the nodes are."""
        raise NotImplementedError

    @pytest.mark.parametrize("options", [{"ahead": "90s"}, {"behind": "1h"}], ids=["ahead", "behind"])
    async def test_the_node_reads_a_wrong_time_and_then_the_right_one(
        self, supplied: Bench, fault_context: Callable[[Net], FaultContext], options: dict[str, str]
    ) -> None:
        config = ClockSkew.Config.model_validate(options)
        one = ClockSkew(config)
        async with supplied.up() as net:
            ctx = fault_context(net)
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
            assert abs((await net.ask(net.node.name, "facts"))["time"] - time.time() - config.offset) < CLOSE
            of_machine = float(self.shell(supplied, "LD_PRELOAD= date +%s"))
            assert abs(of_machine - time.time()) < CLOSE
            await net.node.kill()
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            assert abs((await net.ask(net.node.name, "facts"))["time"] - time.time()) < CLOSE
            assert (await one.prove(ctx)).holds is False
            with pytest.raises(FileNotFoundError):
                await net.machine.get(one._file(net.node))
        (report,) = await supplied.deployer.inspect(supplied.planned(), supplied.chain, supplied.request().access)
        assert one.requires_machine() <= report.capabilities | {MachineCapability.LAUNCH}, report.lacks

    @pytest.mark.parametrize("end", ["by itself", "clean"])
    async def test_nothing_is_left_of_it_when_its_controller_is_killed(self, supplied: Bench, end: str) -> None:
        skewed = described(ClockSkew(ClockSkew.Config.model_validate({"ahead": "1h"})))
        run = await die(supplied, "injected", program=faults.__name__, faults=[skewed])

        async def gone() -> bool:
            return not await self.active(run.run_id, run.path)

        if end == "by itself":
            await eventually(gone, "all of the dead run has ended by itself", self.dies_alone)
        await supplied.deployer.clean(run.run_id, run.path)
        await self.assert_nothing_left(supplied, 2.0)
        async with supplied.up() as net:
            assert abs((await net.ask(net.node.name, "facts"))["time"] - time.time()) < CLOSE

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

    async def test_plan_says_which_libraries_cannot_be_loaded(self, bench: Bench) -> None:
        async with bench.up():
            """After which there is an image."""
        libraries = frozenset({"/nowhere/it's $(here).so", "/etc", "/etc/passwd", "/bin/sh"})
        nodes = [replace(node, libraries=libraries) for node in bench.planned()]
        (report,) = await bench.deployer.inspect(nodes, bench.chain, bench.request().access)
        assert report.unusable.keys() == libraries - {"/bin/sh"}
        assert report.unusable["/nowhere/it's $(here).so"].startswith("there is no /nowhere/it's $(here).so ")
        assert "is no file that can be read" in report.unusable["/etc"]
        assert "is no 64 bit library" in report.unusable["/etc/passwd"]
        (report,) = await bench.deployer.inspect(bench.planned(), bench.chain, bench.request().access)
        assert report.unusable == {}


class Refused(Clocks):
    async def test_plan_says_what_is_missing(self, bench: Bench) -> None:
        async with bench.up():
            """After which there is an image."""
        (report,) = await bench.deployer.inspect(bench.planned(), bench.chain, bench.request().access)
        needed = ClockSkew(ClockSkew.Config.model_validate({"ahead": "5s"})).requires_machine()
        assert needed - report.capabilities == {MachineCapability.CLOCK, MachineCapability.LAUNCH}
        assert "install the package libfaketime there" in report.lacks[MachineCapability.CLOCK]


@pytest.fixture
def libfaketime() -> None:
    """A test never passes by skipping: in CI, what is missing is an error."""
    try:
        ensure({"faketime": "faketime"})  # which needs the library's package
    except FleetUnavailable as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


class TestProcess(OnProcess, Clocks):
    dies_alone = 5.0

    @pytest.fixture
    def supplied(self, bench: Bench, libfaketime: None) -> Bench:
        return bench


ELSEWHERE = """
name = "a library that is not there"
chain = "devnet"
duration = "9s"
[topology]
validators = 2
[[expectations]]
use = "no-forks"
[[steps]]
fault = "clock-skew"
targets = "validator-0"
ahead = "40s"
library = "{library}"
hold = "1s"
[[workloads]]
use = "chaos.mix"
min_delay = "1s"
faults = [{{ use = "pause" }}, {{ use = "clock-skew", ahead = "1s", library = "{library}" }}]
"""


@pytest.mark.anyio
async def test_a_library_that_cannot_be_loaded_is_told_in_plan_at_its_line(tmp_path: Path) -> None:
    absent = tmp_path / "libfaketime.so"
    finished = await run_playbook(ELSEWHERE.format(library=absent), tmp_path, Registry())
    assert finished.outcome.exit_code is ExitCode.USAGE
    for at, who in (("9:3", "step 1"), ("15:3", "chaos.mix")):
        assert f"playbook.toml:{at}: {who}: host localhost: there is no {absent} on this" in finished.outcome.reason


@pytest.mark.parametrize("library", ["libfaketime.so.1", "/opt/a b.so", "/opt/a.so:/opt/b.so"])
def test_libraries_that_cannot_be_preloaded_by_their_paths(library: str) -> None:
    with pytest.raises(ValidationError, match="write the whole path of the library"):
        ClockSkew.Config.model_validate({"ahead": "1s", "library": library})


PLAYBOOK = """
name = "a wrong clock"
chain = { use = "devnet", slot_duration = "200ms" }
duration = "9s"
settle = "0s"
budget = "unlimited"
[topology]
layout = "full"
validators = 1
[[steps]]
at = "3s"
fault = "clock-skew"
targets = "validator-0"
ahead = "40s"
hold = "4s"
[[expectations]]
use = "no-forks"
"""


@pytest.mark.anyio
async def test_blocks_are_of_the_future(tmp_path: Path, libfaketime: None) -> None:
    """What a node with a clock that is ahead signs, is: by the times in the headers of its blocks."""
    finished = await run_playbook(PLAYBOOK, tmp_path, Registry())
    journal = list(read_journal(finished.directory.journal))
    [held] = [one.at for one in journal if isinstance(one.event, FaultStaged) and one.event.stage == "injected"]
    ahead = [(one.at, one.event.time - one.at) for one in journal if isinstance(one.event, BlockObserved)]
    before, after = ([by for at, by in ahead if (at > held) == later] for later in (False, True))
    assert before
    assert max(before) < CLOSE
    assert 40 - CLOSE < max(after) < 40 + CLOSE


IMAGE = "harness-tests-faketime"


class TestDocker(OnDocker, Refused):
    dies_alone = 30.0

    @pytest.fixture
    def supplied(self, bench: Bench) -> Bench:
        dockerfile = f"FROM debian:bookworm-slim\nRUN apt-get update && {INSTALL}\n"
        self.engine("build", "--tag", IMAGE, "-", input=dockerfile.encode())
        return self.with_options(bench, base=IMAGE)


class TestSystemd(OnSystemd, Refused):
    dies_alone = LEASE + 15.0

    @pytest.fixture(autouse=True)
    def _lease(self, pool: Any) -> Iterator[None]:
        """Thrown away, with what is installed there."""
        with pool.lease(1, keep=False) as [host]:
            self.machines = [host.as_user(self.user)]
            yield

    @pytest.fixture
    def supplied(self, bench: Bench) -> Bench:
        self.machines[0].exec("sh", "-c", f"apt-get update && {INSTALL}")
        return bench


class TestPlain(TestSystemd):
    """No systemd, and a user who is not root."""

    user = "deploy"

    @pytest.fixture
    def pool(self, ssh_hosts_plain: Any) -> Any:
        return ssh_hosts_plain


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
