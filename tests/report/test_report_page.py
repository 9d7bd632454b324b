"""A run's page: what stands on it, that every text on it is text, and that it stays small."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.record.events import (
    BlockObserved,
    Event,
    FaultStaged,
    NodeChanged,
    NodeMeasured,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    Steered,
    WorkloadProgress,
)
from harness.record.reduce import reduce_all
from harness.report.charts import charts_of
from harness.report.compare import Side, compare
from harness.report.matrix import MatrixRun, summarize_matrix
from harness.report.observed import Observed, observe
from harness.report.page import comparison_page, matrix_page, run_page
from harness.report.samples import SampleReading

NASTY = (
    "\"'><script>window.pwned=1</script><img src=x onerror=window.pwned=1></style></title>{{ 7*7 }}\x1b[31m\u202e&amp;"
)
NO_SAMPLES = SampleReading()


def _page(observed: Observed, **more: Any) -> str:
    return run_page(observed, NO_SAMPLES, **more)


def test_what_did_not_hold_comes_first_with_its_evidence_and_its_place(events: Any, record: Any, parse: Any) -> None:
    page = parse(_page(observe(record(events()))))
    text = page.text
    assert text.index("two blocks at height 12") < text.index("too few") < text.index("58 blocks")
    assert "chaos.toml:35:3" in text and "stood still for 9s" in text
    expectations = [one for one in page.named("details") if "expectation" in (one["class"] or "")]
    assert ["open" in one for one in expectations] == [True, True, False]
    assert page.wrong == [] and page.unclosed == []


def test_the_page_is_whole_and_asks_for_nothing(events: Any, record: Any, parse: Any) -> None:
    html = _page(observe(record(events())), playbook='name = "x"\n# <b>\n[vars]\n')
    page = parse(html)
    assert page.named("script") == [] and page.named("img") == []
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert "url(" not in html.replace("url(#hatch)", "").replace("url(#hatch2)", "")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {one["href"] for one in page.named("a")}
    assert {link.removeprefix("#") for link in links if link} <= set(ids)


def test_pictures_say_what_they_show_to_those_who_do_not_see_them(events: Any, record: Any, parse: Any) -> None:
    pictures = [one for one in parse(_page(observe(record(events())))).named("svg") if one.get("role") == "img"]
    labels = [one["aria-label"] for one in pictures]
    assert len(labels) >= 6
    assert any(label and label.startswith("Heights: validator-0 from 1 to ") and "shaded" in label for label in labels)


def test_faults_are_told_with_proof_and_recovery(events: Any, record: Any) -> None:
    observed = observe(record(events()))
    # It was healed at 29.5; its node showed nothing until 30, and then a block as high as the highest at 29.5.
    assert observed.caught_up["f1"] == pytest.approx(1.0, abs=1.5)
    assert "f2" not in observed.caught_up
    page = _page(observed)
    assert "in 200ms" in page and "restart (signal KILL)" in page
    assert "process gone" in page
    assert "f2: still there" in page


def test_recovery_is_a_block_anew_not_one_remembered(record: Any) -> None:
    timeline: list[tuple[float, Event]] = [
        (1.0, BlockObserved("a", 5, "5", "4", 1.0)),
        (2.0, FaultStaged("f", "restart", ("a",), "injected")),
        (3.0, FaultStaged("f", "restart", ("a",), "healed")),
    ]
    assert observe(record(timeline)).caught_up == {}  # it has height 5 from before
    assert observe(record([*timeline, (7.0, BlockObserved("a", 6, "6", "5", 7.0))])).caught_up == {"f": 4.0}
    lower: tuple[float, Event] = (5.0, BlockObserved("a", 4, "4", "3", 5.0))
    again: tuple[float, Event] = (6.0, BlockObserved("a", 5, "5", "4", 6.0))
    assert observe(record([*timeline, lower])).caught_up == {}
    assert observe(record([*timeline, lower, again])).caught_up == {"f": 3.0}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    blocks=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.sampled_from(["", "x", "y"]), st.booleans()),
        max_size=25,
    )
)
def test_its_state_is_that_of_reduce(record: Any, blocks: list[tuple[str, int, str, bool]]) -> None:
    timeline: list[tuple[float, Event]] = []
    for t, (node, height, hash, is_block) in enumerate(blocks):
        event = BlockObserved(node, height, hash, "", float(t)) if is_block else NodeChanged(node, "paused", None, hash)
        timeline.append((float(t), event))
    recorded = record(timeline)
    assert observe(recorded).state == reduce_all(recorded)


def test_who_steered_is_shown_and_pauses_are_shaded(events: Any, record: Any) -> None:
    steered: list[tuple[float, Event]] = [
        (10.0, Steered("pause", "ops@here")),
        (14.0, Steered("resume", "ops@here")),
        (50.0, Steered("pause", "ops@here")),
    ]
    observed = observe(record(sorted([*events(), *steered], key=lambda pair: pair[0])))
    assert observed.pauses == ((10.0, 14.0), (50.0, 64.0))
    html = _page(observed)
    assert html.count('class="band pause"') == 2 * html.count('<figure class="card">\n<figcaption>')
    assert "pause by ops@here" in html


def test_who_is_behind_is_behind_and_who_is_slow_for_a_moment_is_not(record: Any) -> None:
    seen: list[tuple[float, Event]] = []
    for height in range(1, 2001):  # long enough to be thinned
        t = float(height)
        seen.append((t, BlockObserved("fast", height, "h", "p", t)))
        if not 500 < height < 510:
            seen.append((t + 0.1, BlockObserved("slow", height, "h", "p", t)))
        if height <= 1900:
            seen.append((t + 0.2, BlockObserved("gone", height, "h", "p", t)))
        if height == 1200:
            seen.append((t - 0.5, BlockObserved("slow", height - 2, "h", "p", t)))
    seen.sort(key=lambda pair: pair[0])
    found = observe(record(seen)).behind
    behind = {node: [(round(t, 3), value) for t, value in points] for node, points in found.items()}
    assert behind["fast"] == [(1, 0), (2000, 0)]
    assert [(t, value) for t, value in behind["slow"] if value] == [(510.1, 10), (1199.5, 1), (1200.1, 2)]
    assert behind["slow"][:4] == [(1.1, 0), (500.1, 0), (510.1, 10), (510.1, 0)]
    assert behind["slow"][4:7] == [(1199.1, 0), (1199.5, 1), (1200.1, 2)]
    assert behind["gone"][-2:] == [(1900.2, 0), (2000.1, 100)]


def test_what_nodes_used_and_which_version_they_are_is_shown_where_it_was_measured(events: Any, record: Any) -> None:
    assert "CPU of nodes" not in _page(observe(record(events())))
    measured: list[tuple[float, Event]] = [
        (float(t), NodeMeasured("validator-0", 3, "devnet 1.2.3", 0.25 if t > 5 else None, 50_000_000))
        for t in range(5, 60)
    ]
    observed = observe(record(sorted([*events(), *measured], key=lambda pair: pair[0])))
    assert observed.measures["cpu"]["validator-0"][0] == (6.0, 0.25)
    html = _page(observed)
    assert "devnet 1.2.3" in html and "CPU of nodes: validator-0 from 0.25 to 0.25" in html and "50 MB" in html


def test_who_catches_up_at_once_is_behind_before_and_not_afterwards(record: Any) -> None:
    seen: list[tuple[float, Event]] = [(t, BlockObserved("a", int(t), "h", "p", t)) for t in (1.0, 2.0, 3.0, 4.0)]
    seen += [(1.5, BlockObserved("b", 1, "h", "p", 1.0))]
    seen += [(9.0 + n / 10_000, BlockObserved("b", n, "h", "p", 1.0)) for n in (1, 2, 3, 4)]
    behind = observe(record(sorted(seen, key=lambda pair: pair[0]))).behind["b"]
    assert [value for _, value in behind] == [0, 3, 0]


def test_the_rate_that_was_to_be_sent_is_drawn_across_the_throughput(events: Any, record: Any) -> None:
    asked = [
        (t, replace(event, target=12.5)) if isinstance(event, WorkloadProgress) else (t, event) for t, event in events()
    ]
    assert "to be sent 12.5/s" in _page(observe(record(asked)))
    assert "to be sent" not in _page(observe(record(events())))


def test_intervals_and_heights_are_those_that_were_seen(record: Any) -> None:
    seen: list[tuple[float, Event]] = [
        (1.0, BlockObserved("a", 1, "1", "0", 100.0)),
        (2.0, BlockObserved("a", 2, "2", "1", 101.5)),
        (2.1, BlockObserved("b", 2, "2", "1", 101.5)),
        (4.0, BlockObserved("b", 3, "3", "2", 103.5)),
        (5.0, BlockObserved("b", 5, "5", "4", 109.5)),  # 4 was not seen: no interval is known
    ]
    observed = observe(record(seen))
    assert list(observed.intervals) == [(2.0, 1.5), (4.0, 2.0)]
    assert observed.heights["b"] == [(2.1, 2), (4.0, 3), (5.0, 5)]
    assert observed.seen_blocks == 4


@pytest.mark.parametrize("cut", [0, 1, 5, 60, 200])
def test_a_run_that_was_cut_off_anywhere_has_a_page(events: Any, record: Any, parse: Any, cut: int) -> None:
    observed = observe(record(events()[:cut]))
    dead, live = parse(_page(observed)), parse(_page(observed, alive=True))
    assert "DEAD" in dead.text and "RUNNING" in live.text
    assert dead.wrong == [] and dead.unclosed == []


def test_hostile_texts_stay_texts(events: Any, record: Any, parse: Any) -> None:
    numbers = iter(range(10_000))
    names: dict[str, str] = {}

    def nasty(text: str) -> str:  # each text nasty, equal ones equal
        return names.setdefault(text, f"{NASTY}{next(numbers)}")

    observed = observe(record(events(nasty)))
    clean = parse(_page(observe(record(events()))))
    sides = Side(observed, {NASTY: [(1.0, 1.0)]}, f'x = """{NASTY}"""', NASTY)
    pages = {
        "run": _page(observed, playbook=f"# {NASTY}\nkey = {NASTY}\n[{NASTY}]"),
        "compare": comparison_page(compare(sides, replace(sides, run_id="b"))),
        "matrix": matrix_page(summarize_matrix([MatrixRun(observed, NO_SAMPLES, NASTY, link=NASTY)])),
    }
    for name, html in pages.items():
        page = parse(html)
        assert page.named("script") == [] and page.named("img") == [], name
        assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes), name
        assert "<script>window.pwned=1</script>" in page.text, name  # as text
        assert "{{ 7*7 }}" in page.text and "\x1b" not in html and "\u202e" not in html, name
        assert page.wrong == [] and page.unclosed == [], name
    known = {tag for tag, _ in clean.tags}
    assert {tag for tag, _ in parse(pages["run"]).tags} <= known | {"pre", "summary"}


_PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking pages takes minutes
_ANY = st.floats() | st.integers(-5, 10**30) | st.text(max_size=4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, phases=_PHASES)
@given(data=st.data())
def test_no_journal_makes_it_raise(record: Any, data: st.DataObject) -> None:
    """Times, heights and figures that no run has."""
    number = st.floats()
    name = st.sampled_from(["a", "b", ""])
    event = st.one_of(
        st.builds(BlockObserved, name, st.integers(), st.text(max_size=3), st.text(max_size=3), number),
        st.builds(PhaseStarted, st.sampled_from(["drive", "settle"])),
        st.builds(PhaseEnded, st.sampled_from(["drive", "settle"]), st.booleans(), number),
        st.builds(WorkloadProgress, name, st.dictionaries(st.sampled_from(["offered", "included"]), _ANY)),
        st.builds(NodeChanged, name, st.just("exited"), st.none(), st.text(max_size=5), st.just(False)),
        st.builds(FaultStaged, name, name, st.lists(name, max_size=2).map(tuple), st.sampled_from(
            ["intended", "injected", "proven", "healing", "healed", "not-healed", "unproven", "nonsense"])),
        st.builds(RunFinished, st.text(max_size=3), st.integers(), st.text(max_size=3), st.text(max_size=3), number),
        st.builds(RunStarted, name, name, st.integers(), name, name, name, number, number, st.integers(), name,
                  st.dictionaries(name, st.dictionaries(st.sampled_from(["role", "links"]), _ANY)),
                  st.just(("w",)), st.just(("e",)), st.dictionaries(name, _ANY),
                  matrix=st.dictionaries(st.sampled_from(["id", "number", "of"]), _ANY)),
    )  # fmt: skip
    timeline = data.draw(st.lists(st.tuples(st.floats(), event), max_size=12))
    observed = observe(record(timeline))
    assert _page(observed)
    assert matrix_page(summarize_matrix([MatrixRun(observed, NO_SAMPLES, "r")]))
    side = Side(observed, {}, "", "r")
    assert comparison_page(compare(side, side))


def test_a_long_run_of_many_nodes_has_a_small_page(events: Any, record: Any) -> None:
    nodes = [f"validator-{n}" for n in range(200)]
    timeline: list[tuple[float, Event]] = [events()[0], (1.0, PhaseStarted("drive"))]
    for height in range(1, 121):
        t = 30.0 * height
        timeline += [(t + n / 1000, BlockObserved(node, height, "h", "p", t)) for n, node in enumerate(nodes)]
        if height % 4 == 0:
            timeline += [
                (t, FaultStaged(f"f{height}", "restart", (nodes[height % 200],), stage))
                for stage in ("injected", "healed")
            ]
    observed = observe(record(timeline))
    html = _page(observed)
    assert len(html) < 2_000_000
    heights = charts_of(observed, NO_SAMPLES)[1]
    assert len(heights.lines) == 200
    assert sum(len(line.points) for line in heights.lines) < 30_000
    assert {line.label: line.points[-1][1] for line in heights.lines} == dict.fromkeys(nodes, 120)
    assert len(heights.legend) == 8


def test_a_journal_of_any_length_is_read_in_bounded_memory() -> None:
    def journal(blocks: int) -> Iterator[Recorded]:
        for number in range(blocks):
            height, t = number // 20, number / 20
            yield Recorded(number + 1, t, t, BlockObserved(f"node-{number % 20}", height, f"{height:064x}", "", t))

    def held(blocks: int) -> int:
        return most(blocks, list)

    def most(blocks: int, use: Callable[[Iterator[Recorded]], object] = observe) -> int:
        tracemalloc.start()
        try:
            use(journal(blocks))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert most(20_000) < 4_000_000 < held(20_000)


def test_a_node_looks_the_same_in_every_chart(events: Any, record: Any) -> None:
    measured: list[tuple[float, Event]] = [
        (0.5 + n, NodeMeasured(f"validator-{n}", cpu=0.1, memory=5)) for n in (3, 0, 2, 1)
    ]
    observed = observe(record(sorted([*events(), *measured], key=lambda pair: pair[0])))
    charts = {chart.title: chart for chart in charts_of(observed, NO_SAMPLES)}
    looks = [
        [(line.label, line.look) for line in charts[title].lines]
        for title in ("Heights", "Blocks behind the highest", "CPU of nodes", "Memory of nodes")
    ]
    assert looks == 4 * [[(f"validator-{n}", n) for n in range(4)]]


def test_what_has_no_room_in_charts_is_said(record: Any) -> None:
    faults: list[tuple[float, Event]] = [
        (float(n), FaultStaged(f"f{n}", "restart", ("a",), "injected")) for n in range(400)
    ]
    page = _page(observe(record(faults)))
    assert "Charts show the first 150 of 400 faults." in page
    assert "… and 150 more in the journal" in page
    assert "Charts show the first" not in _page(observe(record(faults[:100])))


def test_thinning_is_said(record: Any) -> None:
    timeline: list[tuple[float, Event]] = [(float(t), BlockObserved("a", t, "h", "p", float(t))) for t in range(3000)]
    assert "no peak is lost" in _page(observe(record(timeline)))
    assert "no peak is lost" not in _page(observe(record(timeline[:100])))


def test_every_part_of_it_is_made_of_the_same_events(events: Any, record: Any) -> None:
    """A page is a function of what it is made from."""
    recorded = record(events())
    assert _page(observe(recorded)) == _page(observe(recorded))
