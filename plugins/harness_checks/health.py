"""The expectation `nodes-healthy`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from harness.api import (
    Context,
    Expectation,
    InfrastructureError,
    Judgement,
    NoConfig,
    Node,
    NodeState,
    Verdict,
    Violation,
)

LINE_LIMIT = 8192
"""Bytes of a log line that are looked at; the rest of a longer one is read as a line of its own."""
SHOWN = 5  # matching lines of a node in the evidence
SHOWN_LENGTH = 300


@dataclass(frozen=True, slots=True)
class LogScan:
    """What was found in one log. `error` says why it could not be read, "" if it was."""

    lines: int
    matches: int
    first: tuple[str, ...] = ()
    error: str = ""


def scan_log(path: Path, patterns: Sequence[str]) -> LogScan:
    """Look for lines that match any of these regular expressions. Streams: memory does not grow with the file."""
    panic = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
    lines = matches = 0
    first: list[str] = []
    try:
        with path.open("rb") as log:
            while raw := log.readline(LINE_LIMIT):
                lines += 1
                if panic is not None and panic.search(line := raw.decode("utf-8", "replace").rstrip("\r\n")):
                    matches += 1
                    if len(first) < SHOWN:
                        first.append(line[:SHOWN_LENGTH])
    except OSError as error:
        return LogScan(lines, matches, tuple(first), str(error))
    return LogScan(lines, matches, tuple(first))


class NodesHealthy(Expectation[NoConfig]):
    """No node's process ended unasked, and no log has a line that the chain calls a panic.

    Faults that end a process ask for it, and what the harness asked for is no fault of the node. Any other end is
    held against it, under a fault too: a node that is partitioned, paused or slowed down must not crash of it.
    Lines of a log carry no time that can be relied upon, and no fault makes a healthy node panic: a panic counts
    whenever it was written, from the node's first start on.
    Unknown when a log could not be read, or when there are no nodes.
    While the run goes on, where it is `continuous`: it is violated once a process has ended."""

    name = "nodes-healthy"

    async def watch(self, ctx: Context) -> Violation | None:
        """A node that ended unasked."""
        for node in ctx.nodes.values():
            if ends := _unasked(node):
                return Violation(f"{node.name} ended unasked: {ends[0]['how']}", {"unexpected_exits": ends})
        return None

    async def evaluate(self, ctx: Context) -> Judgement:
        asked = "no unexpected exit, no panic in a log"
        if not ctx.nodes:
            return Judgement(Verdict.UNKNOWN, "there are no nodes", asked)
        wrong: list[str] = []
        unsure: list[str] = []
        evidence: dict[str, Any] = {}
        lines = 0
        for node in ctx.nodes.values():
            if node.spec.late and node.state is NodeState.CREATED:
                continue  # it has not been started: there is nothing to look at
            try:
                await node.sync_log()
                scan = await anyio.to_thread.run_sync(scan_log, node.log_path, node.launch.panic_patterns)
            except InfrastructureError as error:
                scan = LogScan(0, 0, (), str(error))
            # After its log was asked for: of a node that is only looked at, that may tell of an end, too.
            ends = _unasked(node)
            lines += scan.lines
            evidence[node.name] = {
                "unexpected_exits": ends,
                "expected_exits": sum(expected for _, expected in node.exits),
                "panics": scan.matches,
                "first_panics": list(scan.first),
                "log_lines": scan.lines,
                "log_error": scan.error,
            }
            if ends:
                wrong.append(f"{node.name} ended unasked: {ends[0]['how']}")
            if scan.matches:
                wrong.append(f"{node.name} logged {scan.matches} panics: {scan.first[0][:80]}")
            if scan.error:
                unsure.append(f"the log of {node.name} could not be read: {scan.error}")
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return Judgement(Verdict.FAIL, wrong[0] + more, asked, evidence)
        if unsure:
            return Judgement(Verdict.UNKNOWN, unsure[0], asked, evidence)
        measured = f"{len(ctx.nodes)} nodes, no unexpected exit, no panic in {lines} log lines"
        return Judgement(Verdict.PASS, measured, asked, evidence)


def _unasked(node: Node) -> list[dict[str, Any]]:
    """Ends of its process that the harness had not asked for."""
    return [{"how": str(end), "at": end.at} for end, expected in node.exits if not expected]
