"""Expectations that ask from outside: HTTP endpoints, logs, Prometheus, commands of one's own."""

from __future__ import annotations

from typing import Any

from harness.api import Expectation, hookimpl
from harness_probes.command import Command
from harness_probes.http_slo import HttpSlo
from harness_probes.log_pattern import LogPattern
from harness_probes.promql import Promql


@hookimpl
def harness_expectations() -> list[type[Expectation[Any]]]:
    return [HttpSlo, LogPattern, Promql, Command]
