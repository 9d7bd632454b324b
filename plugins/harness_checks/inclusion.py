"""The expectation `transaction-inclusion`."""

from __future__ import annotations

from pydantic import Field

from harness.api import Config, Context, Expectation, Judgement, Span, Summary, Verdict, format_duration
from harness_checks.accounts import (
    counts,
    generator_spoiled_it,
    last_inclusions,
    matching,
    not_known,
    share,
    together,
    too_few_accepted,
)


class InclusionConfig(Config):
    """Options of `transaction-inclusion`."""

    min_fraction: float = Field(0.95, ge=0, le=1, description="share of the accepted that must get into blocks")
    min_accepted: float = Field(0.8, ge=0, le=1, description="share of the sent that nodes must accept")
    late_after: Span = Field(
        Span(20, "blocks"), description="included later than this after the intended moment is late; not by then, lost"
    )
    max_p99: Span | None = Field(None, description="bound of the 99th percentile of the latency; none by default")
    trackers: str = Field("transactions*", description="glob of the records of submissions that are judged")


class TransactionInclusion(Expectation[InclusionConfig]):
    """Of the transactions that nodes accepted, at least a share (95 %) is in blocks of the canonical chain.

    Told apart: accepted, rejected (a node said no), failed (no node could be reached), timed out (nobody knows),
    dropped (the generator could not send it), included, late, lost (accepted, never in a canonical block).
    Latencies run from the intended moment of sending to the first sight of the block, anywhere.
    Nodes must also accept most of what is sent (80 %: the transactions are valid, but a fault may take nodes away
    or a nonce out of order). What the harness itself cut off, because the run broke off, is held against nobody.
    Unknown when nothing was sent, when no node answered, when the transactions of some block could not be read, when
    it never came out whether blocks that matter are canonical, or when the generator itself dropped more than 5 %, or
    sent more than 100 ms late (99th percentile)."""

    name = "transaction-inclusion"
    Config = InclusionConfig

    async def evaluate(self, ctx: Context) -> Judgement:
        config, trackers = self.config, matching(ctx, self.config.trackers)
        asked = f"≥ {config.min_fraction:.0%} of the accepted included, ≥ {config.min_accepted:.0%} accepted"
        if config.max_p99 is not None:
            asked += f", p99 ≤ {config.max_p99}"
        if not trackers:
            there = ", ".join(ctx.trackers())
            none = f'no record of submissions is called "{config.trackers}"; there are: {there}'
            return Judgement(Verdict.UNKNOWN, none if there else "no workload has sent transactions", asked)
        late_after = config.late_after.seconds(ctx.block_interval)
        await last_inclusions(ctx, list(trackers.values()), late_after)
        summaries = {name: tracker.summary(late_after) for name, tracker in trackers.items()}
        judged, evidence = {}, {}
        for name, summary in summaries.items():
            late = summary.latency.above(late_after)
            verdict, line = self._judge(ctx, summary)
            judged[name] = verdict, f"{line}, {late} late" if late else line
            evidence[name] = {**counts(summary, trackers[name].senders), "late": late}
        verdict, measured = together(judged)
        return Judgement(verdict, measured, asked, evidence)

    def _judge(self, ctx: Context, summary: Summary) -> tuple[Verdict, str]:
        config = self.config
        if decided := too_few_accepted(ctx, summary, config.min_accepted, "transaction"):
            return decided
        p50, p90, p99 = (summary.latency.percentile(percent) for percent in (50, 90, 99))
        times = "/".join(format_duration(seconds) for seconds in (p50, p90, p99, summary.latency.max))
        line = f"included {share(summary.included, summary.accepted)}, p50/p90/p99/max {times}"
        if summary.warming:
            line += f" (without {summary.warming} of the warm-up)"
        if summary.lost:
            line += f", {summary.lost} lost"
        if summary.included < config.min_fraction * summary.accepted:
            if doubt := not_known(ctx, summary, config.min_fraction):
                return Verdict.UNKNOWN, f"{doubt}: {line}"
            return Verdict.FAIL, line
        if config.max_p99 is not None and p99 > config.max_p99.seconds(ctx.block_interval):
            return Verdict.FAIL, f"p99 {format_duration(p99)} is over {config.max_p99}: {line}"
        if spoiled := generator_spoiled_it(summary):
            return Verdict.UNKNOWN, f"{spoiled}: {line}"
        return Verdict.PASS, line
