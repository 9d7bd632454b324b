"""What the checks of submissions have in common: choosing trackers, waiting for the last inclusions, wording."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import (
    DROPPED_ALLOWED,
    FEWEST_LATE,
    LATENESS_ALLOWED,
    Context,
    Latencies,
    Outcome,
    SenderAccount,
    Summary,
    Tracker,
    Verdict,
    format_duration,
)
from harness_checks.subjects import held_up


def matching(ctx: Context, pattern: str) -> dict[str, Tracker]:
    """Trackers whose name matches this glob."""
    return {name: tracker for name, tracker in ctx.trackers().items() if fnmatch.fnmatchcase(name, pattern)}


async def last_inclusions(ctx: Context, trackers: Sequence[Tracker], patience: float) -> None:
    """Wait until all that a chain accepted is in blocks whose transactions are known, for `patience` seconds since the
    end of the drive. At once where everything is."""
    end = ctx.window.end
    assert end is not None, "evaluated before the end of the drive"

    def all_in() -> bool:
        figures = [tracker.figures() for tracker in trackers if tracker.followed]
        return not ctx.feed.bodies_missing and all(
            counts["included"] + counts["unknown"] >= counts["accepted"] for counts in figures
        )

    await ctx.feed.wait(all_in, max(0.0, end + patience - ctx.clock.now()))


def counts(summary: Summary, senders: SenderAccount | None = None) -> dict[str, Any]:
    """A summary as evidence, and what those tell of themselves who sent, where they were others than the harness."""
    names = (
        "offered", "accepted", "rejected", "dropped", "failed", "timed_out", "unresolved",
        "included", "unknown", "lost", "pending", "surprises", "reorganised",
    )  # fmt: skip
    return {
        **{name: getattr(summary, name) for name in names},
        **({"left_out_of_latencies": summary.warming} if summary.warming else {}),
        "latency_seconds": dict(summary.latency.summary()),
        "answer_seconds": dict(summary.answer.summary()),
        "service_seconds": dict(summary.service.summary()),
        "generator_lateness_seconds": dict(summary.lateness.summary()),
        "reasons": dict(summary.reasons),
        **({"found": dict(summary.marks)} if summary.marks else {}),
        **({"sender": of_senders(senders)} if senders is not None else {}),
    }


def too_few_accepted(ctx: Context, summary: Summary, least: float, noun: str) -> tuple[Verdict, str] | None:
    """The verdict where nodes did not accept enough to go on with, and why; None where they accepted at least this
    share of what was sent.

    What the harness itself cut off before it was answered, because a run was ended, is nobody's refusal: it might
    have been accepted. Neither is what got no answer while the harness itself was held up."""
    sent = summary.offered - summary.dropped
    cut_off = summary.unresolved
    answered = summary.accepted + summary.rejected
    if not sent:
        return Verdict.UNKNOWN, f"nothing was sent ({summary.dropped} dropped)"
    if not answered:
        cut = f" ({cut_off} were cut off)" if cut_off else ""
        return Verdict.UNKNOWN, f"no node answered any of {sent} submissions{cut}"
    if summary.accepted + cut_off < least * sent:
        if summary.rejected == sent:
            return Verdict.FAIL, f"every {noun} was refused, {sent} in all{_refusals(summary)}"
        measured = f"accepted {share(summary.accepted, sent)} sent, {summary.rejected} rejected"
        if sent - summary.rejected >= least * sent and (doubt := held_up(ctx)):
            return Verdict.UNKNOWN, f"{measured}, but {doubt}"
        return Verdict.FAIL, f"{measured}{_refusals(summary)}"
    if summary.accepted < least * sent:
        measured = f"{cut_off} of {sent} submissions were cut off before any node had answered"
        return Verdict.UNKNOWN, f"{measured}: accepted {share(summary.accepted, sent - cut_off)} others"
    if not summary.accepted:
        return Verdict.UNKNOWN, f"none of {sent} was accepted: there was nothing to include"
    return None


def _refusals(summary: Summary) -> str:
    """`: nonce too low`: what nodes gave most often as their reason to refuse, "" where they gave none."""
    prefix = f"{Outcome.REJECTED}: "
    reasons = [reason.removeprefix(prefix) for reason in summary.reasons if reason.startswith(prefix)]
    return f": {reasons[0]}" if reasons else ""


def not_known(ctx: Context, summary: Summary, least: float) -> str:
    """Why it cannot be told whether at least this share of the accepted was included, "" if it can."""
    if missing := ctx.feed.bodies_missing:
        return f"the transactions of {missing} blocks could not be read"
    if summary.included + summary.unknown >= least * summary.accepted:
        return f"of {summary.unknown} it never came out whether their block is canonical"
    return ""


def generator_spoiled_it(summary: Summary) -> str:
    """Why the load was not the one that was asked for, "" if it was."""
    if summary.dropped > DROPPED_ALLOWED * summary.offered:
        return f"the generator dropped {summary.dropped} of {summary.offered}: the load was not as asked"
    return too_late(summary.lateness)


def too_late(lateness: Latencies) -> str:
    """The same, of the generator's own lateness."""
    late = lateness.percentile(99)
    if late > LATENESS_ALLOWED and lateness.above(LATENESS_ALLOWED) >= FEWEST_LATE:
        return f"the generator sent {format_duration(late)} late (99th percentile): the load was not as asked"
    return ""


def of_senders(account: SenderAccount) -> dict[str, Any]:
    """What processes that send tell of themselves, as evidence."""
    total = account.total
    return {
        "senders": account.processes,
        "machines": list(account.machines) or ["this one"],
        "started": total.started,
        "completed": total.taken + total.read,
        "on_time": total.on_time,
        "cpu_seconds": round(account.cpu, 3),
        "busiest_share_of_a_core": round(account.busiest, 3),
        "memory_bytes": account.memory,
        "connections": total.connects,
        "in_the_warm_up": total.warming,
        **({"by_machine": machines} if (machines := account.by_machine()) else {}),
    }


def share(part: int, whole: int) -> str:
    """`95.2 % of 340`. Rounded down, so that 100 % means all."""
    return f"{int(1000 * part / whole) / 10:g} % of {whole}" if whole else "0 of 0"


def together(judged: Mapping[str, tuple[Verdict, str]]) -> tuple[Verdict, str]:
    """One verdict and one line for several trackers, what decided it first; names are left out where there is only
    one."""
    worst = Verdict.worst(verdict for verdict, _ in judged.values())
    ordered = sorted(judged.items(), key=lambda item: item[1][0] is not worst)  # stable
    lines = [line if len(judged) == 1 else f"{name}: {line}" for name, (_, line) in ordered]
    return worst, "; ".join(lines)
