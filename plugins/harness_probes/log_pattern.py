"""The expectation `log-pattern`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from harness.api import (
    CommandTimeout,
    Config,
    Context,
    Duration,
    Expectation,
    InfrastructureError,
    Judgement,
    Node,
    PlanView,
    Span,
    UsageError,
    Verdict,
    Violation,
    select_nodes,
)
from harness_probes.scanning import Hits, Pattern, Scanned, Spot, scan


class LogPatternConfig(Config):
    """Options of `log-pattern`."""

    forbid: list[Pattern] = Field([], description="no line may match any of these regular expressions")
    require: list[Pattern] = Field([], description="each of these must match, on each of the nodes")
    min: int = Field(1, ge=0, description="how many lines must match each of `require`, at least")
    max: int | None = Field(None, ge=0, description="how many lines may match each of `require`, at most")
    together: bool = Field(False, description="count the lines of `require` over all the nodes, not on each")
    nodes: str = Field("all", description="whose logs: a node pattern")
    timeout: Duration = Field(60.0, gt=0, description="how long looking through the logs may take, at each look")
    every: Span = Field(Span(2.0), description="how often to look while the run goes on, where it is continuous")

    @model_validator(mode="after")
    def _makes_sense(self) -> LogPatternConfig:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max is {self.max}, and min is {self.min}")
        return self


@dataclass(slots=True)
class _Log:
    """One node's log: where the run's time begins in it, and up to where it was watched."""

    node: Node
    begin: Spot
    watched: Spot


class LogPattern(Expectation[LogPatternConfig]):
    """No line of the nodes' logs matches a forbidden pattern, and enough lines match those that are required.

    What counts is what was written from just before the drive until the log is judged, after settling; of nodes that
    were started later, all of it. Patterns are Python's regular expressions, searched for in each line (of lines over
    64 KiB, in each piece of so much). Bytes that are not UTF-8 become U+FFFD.
    The search runs in a process of its own that streams the logs and is killed after `timeout`: a pattern that
    backtracks for ever costs that time and gives `unknown`, as does a log that cannot be read, or is shorter than it
    was. A forbidden line that was found fails all the same.
    While the run goes on, where it is `continuous`, it looks for forbidden lines only."""

    name = "log-pattern"
    Config = LogPatternConfig

    def __init__(self, config: LogPatternConfig) -> None:
        super().__init__(config)
        self.watch_every = config.every
        self._logs: dict[str, _Log] = {}
        self._unread = ""

    def check(self, ctx: PlanView) -> Sequence[str]:
        try:
            select_nodes(self.config.nodes, ctx.nodes)
        except UsageError as error:
            return [str(error)]
        if not self.config.forbid and not self.config.require:
            return ["there is nothing to look for: write forbid or require"]
        return []

    async def capture(self, ctx: Context) -> None:
        specs = select_nodes(self.config.nodes, [node.spec for node in ctx.nodes.values()])
        chosen = [ctx.nodes[spec.name] for spec in specs]
        begun = [node for node in ctx.select("all") if node in chosen]
        self._logs = {node.name: _Log(node, Spot(node.log_path), Spot(node.log_path)) for node in chosen}
        try:
            for node in begun:
                await node.sync_log()
            scanned = await scan([self._logs[node.name].begin for node in begun], [], self.config.timeout)
        except InfrastructureError as error:
            self._unread = f"where the logs stood before the drive is not known: {error}"
            return
        for node, one in zip(begun, scanned, strict=True):
            if one.error:
                self._unread = f"the log of {node.name} could not be read before the drive: {one.error}"
            log = self._logs[node.name]
            log.begin = log.watched = one.end

    async def watch(self, ctx: Context) -> Violation | None:
        """A forbidden line that was written since the last look."""
        if not self.config.forbid or self._unread:
            return None
        logs = [log for log in self._logs.values() if log.node in ctx.select("all")]
        try:
            for log in logs:
                await log.node.sync_log()
            scanned = await scan([log.watched for log in logs], self.config.forbid, self.config.timeout)
        except InfrastructureError as error:
            ctx.note(f"could not look: {error}")
            return None
        seen: list[dict[str, Any]] = []
        for log, one in zip(logs, scanned, strict=True):
            log.watched = one.end
            seen += _evidence(log.node.name, self.config.forbid, one.hits)
        if not seen:
            return None
        return Violation(_told(seen[0]), {"forbidden": seen})

    async def evaluate(self, ctx: Context) -> Judgement:
        config, asked = self.config, self._asked()
        if self._unread:
            return Judgement(Verdict.UNKNOWN, self._unread, asked)
        there = [log for log in self._logs.values() if log.node in ctx.select("all")]
        unsure: list[str] = []
        for log in there:
            try:
                await log.node.sync_log()
            except InfrastructureError as error:
                unsure.append(f"the log of {log.node.name} may not be whole: {error}")
        patterns = [*config.forbid, *config.require]
        try:
            scanned = await scan([log.begin for log in there], patterns, config.timeout)
        except CommandTimeout:
            why = f"looking through the logs took more than {config.timeout:g} s: a pattern that backtracks?"
            return Judgement(Verdict.UNKNOWN, why, asked)
        found = {log.node.name: one for log, one in zip(there, scanned, strict=True)}
        unsure += [f"the log of {name} could not be read: {one.error}" for name, one in found.items() if one.error]
        forbidden = [
            line
            for name, one in found.items()
            for line in _evidence(name, config.forbid, one.hits[: len(config.forbid)])
        ]
        lines = sum(one.end.lines - self._logs[name].begin.lines for name, one in found.items())
        evidence: dict[str, Any] = {"lines": lines, "forbidden": forbidden, "required": self._counts(found)}
        wrong = [_told(line) for line in forbidden] + self._miscounted(found)
        if any(forbidden) or (wrong and not unsure):
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, wrong[0] + more, asked, evidence)
        if unsure or not found:
            return Judgement(Verdict.UNKNOWN, (unsure or ["no node was started"])[0], asked, evidence)
        measured = f"{lines} lines of {len(found)} nodes, none that is forbidden"
        if config.require:
            counts = [sum(count.values()) for count in self._counts(found).values()]
            measured += f", {sum(counts)} that are required"
        return Judgement(Verdict.PASS, measured, asked, evidence)

    def _asked(self) -> str:
        config, parts = self.config, []
        if config.forbid:
            parts.append(f"no line matches {_listed(config.forbid)}")
        if config.require:
            often = f"≥ {config.min}" if config.max is None else f"{config.min} to {config.max}"
            parts.append(f"{often} lines match {_listed(config.require)} {'in all' if config.together else 'each'}")
        return "; ".join(parts)

    def _counts(self, found: dict[str, Scanned]) -> dict[str, dict[str, int]]:
        """How many lines match, by required pattern and node."""
        first = len(self.config.forbid)
        return {
            pattern: {name: one.hits[first + number].count for name, one in found.items() if one.hits}
            for number, pattern in enumerate(self.config.require)
        }

    def _miscounted(self, found: dict[str, Scanned]) -> list[str]:
        config, wrong = self.config, []
        for pattern, counts in self._counts(found).items():
            of = {"all nodes": sum(counts.values())} if config.together else counts
            for name, count in of.items():
                if count < config.min or (config.max is not None and count > config.max):
                    wrong.append(f"{name}: {count} lines match {pattern!r}")
        return wrong


def _evidence(node: str, patterns: Sequence[str], hits: Sequence[Hits]) -> list[dict[str, Any]]:
    return [
        {"node": node, "pattern": pattern, "count": hit.count, "line": hit.first[0][0], "text": hit.first[0][1],
         "more": [{"line": line, "text": text} for line, text in hit.first[1:]]}
        for pattern, hit in zip(patterns, hits, strict=True)
        if hit.count
    ]  # fmt: skip


def _told(found: dict[str, Any]) -> str:
    return f"{found['node']}, line {found['line']}: {found['text'][:80]!r} matches {found['pattern']!r}"


def _listed(patterns: Sequence[str]) -> str:
    return " or ".join(repr(pattern) for pattern in patterns)
