"""What a search measures, writes down, says and draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode, UsageError
from harness.report.matrix import Flow
from harness.search.finding import conclude
from harness.search.measures import measured
from harness.search.page import level_table, probe_line, search_page
from harness.search.record import BROKEN, Probe, Search, Settings, held, load, save, to_json
from harness.search.strategy import Bounds, End, Outcome, decide


def account(**more: Any) -> dict[str, Any]:
    latency = {"n": 80, "p50": 0.5, "p90": 1.0, "p99": 2.0, "max": 3.0}
    return {"offered": 100, "accepted": 80, "included": 60, "dropped": 0, "latency_seconds": latency, **more}


def result(*accounts: dict[str, Any]) -> dict[str, Any]:
    evidence = {f"tx-{number}": one for number, one in enumerate(accounts)}
    return {
        "run": {"block_interval": 2.0},
        "verdict": "unknown",
        "expectations": [{"id": "transaction-inclusion", "verdict": "pass", "evidence": evidence}],
        "workloads": {"a": {"offered": 10, "accepted": 8, "included": 4}, "web": {"offered": 10, "accepted": 10}},
    }


FLOWS = {"a": Flow(10.0, 8.0, 4.0, 0.5, None), "web": Flow(30.0, 20.0, 20.0, 0.1, 0.2)}


def test_measures_have_the_names_of_what_measured_them() -> None:
    found = measured(result(account(), account(accepted=50, included=50)), FLOWS)
    assert found.block_interval == 2.0 and not found.short and not found.late
    assert found.measures["transaction-inclusion.inclusion"] == [0.75, 1.0]
    assert found.measures["transaction-inclusion.tx-0.latency_seconds.p99"] == [2.0]
    assert found.measures["transaction-inclusion.latency_seconds.p99"] == [2.0, 2.0]
    assert found.measures["transaction-inclusion.verdict"] == ["pass"] and found.measures["verdict"] == ["unknown"]
    assert found.measures["inclusion"] == [0.5]  # what goes into no block has none
    assert found.measures["a.sustained"] == [0.4]
    assert found.measures["web.achieved"] == [20.0] and found.measures["p99"] == [None, 0.2]
    assert (found.figure("achieved"), found.figure("acceptance"), found.figure("p50")) == (24.0, 0.8, 0.5)


def test_what_the_generator_dropped_was_not_refused() -> None:
    content = result(account(dropped=20))
    content["workloads"]["a"]["dropped"] = 2
    found = measured(content, FLOWS)
    assert found.measures["transaction-inclusion.acceptance"] == [1.0]
    assert found.measures["a.acceptance"] == [1.0] and found.measures["a.sustained"] == [0.5]


def test_the_latency_of_nothing_is_no_latency() -> None:
    nothing = {"n": 0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
    found = measured(result(account(included=0, latency_seconds=nothing)), {})
    assert found.measures["transaction-inclusion.p99"] == [None]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"dropped": 6}, ("dropped 6%", "")),
        ({"dropped": 5}, ("", "")),
        ({"dropped": 6, "service_seconds": {"n": 3, "p50": 2.0}}, ("(dropped; answers took 2 s, median)", "")),
        ({"dropped": 6, "service_seconds": {"n": 0, "p50": 0.0}}, ("(dropped)", "")),
        ({"generator_lateness_seconds": {"p99": 0.2}}, ("", "0.2 s late")),
        ({"generator_lateness_seconds": {"p99": 0.1}}, ("", "")),
    ],
)
def test_a_generator_that_could_not_keep_up_is_noticed(more: dict[str, Any], why: tuple[str, str]) -> None:
    found = measured(result(account(**more)), {})
    for said, words in zip((found.short, found.late), why, strict=True):
        assert words in said and bool(words) == bool(said)


def settings(bounds: Bounds) -> Settings:
    return Settings("/x/load.toml", "00", "rate", "p99 < 5s and inclusion > 99%", "/s", bounds, 7)


def probed(limit: float, **more: Any) -> tuple[Search, End]:
    search = Search("search-x", settings(Bounds(10.0, 1_000.0, **more)))
    while not isinstance(step := decide(search.settings.bounds, search.trials), End):
        outcome = Outcome.PASS if step.rate <= limit else Outcome.FAIL
        figures = {
            "offered": step.rate,
            "accepted": step.rate,
            "achieved": min(step.rate, limit),
            "p99": step.rate / 50,
        }
        number = len(search.probes) + 1
        why = "" if outcome is Outcome.PASS else "p99 <b>"
        search = search.probed(Probe(number, step.rate, outcome, f"run-{number}", 0, 1.0, why, figures))
    return search, step


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    search, end = probed(300.0)
    save(tmp_path, search)
    assert load(tmp_path) == search == load(tmp_path / "search.json")
    finding = conclude(search, end)
    assert json.loads(json.dumps(finding.as_result()))["passed"]["of"] == 2
    assert json.loads(to_json(search))["settings"]["bounds"]["max_seconds"] is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "settings": {"bounds": {}}}'])
def test_what_is_no_search_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(UsageError, match=r"search\.json: "):
        load(tmp_path)
    with pytest.raises(UsageError, match="no search to resume"):
        load(tmp_path / "other")


def test_nobody_goes_on_with_a_search_that_goes_on(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UsageError, match="already"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_finding_says_what_was_found_and_how_sure_that_is() -> None:
    search, end = probed(300.0)
    finding = conclude(search, end)
    assert finding.exit_code is ExitCode.PASS and end.passed and end.failed
    assert finding.sentence.startswith(f"the limit is between {search.value(end.passed.rate)} (2 of 2)")
    assert finding.interval and finding.interval[0] < 300 < finding.interval[1]
    assert "16 % and 100 %" in finding.notes[1]


def test_bounds_that_were_met_are_named() -> None:
    for limit, more, words in (
        (5.0, {}, "which is --from, did not pass: the limit is lower"),
        (9_999.0, {}, "it is --to: the limit is higher"),
        (300.0, {"max_probes": 4}, "not found within --max-probes 4: rate = 80/s (1 of 1) passes"),
    ):
        finding = conclude(*probed(limit, **more))
        assert finding.exit_code is ExitCode.UNKNOWN and words in finding.sentence, finding.sentence
        assert finding.interval is None


def test_a_broken_run_tells_nothing_of_its_rate() -> None:
    search, _ = probed(300.0)
    broken = search.probed(Probe(99, 20.0, BROKEN, "run-99", 3, 1.0, "no node was ready"))
    assert broken.trials == search.trials
    assert level_table(broken).rows == level_table(search).rows
    assert "broken: no node was ready" in probe_line(broken, broken.probes[-1])


def test_the_page_is_whole_and_harmless() -> None:
    search, end = probed(300.0)
    page = search_page(search, conclude(search, end), {"run-1": "../run-1/report.html"})
    assert "Achieved against offered" in page and "Latency against offered" in page and "asked for" in page
    assert "the highest that passed" in page and '<a href="../run-1/report.html">run-1</a>' in page
    assert "p99 &lt;b&gt;" in page and "<b>" not in page and "<script" not in page
    assert "goes on" in search_page(Search("search-x", settings(Bounds(10.0, 1_000.0))), None, {})
