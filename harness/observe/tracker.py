"""Submissions from their intended send time to inclusion: what was offered, and what has become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.clock import Clock
from harness.observe.blocks import Block
from harness.observe.latency import Latencies
from harness.observe.recent import RecentBlocks
from harness.observe.senders import LoadSample, SenderAccount
from harness.observe.submissions import Outcome, Submission, Summary, Ticket
from harness.observe.timings import Timings

if TYPE_CHECKING:
    from harness.observe.feed import BlockFeed

OPEN_KEPT = 50_000
"""Submissions remembered at most while they are in no final block. Older ones count as lost."""
DEFAULT_WINDOW = 256
"""Blocks after which nobody can say any more whether one is canonical; a feed has its own."""
RECENT_BLOCKS = 64
"""A node may answer later than its block is seen: so many blocks back are looked through for an accepted id."""
REASONS_KEPT, REASON_LENGTH = 32, 200
OTHER_REASONS = "(other reasons)"


@dataclass(slots=True)
class _Inclusion:
    """A block's part in the account."""

    height: int
    at: float
    tickets: list[Ticket] = field(default_factory=list)


class Tracker:
    """One named record of submissions.

    Whoever submits calls `offer` at each intended moment and then exactly one of `accepted`, `rejected`,
    `dropped`, `failed`, `timed_out`; blocks come in by `saw`. Memory stays bounded: what is in a final block
    lives on in counters and histograms alone."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        finality_depth: int = 0,
        canonical: Callable[[str, int], bool | None] | None = None,
        record: Callable[[Submission], None] | None = None,
        record_load: Callable[[LoadSample], None] | None = None,
    ) -> None:
        """`canonical(hash, height)` says whether a block is on the network's chain; without it, every block is.
        `record` is told whenever something about a submission changes, `record_load` of senders' seconds."""
        self.name = name
        self.target: float | None = None
        """How many a second are to be sent, where whoever sends them has said so."""
        self.senders: SenderAccount | None = None
        """What the processes that send tell of themselves, where others than this one do."""
        self.timings = Timings()
        self.followed = True
        """Whether blocks are looked at for what was sent."""
        self._handed = 0  # by how many of those that others sent it is known what became of them
        self._clock = clock
        self._depth = finality_depth
        self._canonical = canonical or (lambda hash, height: True)
        self._record = record
        self._record_load = record_load
        self._outcomes: Counter[Outcome] = Counter()
        self._reasons: Counter[str] = Counter()
        self._open: dict[str, Ticket] = {}
        self._blocks: dict[str, _Inclusion] = {}  # blocks with tickets in them that are not final yet
        self._window = DEFAULT_WINDOW
        self._recent = RecentBlocks(RECENT_BLOCKS)
        self._offered = 0
        self._settled = 0  # accepted, in a final block
        self._included = 0  # accepted, in any block not known to be orphaned
        self._surprises_settled = 0
        self._unknown = 0  # accepted, in a block of unknown standing
        self.unknown_inclusions = 0
        """Of all submissions, however they ended: those in a block of which it never came out if it is canonical."""
        self._highest_settled = -1
        self._reorganised = 0
        self._effects: Counter[str] = Counter()
        self._marks: Counter[str] = Counter()

    def watch(self, feed: BlockFeed) -> None:
        """Take blocks, and which of them are canonical, from this feed."""
        self._depth = feed.finality_depth
        self._canonical = feed.canonical
        self._window = feed.window
        feed.on_body(self.saw)

    # What the submitter says

    def offer(self, intended_at: float, id: str = "", effects: Mapping[str, int] | None = None) -> Ticket:
        """A submission that was to be sent at this moment, and is sent now. `id` where it is known before, so that it
        is recognised even if the node never answers; `effects` is what its inclusion does to balances."""
        self._offered += 1
        now = self._clock.now()
        self.timings.offered(intended_at, now)
        ticket = Ticket(self._offered, intended_at, "", effects or {}, sent_at=now)
        if id:
            self._name(ticket, id)  # not sent so far: it is in no block
        return ticket

    def prepare(self, id: str = "", effects: Mapping[str, int] | None = None) -> Ticket:
        """One that is going to be sent, some time: with an id it is recognised from now on. It counts from `sent` on.
        To be called instead of `offer` where others do the sending."""
        ticket = Ticket(0, 0.0, "", effects or {})
        if id:
            self._name(ticket, id)
        return ticket

    def sent(self, ticket: Ticket, intended_at: float, sent_at: float | None) -> None:
        """A prepared one has been sent, at this moment (None: it could not be), for one at which it was to be."""
        self._offered += 1
        self._handed += 1
        ticket.number, ticket.intended_at, ticket.sent_at = self._offered, intended_at, sent_at

    def sent_by(self, machines: Sequence[str], *, followed: bool = True) -> SenderAccount:
        """Processes do the sending, on these machines, one each: the account for what they tell of it. Not `followed`:
        it is nothing for a chain, and their account is all that there is."""
        self.senders = SenderAccount(self.name, machines, self._record_load)
        self.followed = followed
        return self.senders

    def withdraw(self, ticket: Ticket) -> None:
        """A prepared one will not be sent."""
        self._forget(ticket)

    def accepted(self, ticket: Ticket, id: str = "", node: str = "", at: float | None = None) -> None:
        """A node took it (at this moment, or now). `id` where it was not known before."""
        if id and id != ticket.id:
            self._forget(ticket)
            if self._name(ticket, id):
                for block, seen_at in self._recent.holding(id):
                    self._include(ticket, block, seen_at)
        self._resolve(ticket, Outcome.ACCEPTED, node, at=at)
        assert ticket.answered_at is not None
        self.timings.accepted(ticket.intended_at, ticket.sent_at, ticket.answered_at)

    def rejected(self, ticket: Ticket, reason: str, node: str = "", at: float | None = None) -> None:
        """A node said no."""
        self._resolve(ticket, Outcome.REJECTED, node, reason, at)

    def failed(self, ticket: Ticket, reason: str, at: float | None = None) -> None:
        """It could not be handed to any node."""
        self._resolve(ticket, Outcome.FAILED, reason=reason, at=at)

    def timed_out(self, ticket: Ticket, node: str = "", at: float | None = None) -> None:
        """It was sent and nothing came back: it may or may not get in."""
        self._resolve(ticket, Outcome.TIMED_OUT, node, at=at)

    def dropped(self, ticket: Ticket, reason: str) -> None:
        """It was never sent, because the generator could not."""
        self._resolve(ticket, Outcome.DROPPED, reason=reason)
        self._forget(ticket)

    def missed(self, count: int, reason: str) -> None:
        """So many more were to be sent and were not, because the generator did not come to them: offered and dropped,
        all at once and at the cost of one. They get no record of their own."""
        self._offered += count
        self._outcomes[Outcome.DROPPED] += count
        self._give_reason(Outcome.DROPPED, reason, count)

    def mark(self, finding: str) -> None:
        """Count something found out about a submission after its inclusion ("verified", "corrupt")."""
        self._marks[finding] += 1

    # What the chain says

    def saw(self, block: Block, node: str, at: float) -> None:
        """A block was seen for the first time, at this moment."""
        if not self._recent.add(block, at):
            return
        for id in dict.fromkeys(block.tx_ids):
            if ticket := self._open.get(id):
                self._include(ticket, block, at)
        self._settle(block.header.height)

    # The account

    def figures(self) -> dict[str, int]:
        """Counts so far, cheap enough for every second. What is in a block may still be orphaned."""
        if self.senders is not None and not self.followed:
            return self.senders.figures()
        under_way = self._under_way()
        unresolved = self._offered - self._outcomes.total() + under_way
        untold = min(under_way, self.senders.total.untold) if self.senders else 0
        return {
            "offered": self._offered + under_way,
            **{outcome.value.replace("-", "_"): self._outcomes[outcome] for outcome in Outcome},
            "in_flight": unresolved - untold,
            **({"untold": untold} if untold else {}),
            "included": self._included,
            "unknown": self._unknown,
            "reorganised": self._reorganised,
            **self._marks,
        }

    def latency(self) -> Mapping[str, float]:
        """From the intended send until it was first seen in a block, which may not be final (to the answer, where
        nothing is looked for in blocks). Costs milliseconds."""
        if self.senders is not None and not self.followed:
            return Latencies.of(self.senders.total.response).summary()
        return self.timings.seen.summary()

    def summary(self, patience: float = 0.0) -> Summary:
        """The account now. What was accepted, is in no canonical block, and was to be sent `patience` seconds
        ago or earlier counts as lost; younger ones as pending."""
        now, latency, offered = self._clock.now(), self.timings.inclusion.copy(), self._offered + self._under_way()
        pending = surprises = included = 0
        found: set[int] = set()
        for ticket, at in self._provisional():
            found.add(ticket.number)
            if ticket.outcome is Outcome.ACCEPTED:
                included += 1
                self.timings.included(ticket.intended_at, at, latency)
            elif ticket.outcome is not None:
                surprises += 1
        for ticket in self._open.values():
            waiting = ticket.outcome is Outcome.ACCEPTED and ticket.number not in found
            pending += waiting and now - ticket.intended_at < patience
        count = self._outcomes
        included += self._settled
        lateness = self.timings.lateness.copy()
        if self.senders is not None:
            lateness.add(self.senders.total.lateness)
        return Summary(
            offered=offered,
            accepted=count[Outcome.ACCEPTED],
            rejected=count[Outcome.REJECTED],
            dropped=count[Outcome.DROPPED],
            failed=count[Outcome.FAILED],
            timed_out=count[Outcome.TIMED_OUT],
            unresolved=offered - count.total(),
            included=included,
            unknown=self._unknown,
            lost=count[Outcome.ACCEPTED] - included - self._unknown - pending,
            pending=pending,
            surprises=surprises + self._surprises_settled,
            reorganised=self._reorganised,
            latency=latency,
            answer=self.timings.answer.copy(),
            warming=self.timings.warming,
            service=self.timings.service.copy(),
            lateness=lateness,
            reasons=dict(self._reasons.most_common()),
            marks=dict(self._marks),
        )

    def effects(self) -> dict[str, int]:
        """By address: what everything that is in a canonical block has done to balances, however its submission
        ended."""
        sums = Counter(self._effects)
        for ticket, _ in self._provisional():
            _add(sums, ticket.effects)
        return dict(sums)

    @property
    def highest_included(self) -> int:
        """The greatest height of a canonical block with a submission in it, -1 where there is none."""
        provisional = (ticket.height for ticket, _ in self._provisional() if ticket.height is not None)
        return max(self._highest_settled, *provisional, -1)

    # Inside

    def _under_way(self) -> int:
        """Of how many others that were to be sent, and that are not among `_offered`, it is not known what became."""
        if self.senders is None:
            return 0
        total = self.senders.total
        return max(0, total.started + total.untold - self._handed)

    def _name(self, ticket: Ticket, id: str) -> bool:
        """Recognise the ticket by this id from now on. An id that is taken (nodes may say what they like) leaves it
        unrecognised, so that it will count as lost: then False."""
        ticket.id = id
        if id in self._open:
            return False
        self._open[id] = ticket
        if len(self._open) > OPEN_KEPT:
            del self._open[next(iter(self._open))]
        return True

    def _forget(self, ticket: Ticket) -> None:
        if self._open.get(ticket.id) is ticket:
            del self._open[ticket.id]

    def _resolve(
        self, ticket: Ticket, outcome: Outcome, node: str = "", reason: str = "", at: float | None = None
    ) -> None:
        if ticket.outcome is not None:
            raise ValueError(f"submission {ticket.number} of {self.name} was {ticket.outcome} already, now {outcome}")
        ticket.outcome, ticket.node, ticket.answered_at = outcome, node, self._clock.now() if at is None else at
        self._outcomes[outcome] += 1
        if reason:
            self._give_reason(outcome, reason)
        if outcome is Outcome.ACCEPTED and ticket.blocks:
            self._count_included(ticket)
        if ticket.settled:
            self._count_settled(ticket)
        self._tell(ticket)

    def _give_reason(self, outcome: Outcome, reason: str, count: int = 1) -> None:
        text = f"{outcome}: {reason}"[:REASON_LENGTH]
        known = text in self._reasons or len(self._reasons) < REASONS_KEPT
        self._reasons[text if known else OTHER_REASONS] += count

    def _include(self, ticket: Ticket, block: Block, at: float) -> None:
        height = block.header.height
        inclusion = self._blocks.setdefault(block.header.hash, _Inclusion(height, at))
        inclusion.tickets.append(ticket)
        ticket.blocks += 1
        if ticket.blocks == 1:
            ticket.included_at, ticket.height = at, height
            if ticket.outcome is Outcome.ACCEPTED:
                self._count_included(ticket)
            self._tell(ticket)

    def _count_included(self, ticket: Ticket) -> None:
        self._included += 1
        if ticket.included_at is not None:
            self.timings.included(ticket.intended_at, ticket.included_at, self.timings.seen)

    def _settle(self, height: int) -> None:
        """Let go of what is in blocks that are final now that there is one of this height, and of those that are too
        old for anybody to say whether they are canonical."""
        final = [(h, inclusion) for h, inclusion in self._blocks.items() if inclusion.height <= height - self._depth]
        for hash, inclusion in final:
            canonical = self._canonical(hash, inclusion.height)
            if canonical is None and inclusion.height > height - self._window:
                continue
            del self._blocks[hash]
            for ticket in inclusion.tickets:
                if ticket.settled:
                    continue
                if canonical:
                    self._finish(ticket, inclusion)
                elif canonical is None:
                    self._lose_sight(ticket)
                else:
                    self._orphan(ticket)

    def _finish(self, ticket: Ticket, inclusion: _Inclusion) -> None:
        self._forget(ticket)
        ticket.settled = True
        changed = ticket.height != inclusion.height
        ticket.included_at, ticket.height = inclusion.at, inclusion.height
        self._highest_settled = max(self._highest_settled, inclusion.height)
        _add(self._effects, ticket.effects)
        if ticket.outcome is not None:
            self._count_settled(ticket)
        if changed:
            self._tell(ticket)

    def _lose_sight(self, ticket: Ticket) -> None:
        """Its block's standing will not come out. It may still be in another."""
        ticket.blocks -= 1
        if ticket.blocks:
            return
        self._forget(ticket)
        ticket.settled = ticket.unknown = True
        ticket.included_at = ticket.height = None
        self.unknown_inclusions += 1
        if ticket.outcome is not None:
            self._included -= ticket.outcome is Outcome.ACCEPTED
            self._count_settled(ticket)
        self._tell(ticket)

    def _count_settled(self, ticket: Ticket) -> None:
        if ticket.unknown:
            self._unknown += ticket.outcome is Outcome.ACCEPTED
        elif ticket.outcome is Outcome.ACCEPTED:
            assert ticket.included_at is not None
            self._settled += 1
            self.timings.included(ticket.intended_at, ticket.included_at)
        else:
            self._surprises_settled += 1

    def _orphan(self, ticket: Ticket) -> None:
        ticket.blocks -= 1
        if ticket.blocks == 0:
            ticket.included_at = ticket.height = None
            self._reorganised += 1
            self._included -= ticket.outcome is Outcome.ACCEPTED
            self._tell(ticket)

    def _provisional(self) -> Iterator[tuple[Ticket, float]]:
        """Tickets in blocks that are not final, but canonical as things stand, with the time of that block."""
        found: set[int] = set()
        for hash, inclusion in self._blocks.items():
            if self._canonical(hash, inclusion.height) is not False:
                for ticket in inclusion.tickets:
                    if not ticket.settled and id(ticket) not in found:  # some have no number: nobody told if they went
                        found.add(id(ticket))
                        yield ticket, inclusion.at

    def _tell(self, ticket: Ticket) -> None:
        if self._record is not None and ticket.number:
            self._record(
                Submission(
                    self.name,
                    ticket.number,
                    ticket.id,
                    ticket.intended_at,
                    ticket.outcome.value if ticket.outcome else "",
                    ticket.answered_at,
                    ticket.included_at,
                    ticket.height,
                    ticket.node,
                    self.timings.warms(ticket.intended_at),
                )
            )


def _add(sums: Counter[str], effects: Mapping[str, int]) -> None:
    for address, amount in effects.items():
        sums[address] += amount
