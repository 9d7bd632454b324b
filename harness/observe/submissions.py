"""What is told of a submission: how it ended, where it stands, and the account of many."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from harness.observe.latency import Latencies


class Outcome(enum.StrEnum):
    """How a submission ended for whoever submitted it. Exactly one for each."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # the node said no
    DROPPED = "dropped"  # never sent: the generator could not
    FAILED = "failed"  # could not be handed to any node
    TIMED_OUT = "timed-out"  # handed over, no answer: nobody knows


@dataclass(slots=True, eq=False)
class Ticket:
    """One submission. To be handled by its tracker only.

    Times are monotonic seconds; `number` is 0 until it is offered. `blocks` is in how many blocks, not known to be
    orphaned, it was seen."""

    number: int
    intended_at: float
    id: str
    effects: Mapping[str, int]
    sent_at: float | None = None
    outcome: Outcome | None = None
    answered_at: float | None = None
    node: str = ""
    blocks: int = 0
    included_at: float | None = None
    height: int | None = None
    settled: bool = False
    unknown: bool = False  # settled: whether its block is canonical never came out


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission as it stands, for the record. A later one with the same tracker and number replaces it.

    Times are monotonic seconds; `outcome` "" while it is not known. `node` took or refused it. `warming`: of the
    warm-up, whose latencies do not count."""

    tracker: str
    number: int
    id: str
    intended_at: float
    outcome: str
    answered_at: float | None
    included_at: float | None
    height: int | None
    node: str
    warming: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """The account of a tracker. Two sums always hold:

    offered = accepted + rejected + dropped + failed + timed_out + unresolved, and
    accepted = included + unknown + lost + pending.

    included: in a canonical block. unknown: in a block of which nobody could say in time whether it is canonical.
    lost: in none, for longer than the patience asked for. surprises: in a canonical block although rejected, failed
    or timed out. reorganised: how often one was thrown out of the chain again. warming: accepted, and left out of all
    latencies.
    `latency` runs from the intended send time to the inclusion, `answer` to the node's acceptance, `service` from the
    actual send to that; `lateness` is the
    generator's own: how long after the intended time it came to sending.
    `reasons` (untrusted text) are those given for what was not accepted; `marks` see Tracker.mark."""

    offered: int
    accepted: int
    rejected: int
    dropped: int
    failed: int
    timed_out: int
    unresolved: int
    included: int
    unknown: int
    lost: int
    pending: int
    surprises: int
    reorganised: int
    warming: int
    latency: Latencies
    answer: Latencies
    service: Latencies
    lateness: Latencies
    reasons: Mapping[str, int]
    marks: Mapping[str, int]
