from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import Exit, NoConfig, Verdict
from harness_checks import health
from harness_checks.health import NodesHealthy, scan_log
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


async def test_nodes_that_run_quietly_pass(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes["validator-0"].ends.append((Exit(0, None, 0.0), True))  # the harness restarted it
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.PASS
    assert judgement.measured == "3 nodes, no unexpected exit, no panic in 3 log lines"


async def test_an_end_that_nobody_asked_for_fails(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes["validator-1"].ends.append((Exit(None, 11, world.clock.wall()), False))
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "validator-1 ended unasked: killed by SIGSEGV"
    assert judgement.evidence["validator-1"]["unexpected_exits"][0]["at"] == world.clock.wall()


async def test_a_crash_under_a_fault_is_a_crash(make_world: MakeWorld) -> None:
    world = make_world()
    now, wall = world.clock.now(), world.clock.wall()
    world.faults.windows["validator-1"] = [(now - 20, now - 10)]
    node = world.nodes["validator-1"]
    node.ends.append((Exit(None, 9, wall - 20), True))  # the fault's own doing: it went through the harness
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.PASS
    assert judgement.evidence["validator-1"]["expected_exits"] == 1
    node.ends.append((Exit(1, None, wall - 15), False))
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured == "validator-1 ended unasked: exit status 1"


async def test_a_panic_in_a_log_fails_even_under_a_fault(make_world: MakeWorld) -> None:
    world = make_world()
    world.faults.windows["executor-0"] = [(0.0, None)]
    with world.nodes["executor-0"].log_path.open("ab") as log:
        log.write(b"fine\n\xff\xfe panic: \x1b[31mindex out of range\r\nFATAL all is lost")
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured.startswith("executor-0 logged 2 panics: ")
    first = judgement.evidence["executor-0"]["first_panics"]
    assert [line.strip("\ufffd ") for line in first] == ["panic: \x1b[31mindex out of range", "FATAL all is lost"]


async def test_a_log_that_cannot_be_read_is_unknown(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes["executor-0"].log_path.unlink()
    judgement = await NodesHealthy(NoConfig()).evaluate(world)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "the log of executor-0 could not be read" in judgement.measured
    world.nodes["validator-0"].ends.append((Exit(1, None, 0.0), False))
    assert (await NodesHealthy(NoConfig()).evaluate(world)).verdict is Verdict.FAIL


async def test_without_nodes_nothing_is_known(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes.clear()
    assert (await NodesHealthy(NoConfig()).evaluate(world)).verdict is Verdict.UNKNOWN


def test_a_log_is_read_in_pieces_and_its_evidence_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 3 * health.LINE_LIMIT + b"\n" + b"panic: again and again\n" * 1000)
    scan = scan_log(log, [r"panic:"])
    assert (scan.matches, len(scan.first), scan.error) == (1000, health.SHOWN, "")
    assert scan_log(log, []).matches == 0
