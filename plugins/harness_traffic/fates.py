"""What became of requests that processes sent, entered into a tracker's account."""

from __future__ import annotations

from collections.abc import Callable

from harness.api import BrokenAnswer, Fate, Receipt, Result, Tally, Ticket, Tracker


def enter(
    tracker: Tracker, ticket: Ticket, result: Result, node: str, read: Callable[[Result], Receipt]
) -> Receipt | None:
    """Enter what became of one. `node` was asked last; `read` reads an answer, and may raise BrokenAnswer. Returns what
    the node said where that is certain: it took it, or it did not."""
    tracker.sent(ticket, result.intended, result.sent or None)
    match result.fate:
        case Fate.TAKEN | Fate.READ:
            try:
                receipt = read(result)
            except BrokenAnswer:
                receipt = None
            if receipt is None or (not receipt.accepted and result.tried > 1):
                # After one that did not answer, a "no" of the next proves nothing: the first may have got it.
                tracker.timed_out(ticket, node, at=result.ended)
                return None
            if receipt.accepted:
                tracker.accepted(ticket, receipt.id, node, at=result.ended)
            else:
                tracker.rejected(ticket, receipt.reason, node, at=result.ended)
            return receipt
        case Fate.TIMED_OUT | Fate.LOST:
            tracker.timed_out(ticket, node, at=result.ended)
        case Fate.FAILED:
            tracker.failed(ticket, result.reply.decode("utf-8", "replace"), at=result.ended)
        case Fate.CUT_OFF:
            pass  # the run is being broken off: it stays in flight
    return None


def miss(tracker: Tracker, tally: Tally, max_in_flight: int) -> None:
    """Enter what was to be sent and never was."""
    for count, reason in (
        (tally.dropped, f"{max_in_flight} were in flight"),
        (tally.blocked, "no user was free"),
        (tally.unready - tally.blocked, "none was ready to be sent"),
        (tally.behind, "the generator was behind at the deadline"),
    ):
        if count:
            tracker.missed(count, reason)
