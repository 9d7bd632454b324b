"""The expectation `da-availability`."""

from __future__ import annotations

from pydantic import Field

from harness.api import Capability, Config, Context, Expectation, Judgement, Span, Summary, Verdict
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


class AvailabilityConfig(Config):
    """Options of `da-availability`."""

    min_fraction: float = Field(
        0.95, ge=0, le=1, description="share of the accepted that must be included, and of the blobs read to be right"
    )
    min_accepted: float = Field(0.8, ge=0, le=1, description="share of the sent that nodes must accept")
    patience: Span = Field(Span(20, "blocks"), description="how long after the drive the last inclusions may take")


class DataAvailabilityHolds(Expectation[AvailabilityConfig]):
    """Channel operations and blobs get into blocks, and every blob in a block can be read back unchanged.

    One corrupt blob fails. Of what nodes accepted, 95 % must be in canonical blocks, and 95 % of the blobs read
    back must have been there to read. Nodes must accept 80 % of what is sent. Unknown when nothing was sent, no
    node answered, or fewer than 95 % of the included blobs were read back at all."""

    name = "da-availability"
    Config = AvailabilityConfig

    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.BLOBS})

    async def evaluate(self, ctx: Context) -> Judgement:
        least = self.config.min_fraction
        asked = f"≥ {least:.0%} of the accepted included, ≥ {least:.0%} of the blobs readable, none corrupt"
        trackers = matching(ctx, "da.*")
        summaries = {}
        if trackers:
            patience = self.config.patience.seconds(ctx.block_interval)
            await last_inclusions(ctx, list(trackers.values()), patience)
            summaries = {name: t.summary(patience) for name, t in trackers.items() if t.figures()["offered"]}
        if not summaries:
            none = "its workload did not come to it" if trackers else "no da workload"
            return Judgement(Verdict.UNKNOWN, f"nothing was offered: {none}", asked)
        judged = {name: self._judge(ctx, summary, name == "da.blob") for name, summary in summaries.items()}
        verdict, measured = together({name.removeprefix("da."): decided for name, decided in judged.items()})
        return Judgement(
            verdict, measured, asked, {name: counts(s, trackers[name].senders) for name, s in summaries.items()}
        )

    def _judge(self, ctx: Context, summary: Summary, blobs: bool) -> tuple[Verdict, str]:
        least = self.config.min_fraction
        if decided := too_few_accepted(
            ctx, summary, self.config.min_accepted, "blob" if blobs else "channel operation"
        ):
            return decided
        included = f"included {share(summary.included, summary.accepted)}"
        verdict, found = self._judge_reading(summary) if blobs else (Verdict.PASS, "")
        line = f"{included}, {found}" if found else included
        if verdict is Verdict.FAIL:
            return verdict, f"{found}; {included}"
        if summary.included < least * summary.accepted:
            if doubt := not_known(ctx, summary, least):
                return Verdict.UNKNOWN, f"{doubt}: {line}"
            return Verdict.FAIL, line
        if spoiled := generator_spoiled_it(summary):
            return Verdict.UNKNOWN, f"{spoiled}: {line}"
        return verdict, line if verdict is Verdict.PASS else f"{found}; {included}"

    def _judge_reading(self, summary: Summary) -> tuple[Verdict, str]:
        verified, corrupt, unavailable = (
            summary.marks.get(finding, 0) for finding in ("verified", "corrupt", "unavailable")
        )
        read = verified + corrupt + unavailable
        line = f"{verified} verified, {corrupt} corrupt, {unavailable} unavailable"
        if corrupt:
            return Verdict.FAIL, f"{corrupt} of {read} blobs corrupt, {unavailable} unavailable, {verified} verified"
        if verified < self.config.min_fraction * read:
            return Verdict.FAIL, f"{unavailable} of {read} blobs unavailable, {verified} verified"
        if not read or read < self.config.min_fraction * summary.included:
            return Verdict.UNKNOWN, f"{summary.included - read} blobs never read, {line}"
        return Verdict.PASS, line
