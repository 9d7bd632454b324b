from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.observe import tracker as tracking
from harness.observe.blocks import Block
from harness.observe.latency import Latencies
from harness.observe.submissions import Outcome, Submission, Summary, Ticket
from harness.observe.tracker import Tracker
from tests.observe.scripted_node import header


@dataclass
class HandClock:
    moment: float = 100.0

    def now(self) -> float:
        return self.moment

    def wall(self) -> float:
        return self.moment + 1e9

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")

    async def sleep_until(self, moment: float) -> None:
        raise AssertionError("nothing here waits")


@dataclass
class Chain:
    """Says which blocks are canonical: all but those that were orphaned."""

    orphaned: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def canonical(self, hash: str, height: int) -> bool | None:
        return None if hash in self.unknown else hash not in self.orphaned


def make(depth: int = 2) -> tuple[Tracker, HandClock, Chain, list[Submission]]:
    clock, chain, records = HandClock(), Chain(), []
    return Tracker("t", clock, depth, chain.canonical, records.append), clock, chain, records


def block(height: int, *ids: str, hash: str = "") -> Block:
    return Block(header(height, hash or f"b{height}", ""), ids)


def assert_balanced(summary: Summary) -> None:
    s = summary
    assert s.offered == s.accepted + s.rejected + s.dropped + s.failed + s.timed_out + s.unresolved
    assert s.accepted == s.included + s.unknown + s.lost + s.pending
    assert min(s.unresolved, s.included, s.unknown, s.lost, s.pending, s.surprises) >= 0


def test_latency_runs_from_the_intended_moment_to_the_first_sight_of_the_block() -> None:
    tracker, clock, _, _ = make()
    ticket = tracker.offer(99.0, "x")  # one second late already
    clock.moment = 102.0
    tracker.accepted(ticket)
    tracker.saw(block(1, "x"), "node", 104.5)
    summary = tracker.summary()
    assert (summary.included, summary.lost, summary.pending) == (1, 0, 0)
    assert summary.latency.max == 5.5
    assert summary.answer.max == 3.0
    assert summary.lateness.max == 1.0


def test_a_block_seen_before_the_answer_counts() -> None:
    tracker, _, _, _ = make()
    known, unknown = tracker.offer(100.0, "x"), tracker.offer(100.0)
    tracker.saw(block(1, "x", "y"), "node", 101.0)
    assert tracker.figures()["included"] == 0  # nobody has accepted them so far
    tracker.accepted(known)
    tracker.accepted(unknown, "y")
    assert tracker.summary().included == tracker.figures()["included"] == 2


def test_accepted_and_never_included_is_pending_and_then_lost() -> None:
    tracker, clock, _, _ = make()
    tracker.accepted(tracker.offer(100.0, "x"))
    clock.moment = 110.0
    assert (tracker.summary(patience=20.0).pending, tracker.summary(patience=20.0).lost) == (1, 0)
    assert (tracker.summary(patience=5.0).pending, tracker.summary(patience=5.0).lost) == (0, 1)


def test_an_orphaned_inclusion_is_none_and_the_later_one_counts() -> None:
    tracker, _, chain, records = make(depth=2)
    tracker.accepted(tracker.offer(100.0, "x", {"w": -1}))
    tracker.saw(block(1, "x", hash="orphan"), "n", 101.0)
    assert tracker.summary().included == 1
    chain.orphaned.add("orphan")
    assert tracker.summary().included == 0
    tracker.saw(block(1, hash="b1"), "n", 102.0)
    tracker.saw(block(2, hash="b2"), "n", 103.0)
    tracker.saw(block(3, hash="b3"), "n", 104.0)  # height 1 is final
    assert tracker.summary().reorganised == 1
    assert tracker.figures()["included"] == 0
    assert tracker.effects() == {}
    assert records[-1].included_at is None
    tracker.saw(block(4, "x"), "n", 107.0)
    summary = tracker.summary()
    assert (summary.included, summary.latency.max) == (1, 7.0)
    assert tracker.effects() == {"w": -1}


def test_in_two_blocks_of_a_fork_it_counts_once_and_by_the_canonical_one() -> None:
    tracker, _, chain, _ = make(depth=1)
    tracker.accepted(tracker.offer(100.0, "x", {"w": -1}))
    tracker.saw(block(1, "x", hash="a"), "n", 101.0)
    tracker.saw(block(1, "x", hash="b"), "m", 103.0)
    chain.orphaned.add("a")
    assert tracker.effects() == {"w": -1}
    tracker.saw(block(2), "n", 104.0)
    summary = tracker.summary()
    assert (summary.included, summary.reorganised, summary.latency.count, summary.latency.max) == (1, 0, 1, 3.0)
    assert tracker.effects() == {"w": -1}


def test_what_is_included_though_it_timed_out_is_a_surprise_and_its_effects_count() -> None:
    tracker, _, _, _ = make(depth=0)
    timed_out = tracker.offer(100.0, "x", {"w": -5})
    failed = tracker.offer(100.0, "y", {"w": -7})
    tracker.timed_out(timed_out, "n")
    tracker.failed(failed, "unreachable")
    tracker.saw(block(1, "x", "y"), "n", 101.0)
    summary = tracker.summary()
    assert (summary.timed_out, summary.failed, summary.accepted, summary.included, summary.surprises) == (1, 1, 0, 0, 2)
    assert tracker.effects() == {"w": -12}


def test_an_answer_after_the_block_is_final_still_counts() -> None:
    tracker, _, _, _ = make(depth=0)
    ticket = tracker.offer(100.0, "x")
    tracker.saw(block(1, "x"), "n", 101.0)
    tracker.saw(block(2), "n", 102.0)
    tracker.accepted(ticket)
    summary = tracker.summary()
    assert (summary.accepted, summary.included, summary.latency.max) == (1, 1, 1.0)


def test_a_second_outcome_is_refused() -> None:
    tracker, _, _, _ = make()
    ticket = tracker.offer(100.0, "x")
    tracker.rejected(ticket, "no")
    with pytest.raises(ValueError, match="rejected already"):
        tracker.accepted(ticket)


def test_an_id_given_twice_by_a_node_is_not_counted_twice() -> None:
    tracker, _, _, _ = make()
    for _ in range(3):
        tracker.accepted(tracker.offer(100.0), "same")
    tracker.saw(block(1, "same", "same"), "n", 101.0)
    summary = tracker.summary()
    assert (summary.accepted, summary.included, summary.lost) == (3, 1, 2)


def test_reasons_are_counted_and_their_number_is_bounded() -> None:
    tracker, _, _, _ = make()
    for number in range(100):
        tracker.rejected(tracker.offer(100.0), f"reason {number} " + "x" * 1000)
        tracker.rejected(tracker.offer(100.0), "always the same")
    reasons = tracker.summary().reasons
    assert reasons["rejected: always the same"] == 100
    assert len(reasons) <= tracking.REASONS_KEPT + 1
    assert sum(reasons.values()) == 200
    assert max(map(len, reasons)) <= tracking.REASON_LENGTH


def test_findings_are_counted() -> None:
    tracker, _, _, _ = make()
    tracker.mark("verified")
    tracker.mark("verified")
    assert tracker.summary().marks == {"verified": 2}
    assert tracker.figures()["verified"] == 2


def test_memory_is_given_back_once_blocks_are_final() -> None:
    tracker, _, _, _ = make(depth=3)
    for height in range(1, 500):
        for number in range(10):
            tracker.accepted(tracker.offer(100.0, f"{height}/{number}"))
        tracker.saw(block(height, *(f"{height}/{number}" for number in range(10))), "n", 101.0)
    assert len(tracker._open) == 30
    assert len(tracker._blocks) == 3
    assert len(tracker._recent._whereabouts) == 10 * tracking.RECENT_BLOCKS
    assert tracker.summary().included == 4990
    assert tracker.summary().latency.count == 4990


def test_what_is_in_a_block_of_unknown_standing_is_not_included_for_ever() -> None:
    tracker, _, chain, records = make(depth=2)
    accepted, open_, timed_out = (tracker.offer(100.0, id, {"w": -1}) for id in "xyz")
    tracker.accepted(accepted)
    tracker.timed_out(timed_out)
    tracker.saw(block(1, "x", "y", "z", hash="?"), "n", 101.0)
    chain.unknown.add("?")
    for height in range(2, 1 + tracking.DEFAULT_WINDOW):
        tracker.saw(block(height), "n", 102.0)
    assert (tracker.summary().included, tracker.summary().unknown) == (1, 0)
    tracker.saw(block(1 + tracking.DEFAULT_WINDOW), "n", 103.0)
    tracker.accepted(open_)
    summary = tracker.summary()
    assert (summary.included, summary.unknown, summary.lost, summary.surprises) == (0, 2, 0, 0)
    assert tracker.unknown_inclusions == 3
    assert tracker.figures()["included"] == 0
    assert tracker.effects() == {}
    assert (len(tracker._open), len(tracker._blocks)) == (0, 0)
    assert {record.included_at for record in records[-3:]} == {None}
    assert_balanced(summary)


def test_an_offer_does_not_look_through_the_transactions_of_recent_blocks() -> None:
    class Watched(tuple[str, ...]):
        def __contains__(self, id: object) -> bool:
            raise AssertionError("scanned")

    tracker, _, _, _ = make()
    ids = Watched(f"{number}" for number in range(100))
    tracker.saw(Block(header(1, "b1", ""), ids), "n", 101.0)
    ticket = tracker.offer(100.0, "new")
    tracker.accepted(ticket)
    tracker.accepted(tracker.offer(100.0), "7")
    assert tracker.summary().included == 1


def test_the_highest_block_with_a_submission_in_it() -> None:
    tracker, _, chain, _ = make(depth=1)
    assert tracker.highest_included == -1
    for height in (3, 4):
        tracker.offer(100.0, f"{height}")
        tracker.saw(block(height, f"{height}"), "n", 101.0)
    assert tracker.highest_included == 4
    chain.orphaned.add("b4")
    assert tracker.highest_included == 3
    tracker.saw(block(5), "n", 102.0)
    assert tracker.highest_included == 3


def test_what_is_never_included_is_forgotten_in_the_end_and_stays_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "OPEN_KEPT", 20)
    tracker, clock, _, _ = make()
    for number in range(100):
        tracker.accepted(tracker.offer(100.0, f"{number}"))
    clock.moment = 1000.0
    assert len(tracker._open) == 20
    assert tracker.summary().lost == 100


STEPS = st.sampled_from(
    ["offer", "accept", "reject", "fail", "time out", "drop", "include", "orphan", "block", "learn"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STEPS, st.integers(0, 10**6)), max_size=60), st.integers(0, 3), st.booleans())
def test_the_account_always_balances(steps: list[tuple[str, int]], depth: int, ids_known: bool) -> None:
    tracker, clock, chain, records = make(depth)
    tracker._window = 5
    waiting: list[tuple[Ticket, str]] = []
    named: list[str] = []
    height, hashes = 0, []
    for number, (step, pick) in enumerate(steps):
        clock.moment += 0.5
        if step == "offer":
            id = f"id{number}"
            waiting.append((tracker.offer(clock.now() - 0.1, id if ids_known else "", {"w": 1}), id))
            named.append(id)
        elif step == "include" and named:
            height += 1
            hashes.append(f"b{number}")
            tracker.saw(
                block(height, named[pick % len(named)], named[pick % 7 % len(named)], hash=hashes[-1]), "n", clock.now()
            )
        elif step == "block":
            height += 1
            tracker.saw(block(height, hash=f"b{number}"), "n", clock.now())
        elif step == "orphan" and hashes:
            chain.orphaned.add(hashes[pick % len(hashes)])
        elif step == "learn" and hashes:
            chain.unknown.symmetric_difference_update({hashes[pick % len(hashes)]})
        elif waiting:
            ticket, id = waiting.pop(pick % len(waiting))
            answers: dict[str, Callable[[], None]] = {
                "accept": lambda ticket=ticket, id=id: tracker.accepted(ticket, id, "n"),  # type: ignore[misc]
                "reject": lambda ticket=ticket: tracker.rejected(ticket, "no"),  # type: ignore[misc]
                "fail": lambda ticket=ticket: tracker.failed(ticket, "gone"),  # type: ignore[misc]
                "time out": lambda ticket=ticket: tracker.timed_out(ticket),  # type: ignore[misc]
                "drop": lambda ticket=ticket: tracker.dropped(ticket, "busy"),  # type: ignore[misc]
            }
            answers.get(step, answers["accept"])()
        assert_balanced(tracker.summary(patience=pick % 10))
    summary, figures = tracker.summary(), tracker.figures()
    assert summary.latency.count == summary.included
    assert figures["offered"] == summary.offered
    assert figures["in_flight"] == summary.unresolved == len(waiting)
    assert figures["included"] >= summary.included
    assert tracker.effects().get("w", 0) >= summary.included
    latest = {record.number: record for record in records}
    assert sum(record.outcome == Outcome.ACCEPTED for record in latest.values()) == summary.accepted


def test_latencies_keep_three_digits_and_an_exact_maximum() -> None:
    latencies = Latencies()
    assert (latencies.percentile(99), latencies.above(1.0), latencies.summary()["n"]) == (0.0, 0, 0)
    for milliseconds in range(1, 1001):
        latencies.record(milliseconds / 1000)
    assert latencies.percentile(50) == pytest.approx(0.5, rel=0.002)
    assert latencies.percentile(99) == pytest.approx(0.99, rel=0.002)
    assert latencies.max == 1.0
    assert latencies.above(0.9) == pytest.approx(100, abs=2)
    assert latencies.above(1.0) == 0
    copy = latencies.copy()
    copy.record(5.0)
    assert (latencies.count, copy.count, copy.max) == (1000, 1001, 5.0)
    latencies.record(-1.0)
    latencies.record(1e9)
    assert latencies.max == 1e9
    assert latencies.percentile(100) == pytest.approx(86400, rel=0.002)


def test_percentiles_are_samples_by_nearest_rank() -> None:
    latencies = Latencies()
    for number in range(1, 91):
        latencies.record(number / 100)
    assert latencies.percentile(99) == 0.9  # the 90th of 90: ceil(89.1)
    assert latencies.percentile(50) == pytest.approx(0.45, rel=0.001)
    assert latencies.percentile(1) == pytest.approx(0.01, rel=0.001)
    latencies.record(0.91)
    assert latencies.percentile(50) == pytest.approx(0.46, rel=0.001)  # the 46th of 91: ceil(45.5)
    for number in range(92, 101):
        latencies.record(number / 100)
    assert latencies.percentile(7) == pytest.approx(0.07, rel=0.001)


def test_many_that_were_missed_are_counted_at_once() -> None:
    tracker, _, _, records = make()
    tracker.accepted(tracker.offer(100.0, "a"))
    tracker.missed(10**9, "the generator was behind")
    summary = tracker.summary()
    assert_balanced(summary)
    assert (summary.offered, summary.dropped, summary.unresolved) == (10**9 + 1, 10**9, 0)
    assert summary.reasons == {"dropped: the generator was behind": 10**9}
    assert tracker.figures()["in_flight"] == 0
    assert len(records) == 1


def test_what_was_to_be_sent_in_the_warm_up_counts_but_is_in_no_latency() -> None:
    tracker, _, _, records = make()
    tracker.timings.counts_from = 100.0
    for number, intended in enumerate((99.0, 99.5, 100.0)):
        tracker.accepted(tracker.offer(intended, f"t{number}"))
    tracker.saw(block(1, "t0", "t1", "t2"), "n", 101.0)
    summary = tracker.summary()
    assert (summary.accepted, summary.included, summary.warming) == (3, 3, 2)
    assert {(each.intended_at, each.warming) for each in records} == {(99.0, True), (99.5, True), (100.0, False)}
    assert [each.count for each in (summary.latency, summary.answer, summary.service, summary.lateness)] == [1, 1, 1, 1]


def test_what_others_send_is_recognised_before_it_is_known_to_be_sent() -> None:
    tracker, clock, _, records = make()
    early, late, never = (tracker.prepare(id) for id in ("early", "late", "never"))
    assert tracker.figures()["offered"] == 0
    tracker.saw(block(1, "early"), "n", clock.now() + 1.0)  # before its sender has told of it
    assert records == []
    now = clock.now()
    for ticket in (early, late):
        tracker.sent(ticket, now, now + 0.1)
        tracker.accepted(ticket, ticket.id, "n", at=now + 0.3)
    tracker.withdraw(never)
    tracker.saw(block(2, "late", "never"), "n", now + 2.0)
    summary = tracker.summary()
    assert (summary.offered, summary.accepted, summary.included, summary.unresolved) == (2, 2, 2, 0)
    assert summary.latency.max == pytest.approx(2.0)
    assert summary.service.max == pytest.approx(0.2)
    assert summary.answer.max == pytest.approx(0.3)


@pytest.mark.parametrize("answers_first", [True, False])
def test_latency_so_far_is_known_before_blocks_are_final(answers_first: bool) -> None:
    tracker, clock, _, _ = make(depth=40)
    ticket = tracker.offer(100.0, "x")
    for step in (answers_first, not answers_first):
        if step:
            clock.moment = 101.0
            tracker.accepted(ticket)
        else:
            tracker.saw(block(1, "x"), "node", 102.5)
    assert tracker.timings.inclusion.count == 0
    assert tracker.latency() == pytest.approx({"n": 1, "p50": 2.5, "p90": 2.5, "p99": 2.5, "max": 2.5}, rel=1e-3)
