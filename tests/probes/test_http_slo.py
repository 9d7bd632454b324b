from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from harness.api import Verdict, Violation
from harness_probes import probing
from harness_probes.http_slo import HttpSlo, HttpSloConfig
from harness_probes.probing import Probes, Target, tally
from tests.observe.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests share their machine: how late their own probes leave says nothing."""
    monkeypatch.setattr(probing, "LATE", 60.0)


def check_of(url: str, **options: Any) -> HttpSlo:
    return HttpSlo(HttpSloConfig.model_validate({"url": url, "interval": "20ms", **options}))


async def driven(world: World, check: HttpSlo, *, probes: int = 20, within: float = 20.0) -> None:
    """Measure until there are so many probes, as the engine does."""
    world.begin(within)
    with anyio.fail_after(within):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check.measure, world)
            while sum(len(one.due) for one in check._probes) < probes:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    world.end()


async def test_good_answers_pass(world: World, server: Any) -> None:
    check = check_of(server.url + "/health", latency={"p50": "10s", "max": "10s"}, headers={"X-Probe": "yes"})
    await driven(world, check)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.PASS, judgement
    assert judgement.measured.startswith("1 available (n = ")
    assert "p50 " in judgement.measured and "max " in judgement.measured
    path, _, headers = server.asked[0]
    assert (path, headers["X-Probe"]) == ("/health", "yes")


async def test_bad_answers_fail_and_are_said(world: World, server: Any) -> None:
    replies = iter([(200, b"")] * 5)
    server.answer = lambda *_: next(replies, (503, b"down"))
    check = check_of(server.url)
    await driven(world, check)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    (target,) = judgement.evidence["targets"].values()
    assert list(target["failures"]) == ["status 503"]
    first = datetime.fromisoformat(target["first_failures"][0]["at"])
    assert 0 <= world.clock.wall() - first.timestamp() < 600


async def test_nobody_there_fails(world: World) -> None:
    """The fake nodes' endpoint: port 1 of loopback, which refuses."""
    check = check_of("http://{endpoint}/")
    await driven(world, check)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.measured.startswith("0 available")
    assert set(judgement.evidence["targets"]) == set(world.nodes)


async def test_slow_answers_fail_the_percentile_and_delay_no_other_probe(world: World, server: Any) -> None:
    def slowly(*_: Any) -> tuple[int, bytes]:
        time.sleep(0.3)
        return 200, b""

    server.answer = slowly
    check = check_of(server.url, latency={"p50": "100ms"})
    await driven(world, check, probes=10)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    due = sorted(check._probes[0].due)
    assert due == pytest.approx([due[0] + 0.02 * number for number in range(len(due))])


async def test_answers_that_take_too_long_are_none(world: World, server: Any) -> None:
    def slowly(*_: Any) -> tuple[int, bytes]:
        time.sleep(0.5)
        return 200, b""

    server.answer = slowly
    check = check_of(server.url, timeout="50ms")
    await driven(world, check, probes=5)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.evidence["targets"][server.url]["failures"] == {"no answer within 0.05 s": 5}


async def test_a_secret_that_is_not_there_is_unknown(
    world: World, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    check = check_of(server.url, headers={"Authorization": {"env": "NO_SUCH_TOKEN"}})
    world.begin(1)
    await check.measure(world)
    world.end()
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "NO_SUCH_TOKEN" in judgement.measured
    assert server.asked == []


async def test_no_probe_at_all_is_unknown(world: World, server: Any) -> None:
    check = check_of(server.url)
    world.begin(1)
    world.end()
    assert (await check.evaluate(world)).verdict is Verdict.UNKNOWN


def probed(*rows: tuple[float, float, bool, str]) -> Probes:
    probes = Probes(Target("a", "http://a", ("validator-0",)))
    for due, latency, punctual, why in rows:
        probes.add(due, latency, punctual, why, due)
    return probes


async def test_a_prober_that_was_late_is_unknown_unless_the_others_fail(world: World) -> None:
    world.begin()
    world.end()
    check = check_of("http://a", latency={"p99": "1s"})
    check._probes = [probed(*[(float(i), 0.1, True, "") for i in range(8)], *[(9.0, 5.0, False, "")] * 2)]
    judgement = await check.evaluate(world)
    assert (judgement.verdict, "prober itself was late: 2 probes" in judgement.measured) == (Verdict.UNKNOWN, True)
    check._probes[0].add(10.0, 0.1, True, "status 500", 10.0)
    assert (await check.evaluate(world)).verdict is Verdict.FAIL
    check._probes = [probed((0.0, 5.0, False, ""))]
    assert "no probe counts: 1 left late" in (await check.evaluate(world)).measured


async def test_what_faults_disturb_is_said_and_left_out_if_asked(world: World) -> None:
    world.begin()
    world.end()
    world.faults.windows["validator-0"] = [(10.0, 12.0)]
    rows = [(float(i), 0.1, True, "") for i in range(8)]
    rows += [(9.5, 2.0, True, "refused"), (11.0, 0.1, True, "refused"), (12.5, 0.1, True, "refused")]
    for options, verdict, disturbed in (
        ({}, Verdict.FAIL, "2 under faults counted"),
        ({"calm": True}, Verdict.FAIL, "2 under faults left out"),
        ({"calm": True, "recovery": "1s"}, Verdict.PASS, "3 under faults left out"),
    ):
        check = check_of("http://a", **options)
        check._probes = [probed(*rows)]
        judgement = await check.evaluate(world)
        assert (judgement.verdict, disturbed in judgement.measured) == (verdict, True), judgement.measured
    check._probes = [probed((11.0, 0.1, True, ""))]
    assert (await check.evaluate(world)).verdict is Verdict.UNKNOWN  # nothing is left


async def test_watching_tells_once_the_drive_cannot_pass_any_more(world: World) -> None:
    world.begin(10)
    check = check_of("http://a", availability=0.9, latency={"p90": "1s"}, interval="100ms")
    check._planned = 100
    check._probes = [probed(*[(0.0, 0.1, True, "refused")] * 10)]
    assert await check.watch(world) is None  # 90 of 100 may still be good
    check._probes[0].add(1.0, 2.0, True, "", 1.0)
    violation = await check.watch(world)
    assert isinstance(violation, Violation)
    assert violation.message == "11 of at most 100 probes took more than p90's 1s already"


def test_percentiles_are_nearest_ranks_with_failures_at_the_end() -> None:
    rows = [(0.0, i / 1000, True, "") for i in range(100, 0, -1)]
    result = tally([probed(*rows)], lambda node: [], False)
    assert [result.percentile(share) for share in (0.5, 0.99, 1.0)] == [0.05, 0.099, 0.1]
    result = tally([probed(*rows[:98], (0.0, 0.0, True, "x"), (0.0, 0.0, True, "x"))], lambda node: [], False)
    assert result.percentile(0.98) == 0.1
    assert result.percentile(0.99) == float("inf")
    assert result.availability == 0.98


async def test_too_many_under_way_are_not_sent(world: World, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "IN_FLIGHT", 2)
    server.answer = lambda *_: (time.sleep(0.3), (200, b""))[1]
    check = check_of(server.url)
    await driven(world, check, probes=6)
    judgement = await check.evaluate(world)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.evidence["late"] >= 4


@pytest.mark.parametrize(
    "options", [{"url": "ftp://x"}, {"url": "http://{nde}/"}, {"latency": {"p100": "1s"}}, {"headers": {"a": "b\n"}}]
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpSloConfig.model_validate(options)
