from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.api import Verdict
from harness_probes import scan_script
from harness_probes.log_pattern import LogPattern, LogPatternConfig
from tests.observe.world import World

pytestmark = pytest.mark.anyio


def write(world: World, node: str, content: bytes) -> None:
    with world.nodes[node].log_path.open("ab") as log:
        log.write(content)


async def begun(world: World, **options: object) -> LogPattern:
    check = LogPattern(LogPatternConfig.model_validate(options))
    await check.capture(world)
    return check


async def test_a_forbidden_line_fails_with_node_line_number_and_text(world: World) -> None:
    check = await begun(world, forbid=["ERROR|FATAL", "never"])
    write(world, "validator-1", b"fine\n\xff [red]ERROR[/red]: lost\r\nERROR again\n")
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured.startswith("validator-1, line 3: ")  # line 1 was there before
    (found,) = judgement.evidence["forbidden"]
    assert (found["node"], found["line"], found["count"]) == ("validator-1", 3, 2)
    assert found["text"] == "\ufffd [red]ERROR[/red]: lost"
    assert found["more"] == [{"line": 4, "text": "ERROR again"}]


async def test_what_was_written_before_the_drive_does_not_count(world: World) -> None:
    write(world, "validator-0", b"ERROR of yesterday\n")
    check = await begun(world, forbid=["ERROR"])
    write(world, "validator-0", b"fine\n")
    judgement = await check.evaluate(world)
    assert (judgement.verdict, judgement.measured) == (Verdict.PASS, "1 lines of 3 nodes, none that is forbidden")


async def test_a_line_without_an_end_counts(world: World) -> None:
    check = await begun(world, forbid=["ERROR"])
    write(world, "validator-0", b"ERROR")
    assert (await check.evaluate(world)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, Verdict.FAIL),  # validator-1 lacks it
        ({"nodes": "validator-0"}, Verdict.PASS),
        ({"together": True, "min": 2, "max": 2}, Verdict.PASS),
        ({"together": True, "min": 3}, Verdict.FAIL),
        ({"nodes": "validator-0", "max": 1}, Verdict.FAIL),
        ({"min": 0, "max": 2}, Verdict.PASS),
    ],
)
async def test_required_lines_are_counted(world: World, options: dict[str, object], verdict: Verdict) -> None:
    check = await begun(world, require=["synced to \\d+"], **{"nodes": "validators", **options})
    write(world, "validator-0", b"synced to 5\nsynced to x\nsynced to 6\n")
    judgement = await check.evaluate(world)
    assert judgement.verdict is verdict
    assert judgement.evidence["required"]["synced to \\d+"]["validator-0"] == 2


async def test_a_log_that_is_gone_or_was_cut_is_unknown(world: World) -> None:
    check = await begun(world, forbid=["ERROR"])
    world.nodes["executor-0"].log_path.write_text("")
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "executor-0 could not be read: it is shorter than it was" in judgement.measured
    world.nodes["executor-0"].log_path.unlink()
    assert (await check.evaluate(world)).verdict is Verdict.UNKNOWN
    write(world, "validator-0", b"ERROR\n")  # seen for certain, whatever else was not
    assert (await check.evaluate(world)).verdict is Verdict.FAIL


async def test_a_log_that_was_not_there_before_the_drive_is_unknown(world: World) -> None:
    world.nodes["executor-0"].log_path.unlink()
    check = await begun(world, forbid=["ERROR"])
    assert (await check.evaluate(world)).verdict is Verdict.UNKNOWN


async def test_a_pattern_that_backtracks_for_ever_is_ended_and_unknown(world: World) -> None:
    check = await begun(world, forbid=["(a+)+$"], timeout="2s")
    write(world, "validator-0", b"a" * 60 + b"!\n")
    judgement = await check.evaluate(world)
    assert (judgement.verdict, "took more than 2 s" in judgement.measured) == (Verdict.UNKNOWN, True)


async def test_watching_sees_each_forbidden_line_once(world: World) -> None:
    check = await begun(world, forbid=["ERROR"])
    assert await check.watch(world) is None
    write(world, "validator-0", b"fine\nERROR one\n")
    violation = await check.watch(world)
    assert violation is not None
    assert violation.message == "validator-0, line 3: 'ERROR one' matches 'ERROR'"
    assert await check.watch(world) is None
    write(world, "validator-0", b"ERROR two\n")
    violation = await check.watch(world)
    assert violation is not None and "line 4" in violation.message
    assert (await check.evaluate(world)).evidence["forbidden"][0]["count"] == 2


def test_long_lines_are_looked_at_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 3 * scan_script.PIECE + b"ERROR\nERROR\n" + b"ERROR\n" * 100)
    result = scan_script.scan({"path": str(log), "offset": 0, "lines": 0}, ["ERROR"])
    assert (result["lines"], result["found"][0]["count"], result["error"]) == (102, 102, "")
    assert [one["line"] for one in result["found"][0]["first"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("options", [{"forbid": ["("]}, {"require": ["x"], "min": 2, "max": 1}])
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LogPatternConfig.model_validate(options)
