"""The expectation `http-slo`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import anyio
import httpx
from pydantic import AfterValidator, Field

from harness.api import (
    Config,
    Context,
    Duration,
    Expectation,
    Header,
    InfrastructureError,
    Judgement,
    NodeState,
    PlanView,
    UsageError,
    Verdict,
    Violation,
    format_duration,
    missing_secrets,
    revealed,
    select_nodes,
)
from harness_probes.clients import new_client
from harness_probes.probing import LATE, Ask, Probes, Tally, Target, probe, tally

LATE_SHARE = 0.05
"""When more of the probes than this left late, they say more of the controller than of who was asked."""
_PLACES = ("node", "host", "port", "endpoint")


def _url(value: str) -> str:
    if unknown := sorted(set(re.findall(r"\{(.*?)\}", value)) - set(_PLACES)):
        raise ValueError(f"{{{unknown[0]}}} is no place in a url; there are {', '.join(f'{{{p}}}' for p in _PLACES)}")
    if not re.match(r"https?://[^/]", value):
        raise ValueError(f"{value!r} is no url; write http://… or https://…")
    return value


def _percentile(key: str) -> str:
    if key != "max" and not (re.fullmatch(r"p\d{1,2}(\.\d{1,3})?", key) and float(key[1:]) > 0):
        raise ValueError('is no percentile; write "p50", "p99.9" or "max"')
    return key


Percentile = Annotated[str, AfterValidator(_percentile)]


class HttpSloConfig(Config):
    """Options of `http-slo`."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        "http://{endpoint}/",
        description="what to ask for; {endpoint}, {host}, {port} and {node} are those of each node",
    )
    nodes: str = Field("all", description="of which nodes, where the url has such a place: a node pattern")
    port: str = Field("", description="at which of their ports, by the chain's names; without, that of their API")
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = Field("GET", description="how to ask")
    headers: dict[str, Header] = Field({}, description="what to send along; values may be { env = … }, { file = … }")
    status: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        [200], min_length=1, description="which answers are good ones"
    )
    interval: Duration = Field(1.0, ge=0.01, description="how often each target is asked")
    timeout: Duration = Field(5.0, gt=0, description="an answer that takes longer is none")
    availability: float = Field(0.99, ge=0, le=1, description="share of the probes that must get a good answer in time")
    latency: dict[Percentile, Duration] = Field(
        {}, description='how long answers may take: { p50 = "20ms", p99 = "200ms", max = "1s" }'
    )
    calm: bool = Field(False, description="leave out what was asked of a node while it was under a fault")
    recovery: Duration = Field(0.0, description="with calm: leave it out for so long after its healing, too")


class HttpSlo(Expectation[HttpSloConfig]):
    """HTTP endpoints answer: in a share of the cases, and as fast as percentiles say.

    Each target is asked all through the drive, at times that are fixed before, whatever becomes of the probes before
    (Tene's coordinated omission): latency counts from when a probe was due until its answer was there to the last
    byte, and one without a good answer took for ever. A late node is asked from its start on. Percentiles are nearest
    ranks over all targets' probes; the number of probes and the longest latency are said beside them.
    Probes that are still under way at the end of the drive are not counted.
    Probes that left more than 100 ms late say more of the controller, and are not counted; when more than 5 % did, the
    verdict is `unknown` unless the others show a failure. It is `unknown` also when no probe could be made.
    While the run goes on, where it is `continuous`: it is violated once so many probes have failed, or were too slow,
    that the drive as a whole cannot pass any more."""

    name = "http-slo"
    Config = HttpSloConfig

    def __init__(self, config: HttpSloConfig) -> None:
        super().__init__(config)
        self._probes: list[Probes] = []
        self._planned = 0
        self._unable = ""

    @property
    def _of_nodes(self) -> bool:
        return "{" in self.config.url

    def check(self, ctx: PlanView) -> Sequence[str]:
        problems = missing_secrets(self.config.headers.values())
        if self._of_nodes:
            try:
                select_nodes(self.config.nodes, ctx.nodes)
            except UsageError as error:
                problems.append(str(error))
        if self.config.interval > ctx.duration:
            problems.append("interval is longer than the drive: raise duration, or lower interval")
        return problems

    async def measure(self, ctx: Context) -> None:
        config = self.config
        try:
            headers = await revealed(config.headers)
        except InfrastructureError as error:
            self._unable = str(error)
            return
        ask = Ask(config.method, headers, frozenset(config.status), config.interval, config.timeout)
        nodes = self._nodes(ctx) if self._of_nodes else [""]
        self._planned = len(nodes) * math.ceil((ctx.deadline - ctx.window.start) / config.interval)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=2 * len(nodes))
        client = await new_client(limits=limits)
        start = ctx.clock.now()
        async with client, anyio.create_task_group() as tasks:
            for number, name in enumerate(nodes):
                # Spread over the interval, so that the controller does not disturb its own measurement.
                shift = number / len(nodes) * config.interval
                tasks.start_soon(self._probe, ctx, name, ask, client, start + shift)

    def _nodes(self, ctx: Context) -> list[str]:
        return [spec.name for spec in select_nodes(self.config.nodes, [node.spec for node in ctx.nodes.values()])]

    async def _probe(self, ctx: Context, name: str, ask: Ask, client: httpx.AsyncClient, start: float) -> None:
        if name:
            node = ctx.nodes[name]
            while node.spec.late and node.state is NodeState.CREATED:
                start += ask.interval
                await ctx.clock.sleep_until(start)
        target = self._target(ctx, name)
        self._probes.append(probes := Probes(target))
        await probe(target, ask, ctx.clock, client, probes, start)

    def _target(self, ctx: Context, name: str) -> Target:
        url = self.config.url
        if not name:
            return Target(url, url, tuple(ctx.nodes))
        address = ctx.nodes[name].endpoint(self.config.port)
        host = f"[{address.host}]" if ":" in address.host else address.host
        for place, value in zip(_PLACES, (name, host, str(address.port), str(address)), strict=True):
            url = url.replace(f"{{{place}}}", value)
        return Target(name, url, (name,))

    def _tally(self, ctx: Context) -> Tally:
        def disturbed(node: str) -> list[tuple[float, float]]:
            recovery = self.config.recovery
            return [(begin, math.inf if end is None else end + recovery) for begin, end in ctx.faults.disturbed(node)]

        return tally(self._probes, disturbed, self.config.calm)

    async def watch(self, ctx: Context) -> Violation | None:
        """Whether the drive as a whole cannot pass any more."""
        now = self._tally(ctx)
        wrong = []
        if now.failed > (1 - self.config.availability) * self._planned + 1e-9:
            wrong.append(f"{now.failed} of at most {self._planned} probes failed already")
        for key, limit in self.config.latency.items():
            if (slow := now.slower(limit)) > (1 - _share(key)) * self._planned + 1e-9:
                wrong.append(
                    f"{slow} of at most {self._planned} probes took more than {key}'s {format_duration(limit)} already"
                )
        return Violation(wrong[0], self._evidence(now)) if wrong else None

    async def evaluate(self, ctx: Context) -> Judgement:
        asked, now = self._asked(), self._tally(ctx)
        evidence = self._evidence(now)
        if self._unable:
            return Judgement(Verdict.UNKNOWN, f"no probe could be made: {self._unable}", asked, evidence)
        if not now.counted:
            disturbed = now.disturbed if self.config.calm else 0
            why = (
                f"no probe counts: {now.late} left late, {disturbed} were disturbed, {now.cut_off} not over at the end"
            )
            return Judgement(Verdict.UNKNOWN, why, asked, evidence)
        measured = self._measured(now)
        if self._wrong(now):
            return Judgement(Verdict.FAIL, measured, asked, evidence)
        if now.late > LATE_SHARE * (now.late + now.counted):
            why = f"the prober itself was late: {now.late} probes left over {format_duration(LATE)} late; {measured}"
            return Judgement(Verdict.UNKNOWN, why, asked, evidence)
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _wrong(self, now: Tally) -> bool:
        slow = any(now.percentile(_share(key)) > limit for key, limit in self.config.latency.items())
        return slow or now.failed > (1 - self.config.availability) * now.counted + 1e-9

    def _asked(self) -> str:
        parts = [f"≥ {self.config.availability:.6g} available"]
        parts += [f"{key} ≤ {format_duration(limit)}" for key, limit in self.config.latency.items()]
        return ", ".join(parts) + (", but under faults" if self.config.calm else "")

    def _measured(self, now: Tally) -> str:
        parts = [f"{now.availability:.6g} available (n = {now.counted}, {now.failed} failed)"]
        keys = dict.fromkeys([*self.config.latency, "max"])
        parts += [f"{key} {_shown(now.percentile(_share(key)))}" for key in keys]
        if now.disturbed:
            left = "left out" if self.config.calm else "counted"
            parts.append(f"{now.disturbed} under faults {left}")
        if now.late:
            parts.append(f"{now.late} left late, not counted")
        return ", ".join(parts)

    def _evidence(self, now: Tally) -> dict[str, Any]:
        percentiles = {key: now.percentile(_share(key)) for key in ("p50", "p90", "p99", "max") if now.counted}
        return {
            "probes": now.counted,
            "failed": now.failed,
            "late": now.late,
            "under_way_at_the_end": now.cut_off,
            "disturbed": {"probes": now.disturbed, "failed": now.disturbed_failed, "left_out": self.config.calm},
            "seconds": {key: _finite(value) for key, value in percentiles.items()},
            "targets": {
                probes.target.name: {
                    "url": probes.target.url,
                    "probes": len(probes.due),
                    "failures": dict(probes.reasons.most_common(5)),
                    "first_failures": probes.first_failures,
                }
                for probes in self._probes
            },
        }


def _share(key: str) -> float:
    return 1.0 if key == "max" else float(key[1:]) / 100


def _finite(seconds: float) -> float | None:
    return None if seconds == math.inf else round(seconds, 6)


def _shown(seconds: float) -> str:
    return "no answer" if seconds == math.inf else format_duration(seconds)
