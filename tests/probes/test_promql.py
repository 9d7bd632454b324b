from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from harness.api import Judgement, Verdict
from harness_probes.promql import Promql, PromqlConfig
from tests.observe.world import World

pytestmark = pytest.mark.anyio
Prometheus = Callable[..., Any]


async def judged(world: World, url: str, **options: Any) -> Judgement:
    check = Promql(PromqlConfig.model_validate({"url": url, "query": "up", **options}))
    world.begin()
    await anyio.sleep(0.01)
    world.end()
    return await check.evaluate(world)


async def test_every_series_must_hold(world: World, prometheus: Prometheus) -> None:
    server = prometheus([("a", 3.0), ("b", 5.0)])
    judgement = await judged(world, server.url, op=">", value=2)
    assert (judgement.verdict, judgement.measured) == (Verdict.PASS, "3 to 5 in 2 samples of 2 series")
    path, form, _ = server.asked[0]
    assert (path, form["query"]) == ("/api/v1/query", "up")
    assert float(form["time"]) == pytest.approx(world.window.end_wall, abs=0.001)
    judgement = await judged(world, server.url, op=">", value=4)
    assert (judgement.verdict, judgement.measured) == (Verdict.FAIL, 'up{instance="a"} was 3')


async def test_every_sample_of_a_range_must_hold(world: World, prometheus: Prometheus) -> None:
    server = prometheus([("a", [1.0, 9.0, 1.0])])
    options = {"mode": "range", "step": "1s", "op": "<", "value": 10}
    assert (await judged(world, server.url, **options)).verdict is Verdict.PASS
    path, form, _ = server.asked[0]
    assert (path, form["step"]) == ("/api/v1/query_range", "1.000")
    assert float(form["start"]) < float(form["end"])
    judgement = await judged(world, server.url, **{**options, "value": 5})
    assert (judgement.verdict, judgement.evidence["wrong"]) == (Verdict.FAIL, 1)


@pytest.mark.parametrize(
    ("op", "value", "tolerance", "holds"),
    [
        ("==", 3, 0, True), ("==", 3.1, 0, False), ("==", 3.1, 0.2, True), ("!=", 3, 0, False), ("!=", 3.1, 0.2, False),
        ("!=", 4, 0.2, True), ("<", 3, 0, False), ("<=", 3, 0, True), (">", 3, 0, False), (">=", 3, 0, True),
        (">=", 3.2, 0.5, True), ("<=", 2, 0.5, False),
    ],
)  # fmt: skip
async def test_comparisons(
    world: World, prometheus: Prometheus, op: str, value: float, tolerance: float, holds: bool
) -> None:
    server = prometheus([("a", 3.0)])
    judgement = await judged(world, server.url, op=op, value=value, tolerance=tolerance)
    assert judgement.verdict is (Verdict.PASS if holds else Verdict.FAIL)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "no data"),
        ([("a", math.nan)], "not a number"),
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, "refuses the query: bad_data: parse"),
        (b"<html>", "not as Prometheus does"),
        (b"[" * 100_000, "not as Prometheus does"),
        (b"[]", "not as Prometheus does"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, "not as Prometheus"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}, "gives a string"),
    ],
)
async def test_what_says_nothing_is_unknown(world: World, prometheus: Prometheus, answer: Any, why: str) -> None:
    judgement = await judged(world, prometheus(answer).url)
    assert judgement.verdict is Verdict.UNKNOWN
    assert why in judgement.measured


async def test_a_server_that_is_not_there_is_unknown(world: World) -> None:
    judgement = await judged(world, "http://127.0.0.1:1")
    assert (judgement.verdict, "cannot be asked" in judgement.measured) == (Verdict.UNKNOWN, True)


async def test_an_answer_without_end_is_unknown(world: World, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness_probes.promql.LARGEST", 1000)
    server.answer = lambda *_: (200, b" " * 100_000)
    assert "over" in (await judged(world, server.url)).measured


async def test_a_step_is_judged_for_its_own_moment(world: World, prometheus: Prometheus) -> None:
    server = prometheus([("a", 3.0)])
    world.begin()
    judgement = await Promql(PromqlConfig.model_validate({"url": server.url})).evaluate(world)
    assert judgement.verdict is Verdict.PASS
    assert float(server.asked[0][1]["time"]) == pytest.approx(world.clock.wall(), abs=10)


async def test_a_scalar(world: World, prometheus: Prometheus) -> None:
    server = prometheus({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "4"]}})
    assert (await judged(world, server.url, op="==", value=4)).verdict is Verdict.PASS


async def test_credentials_come_from_where_they_are(
    world: World, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBES_TOKEN", "s3cret-token")
    server = prometheus([("a", 1.0)])
    token = {"env": "PROBES_TOKEN"}
    await judged(world, server.url, bearer=token, headers={"X-Scope-OrgID": token})
    _, _, headers = server.asked[-1]
    assert (headers["Authorization"], headers["X-Scope-OrgID"]) == ("Bearer s3cret-token", "s3cret-token")
    await judged(world, server.url, username="me", password=token)
    assert server.asked[-1][2]["Authorization"] == "Basic " + base64.b64encode(b"me:s3cret-token").decode()
    config = PromqlConfig.model_validate({"bearer": token})
    assert config.model_dump(mode="json")["bearer"] == token
    assert "s3cret" not in repr(config) + json.dumps(config.model_dump(mode="json"))
    assert PromqlConfig.model_validate(config.model_dump(mode="json")) == config
    judgement = await judged(world, server.url, bearer={"env": "NO_SUCH_TOKEN"})
    assert (judgement.verdict, "NO_SUCH_TOKEN" in judgement.measured) == (Verdict.UNKNOWN, True)


async def test_watching(world: World, prometheus: Prometheus) -> None:
    server = prometheus([("a", 3.0), ("b", math.nan)])
    world.begin()
    assert await Promql(PromqlConfig.model_validate({"url": server.url, "value": 3})).watch(world) is None
    violation = await Promql(PromqlConfig.model_validate({"url": server.url, "value": 4})).watch(world)
    assert violation is not None and violation.message == 'up{instance="a"} was 3'
    assert await Promql(PromqlConfig.model_validate({"url": "http://127.0.0.1:1"})).watch(world) is None
    assert "could not ask" in world.notes[0]


@pytest.mark.parametrize(
    "options",
    [{"bearer": "text"}, {"username": "me"}, {"url": "x"}, {"password": {"env": "X"}}, {"op": "~"}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PromqlConfig.model_validate(options)
