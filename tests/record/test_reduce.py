"""From events to the state of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.record.codec import decode, encode
from harness.record.events import (
    BlockObserved,
    Event,
    ExpectationJudged,
    FaultStaged,
    FeedChanged,
    NodeChanged,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    ViolationSeen,
)
from harness.record.junit import junit_of
from harness.record.reduce import FREQUENT, Fold, reduce, reduce_all
from harness.record.result import result_of
from harness.record.state import MAX_NOTES, MAX_VIOLATIONS, MAX_WARNINGS, RECENT_BLOCKS, RunState
from harness.record.summary import summarize

Wrap = Callable[..., list[Recorded]]


def block(node: str, height: int, time: float = 0.0) -> BlockObserved:
    return BlockObserved(node, height, f"h{height}", f"h{height - 1}", time)


@settings(suppress_health_check=list(HealthCheck), max_examples=100, deadline=None)
@given(data=st.data())
def test_any_sequence_of_events_gives_a_state_and_reports(
    events: st.SearchStrategy[Event], data: st.DataObject
) -> None:
    envelopes = st.builds(Recorded, st.integers(), st.floats(), st.floats(), events)
    state = reduce_all(data.draw(st.lists(envelopes, max_size=25)))
    summarize(state)
    result_of(state)
    suite = junit_of(state)
    if state.finish is None or state.finish.exit_code != 0:
        assert suite.errors + suite.failures > 0  # nothing that did not pass looks green


@settings(suppress_health_check=list(HealthCheck), max_examples=200, deadline=None)
@given(data=st.data())
def test_many_events_at_once_give_what_each_after_the_other_gives(
    events: st.SearchStrategy[Event], data: st.DataObject
) -> None:
    frequent = events.filter(lambda event: type(event) in FREQUENT)
    envelopes = st.builds(Recorded, st.integers(), st.floats(), st.floats(), frequent | events)
    fold, state = Fold(), RunState()
    for recorded in data.draw(st.lists(envelopes, max_size=6)):
        fold.add(recorded)
        state = reduce(state, recorded)
        if data.draw(st.booleans()):
            assert repr(fold.state) == repr(state)  # by repr: NaN is not equal to itself, and the order tells too
    assert repr(fold.state) == repr(state)


def test_the_state_from_a_file_is_the_state_of_the_run(timeline: Any, record: Wrap) -> None:
    recorded = record(timeline)
    read = [decode(encode(one)) for one in recorded]
    assert reduce_all(one for one in read if one is not None) == reduce_all(recorded)


def test_reduce_leaves_the_state_before_as_it_was(timeline: Any, record: Wrap) -> None:
    states, prints = [RunState()], [repr(RunState())]
    for one in record(timeline):
        states.append(reduce(states[-1], one))
        prints.append(repr(states[-1]))
    assert [repr(state) for state in states] == prints


def test_a_whole_run(timeline: Any, record: Wrap) -> None:
    state = reduce_all(record(timeline))
    assert state.run is not None and state.run.seed == 7 and state.phase == "teardown"
    assert all(phase.ok for phase in state.phases if phase.phase != "drive")
    assert [phase.phase for phase in state.phases] == ["deploy", "ready", "drive", "evaluate", "teardown"]
    assert state.nodes["executor-0"].exits == 1 and state.nodes["executor-0"].role == "executor"
    assert state.nodes["validator-2"].connected and state.nodes["validator-2"].exits == 0
    first, second = state.faults.values()
    assert (
        first.held == pytest.approx(4.8)
        and not first.active
        and not first.broken
        and first.seen["proven"] == {"process": "gone"}
    )
    assert second.broken and not second.active and "still there" in second.error
    assert {e.expectation: e.verdict for e in state.expectations.values()} == {
        "consensus-liveness": "pass",
        "transaction-inclusion": "fail",
        "no-forks": "fail",
        "da-availability": "unknown",
    }
    assert [(w.message, w.count) for w in state.warnings.values()] == [("the generator was late: p99 80 ms", 2)]
    assert state.finish is not None and state.status(alive=True) == "done"


def test_heights_lag_and_rate(record: Wrap) -> None:
    state = reduce_all(record([block("a", h, h * 2.0) for h in range(1, 6)] + [block("b", 3, 6.0)]))
    assert state.highest is not None and state.highest.height == 5 and state.highest.node == "a"
    assert (state.lag("a"), state.lag("b"), state.lag("c")) == (0, 2, None)
    assert state.block_rate() == 0.5
    assert RunState().block_rate() is None and RunState().highest is None


def test_a_reorganisation_lowers_the_node_but_not_the_highest(record: Wrap) -> None:
    state = reduce_all(record([block("a", 5), block("a", 4)]))
    assert state.nodes["a"].height == 4 and state.lag("a") == 1


def test_what_the_state_keeps_is_bounded(record: Wrap) -> None:
    many = range(300)
    state = reduce_all(
        record(
            [
                *(block("a", i + 1) for i in many),
                *(Note("x", "info", str(i)) for i in many),
                *(Note("x", "warning", str(i)) for i in many),
                *(ViolationSeen("e", str(i)) for i in many),
            ]
        )
    )
    assert (len(state.recent), len(state.notes), len(state.warnings)) == (RECENT_BLOCKS, MAX_NOTES, MAX_WARNINGS)
    assert state.recent[-1].height == 300 and state.notes[-1].message == "299"
    violated = state.expectations["e"]
    assert (len(violated.violations), violated.violation_count) == (MAX_VIOLATIONS, 300)
    assert violated.violations[0].message == "0"


def test_an_expectation_is_pending_then_violated_then_judged(record: Wrap) -> None:
    events = [ViolationSeen("e", "x"), ExpectationJudged("e", "fail", "1", "0")]
    assert [reduce_all(record(events[:n])).expectations["e"].stage for n in (1, 2)] == ["violated", "judged"]


def test_only_unasked_exits_count(record: Wrap) -> None:
    events = [
        NodeChanged("a", "exited", why="killed by fault f1", expected=True),
        NodeChanged("a", "running", 7),
        NodeChanged("a", "exited", why="exit code 1", expected=False),
        FeedChanged("a", False, ""),
    ]
    node = reduce_all(record(events)).nodes["a"]
    assert (node.exits, node.last_error, node.connected, node.pid) == (1, "exit code 1", False, None)


def test_stages_of_a_fault(record: Wrap) -> None:
    def at(*stages: str) -> Any:
        return reduce_all(record([FaultStaged("f", "cut", ("a",), stage) for stage in stages])).faults["f"]

    assert not at("intended").active
    assert at("intended", "injected").active and at("intended", "injected").held is None
    assert at("injected", "proven", "healing", "not-healed").active
    assert at("injected", "proven", "healing", "not-healed").broken
    assert not at("injected", "proven", "healing", "healed").active
    assert at("injected", "proven", "healing", "healed").held == 3.0


def test_the_inner_phase_of_a_name_ends_first(record: Wrap) -> None:
    events = [PhaseStarted("drive"), PhaseStarted("teardown"), PhaseEnded("drive", False, 1.0, "interrupted")]
    drive, teardown = reduce_all(record(events)).phases
    assert drive.ok is False and drive.error == "interrupted" and teardown.ok is None


def test_a_journal_without_an_end_is_of_a_run_that_lives_or_died(record: Wrap) -> None:
    state = reduce_all(record([PhaseStarted("drive")]))
    assert (state.status(alive=True), state.status(alive=False)) == ("running", "dead")
    ended = reduce(state, Recorded(2, 0.0, 1.0, RunFinished("unknown", 130, "interrupted", "by the user", 1.0)))
    assert ended.status(alive=False) == "interrupted"
