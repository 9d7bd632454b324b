"""The expectation `promql`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import anyio
import httpx
from pydantic import AfterValidator, Field, model_validator

from harness.api import (
    Config,
    Context,
    Duration,
    Expectation,
    Header,
    InfrastructureError,
    Judgement,
    PlanView,
    SecretSource,
    Span,
    Verdict,
    Violation,
    missing_secrets,
    reveal,
    revealed,
)
from harness_probes.clients import new_client

LARGEST = 16 << 20
"""Bytes of an answer that are read."""
MOST_POINTS = 11_000
"""Points of a series that Prometheus answers with at most."""
_HOLDS = {
    "<": lambda x, value, tolerance: x < value + tolerance,
    "<=": lambda x, value, tolerance: x <= value + tolerance,
    ">": lambda x, value, tolerance: x > value - tolerance,
    ">=": lambda x, value, tolerance: x >= value - tolerance,
    "==": lambda x, value, tolerance: abs(x - value) <= tolerance or x == value,
    "!=": lambda x, value, tolerance: x != value and abs(x - value) > tolerance,
}


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no url; write http://HOST:9090")
    return url.rstrip("/")


class PromqlConfig(Config):
    """Options of `promql`."""

    url: Annotated[str, AfterValidator(_base)] = Field(
        "http://127.0.0.1:9090", description="the Prometheus server, with its path prefix where it has one"
    )
    query: str = Field("up", min_length=1, description="what to ask, in PromQL")
    op: Literal["<", "<=", ">", ">=", "==", "!="] = Field(">=", description="how each sample must compare to value")
    value: float = Field(1.0, allow_inf_nan=False, description="what to compare to")
    tolerance: float = Field(0.0, ge=0, allow_inf_nan=False, description="how far beyond value is as good")
    mode: Literal["instant", "range"] = Field(
        "instant", description="at the end of the drive, or all through it; with range every sample must hold"
    )
    step: Duration = Field(5.0, ge=0.1, description="with range: time from sample to sample")
    timeout: Duration = Field(10.0, gt=0, description="how long the server may take to answer")
    headers: dict[str, Header] = Field({}, description="what to send along; values may be { env = … }, { file = … }")
    bearer: SecretSource | None = Field(None, description="a token to prove who asks: { env = … }, { file = … }")
    username: str = Field("", description="for basic authentication")
    password: SecretSource | None = Field(None, description="for basic authentication: { env = … }, { file = … }")
    every: Span = Field(Span(5.0), description="how often to ask while the run goes on, where it is continuous")

    @model_validator(mode="after")
    def _makes_sense(self) -> PromqlConfig:
        if self.bearer is not None and (self.username or self.password is not None):
            raise ValueError("bearer, or username and password: not both")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password come together")
        return self


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series. `at` is Unix seconds, by the server's clock."""

    series: str
    at: float
    value: float


class Promql(Expectation[PromqlConfig]):
    """What Prometheus has measured compares as it should: every sample of every series that a query gives.

    It is asked at the Unix times of the controller's clock: for the end of the drive, or, with `range`, for all of it.
    The server must have scraped by then, and its clock be right. It is `unknown` when the server cannot be reached,
    refuses the query, or has no data for it, and where a sample is not a number. No proxy of the environment is used,
    and no redirection followed: credentials go to `url` alone.
    While the run goes on, where it is `continuous`, the query is asked for the present moment."""

    name = "promql"
    Config = PromqlConfig

    def __init__(self, config: PromqlConfig) -> None:
        super().__init__(config)
        self.watch_every = config.every

    def check(self, ctx: PlanView) -> Sequence[str]:
        config = self.config
        return missing_secrets((*config.headers.values(), config.bearer, config.password))

    async def watch(self, ctx: Context) -> Violation | None:
        """Whether a sample of this moment compares as it should not."""
        try:
            samples = await self._ask("query", {"time": _text(ctx.clock.wall())})
        except InfrastructureError as error:
            ctx.note(f"could not ask: {error}")
            return None
        wrong = [sample for sample in samples if not math.isnan(sample.value) and not self._holds(sample)]
        return Violation(_told(wrong[0]), self._evidence(samples, wrong)) if wrong else None

    async def evaluate(self, ctx: Context) -> Judgement:
        config, window = self.config, ctx.window
        end = ctx.clock.wall() if window.end_wall is None else window.end_wall  # a step is judged in the middle
        tolerance = f" ± {config.tolerance:g}" if config.tolerance else ""
        asked = f"{config.query} {config.op} {config.value:g}{tolerance}"
        try:
            if config.mode == "instant":
                samples = await self._ask("query", {"time": _text(end)})
            else:
                step = max(config.step, (end - window.start_wall) / (MOST_POINTS - 1))
                times = {"start": _text(window.start_wall), "end": _text(end), "step": _text(step)}
                samples = await self._ask("query_range", times)
        except InfrastructureError as error:
            return Judgement(Verdict.UNKNOWN, str(error), asked)
        numbers = [sample for sample in samples if not math.isnan(sample.value)]
        wrong = [sample for sample in numbers if not self._holds(sample)]
        evidence = self._evidence(samples, wrong)
        if wrong:
            more = f" (and {len(wrong) - 1} more of {len(numbers)} samples)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, _told(wrong[0]) + more, asked, evidence)
        if not samples:
            return Judgement(Verdict.UNKNOWN, "the server has no data for this query", asked, evidence)
        if len(numbers) < len(samples):
            why = f"{len(samples) - len(numbers)} of {len(samples)} samples are not a number"
            return Judgement(Verdict.UNKNOWN, why, asked, evidence)
        values = [sample.value for sample in samples]
        series = len({sample.series for sample in samples})
        measured = f"{min(values):g} to {max(values):g} in {len(values)} samples of {series} series"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _holds(self, sample: Sample) -> bool:
        return bool(_HOLDS[self.config.op](sample.value, self.config.value, self.config.tolerance))

    def _evidence(self, samples: Sequence[Sample], wrong: Sequence[Sample]) -> dict[str, Any]:
        shown = wrong or samples
        return {
            "samples": len(samples),
            "wrong": len(wrong),
            "first": [{"series": one.series, "at": one.at, "value": str(one.value)} for one in shown[:10]],
        }

    async def _ask(self, what: str, times: Mapping[str, str]) -> list[Sample]:
        """Raises InfrastructureError."""
        config = self.config
        headers = await revealed(config.headers)
        if config.bearer is not None:
            headers["Authorization"] = f"Bearer {await reveal(config.bearer)}"
        auth = httpx.BasicAuth(config.username, await reveal(config.password)) if config.password else None
        url = f"{config.url}/api/v1/{what}"
        content = bytearray()
        try:
            with anyio.fail_after(config.timeout):
                async with (
                    await new_client(auth) as client,
                    client.stream("POST", url, headers=headers, data={"query": config.query, **times}) as answer,
                ):
                    async for chunk in answer.aiter_bytes():
                        content += chunk
                        if len(content) > LARGEST:
                            raise InfrastructureError(f"the answer of {config.url} has over {LARGEST >> 20} MiB")
        except TimeoutError:
            raise InfrastructureError(f"{config.url} did not answer within {config.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InfrastructureError(f"{config.url} cannot be asked: {error or type(error).__name__}") from None
        return _samples(bytes(content), answer.status_code, config.url)


def _samples(content: bytes, status: int, url: str) -> list[Sample]:
    """The samples of an answer of Prometheus' HTTP API, version 1. Raises InfrastructureError for any other."""
    try:
        answer = json.loads(content)
        if answer["status"] != "success":
            raise InfrastructureError(f"{url} refuses the query: {answer.get('errorType')}: {answer.get('error')}")
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind == "scalar":
            return [Sample("scalar", float(result[0]), float(result[1]))]
        if kind == "vector":
            return [Sample(_series(one["metric"]), float(one["value"][0]), float(one["value"][1])) for one in result]
        if kind == "matrix":
            return [
                Sample(_series(one["metric"]), float(at), float(value)) for one in result for at, value in one["values"]
            ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise InfrastructureError(f"{url} answers status {status}, and not as Prometheus does") from None
    raise InfrastructureError(f"the query gives a {kind}, which is no number")


def _series(metric: Mapping[str, Any]) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in sorted(metric.items()) if key != "__name__")
    return f"{metric.get('__name__', '')}{{{labels}}}"


def _told(sample: Sample) -> str:
    return f"{sample.series} was {sample.value:g}"


def _text(seconds: float) -> str:
    return f"{seconds:.3f}"
