"""The expectation `http-load`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.api import (
    DROPPED_ALLOWED,
    Config,
    Context,
    Duration,
    Expectation,
    Judgement,
    Latencies,
    SenderAccount,
    Verdict,
    format_duration,
)
from harness_checks.accounts import matching, of_senders, share, together, too_late


class HttpLoadConfig(Config):
    """Options of `http-load`."""

    min_good: float = Field(0.99, ge=0, le=1, description="share of what was sent that must get a good answer")
    max_p99: Duration | None = Field(None, description="bound of the 99th percentile of the latency; none by default")
    trackers: str = Field("http*", description="glob of the records of requests that are judged")


class HttpLoad(Expectation[HttpLoadConfig]):
    """Of the requests of a workload `http`, at least a share (99 %) got a good answer, and in time where that is asked.

    Latencies run from the intended moment of sending to the last byte of the answer, of those answered, those of the
    warm-up left out. Unknown when nothing was sent, and when the generator itself dropped more than 5 % of what it was
    to send, or sent more than 100 ms late (99th percentile): then it says nothing about the service."""

    name = "http-load"
    Config = HttpLoadConfig

    async def evaluate(self, ctx: Context) -> Judgement:
        config = self.config
        asked = f"≥ {config.min_good:.0%} good answers"
        if config.max_p99 is not None:
            asked += f", p99 ≤ {format_duration(config.max_p99)}"
        accounts = {n: t.senders for n, t in matching(ctx, config.trackers).items() if t.senders and not t.followed}
        if not accounts:
            return Judgement(Verdict.UNKNOWN, f'no record of requests is called "{config.trackers}"', asked)
        judged = {name: self._judge(account) for name, account in accounts.items()}
        verdict, measured = together(judged)
        return Judgement(verdict, measured, asked, {name: _evidence(account) for name, account in accounts.items()})

    def _judge(self, account: SenderAccount) -> tuple[Verdict, str]:
        total, response = account.total, Latencies.of(account.total.response)
        sent = total.started + total.untold
        if not sent:
            return Verdict.UNKNOWN, f"nothing was sent ({account.unsent} dropped)"
        p50, p90, p99 = (response.percentile(percent) for percent in (50, 90, 99))
        times = "/".join(format_duration(seconds) for seconds in (p50, p90, p99, response.max))
        line = f"good answers to {share(total.taken, sent)}"
        line += f", p50/p90/p99/max {times}" if response.count else ""
        if total.warming:
            line += f" (without {total.warming} of the warm-up)"
        if wrong := {**total.statuses, **total.reasons}:
            worst = max(wrong, key=lambda reason: wrong[reason])
            line += f"; most often: {f'status {worst}' if worst.isdigit() else worst} ({wrong[worst]}×)"
        cut_off = account.in_flight + total.cut_off + total.untold
        if total.taken + cut_off < self.config.min_good * sent:
            return Verdict.FAIL, line
        if total.taken < self.config.min_good * sent:
            return Verdict.UNKNOWN, f"{cut_off} of {sent} were cut off before they were answered: {line}"
        if self.config.max_p99 is not None and p99 > self.config.max_p99:
            return Verdict.FAIL, f"p99 {format_duration(p99)} is over {format_duration(self.config.max_p99)}: {line}"
        if self.config.max_p99 is not None and not response.count:
            return Verdict.UNKNOWN, f"no latency was measured: {line}"
        if account.unsent > DROPPED_ALLOWED * total.offered:
            spoiled = f"the generator dropped {account.unsent} of {total.offered}: the load was not as asked"
            return Verdict.UNKNOWN, f"{spoiled}: {line}"
        if spoiled := too_late(Latencies.of(total.lateness)):
            return Verdict.UNKNOWN, f"{spoiled}: {line}"
        return Verdict.PASS, line


def _evidence(account: SenderAccount) -> dict[str, Any]:
    total = account.total
    return {
        **account.figures(),
        "lost": total.lost,
        "cut_off": total.cut_off,
        "statuses": dict(total.statuses),
        "reasons": total.reasons | {f"dropped: {reason}": count for reason, count in account.unsent_reasons().items()},
        "latency_seconds": dict(Latencies.of(total.response).summary()),
        "service_seconds": dict(Latencies.of(total.service).summary()),
        "generator_lateness_seconds": dict(Latencies.of(total.lateness).summary()),
        "sender": of_senders(account),
    }
