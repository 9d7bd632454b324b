"""`junit.xml`: a run as CI systems show it. Imports junitparser: import it when needed.

A test case for `deploy`, one for each expectation, one for `teardown`, and one for the `run` as a whole. JUnit knows no
"unknown", and skipped cases look green: what could not be measured is an `<error>`. Whatever does not exit with 0 has
at least one case that is red."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from harness.record.codec import jsonable
from harness.record.rundir import write_atomically
from harness.record.state import ExpectationState, RunState
from harness.record.text import block, one_line
from harness.spec.verdict import Verdict

P = TypeVar("P", Failure, Error)

_DEPLOY = ("deploy", "ready")
_TEARDOWN = ("teardown",)


def junit_of(state: RunState) -> TestSuite:
    """The suite of one run."""
    run = state.run
    suite = TestSuite(one_line(run.name if run else "run"))
    if state.started is not None:
        suite.timestamp = state.started.isoformat(timespec="seconds")
    cases = [_phases_case("deploy", _DEPLOY, state), *map(_expectation_case, state.expectations.values())]
    cases += [_phases_case("teardown", _TEARDOWN, state)]
    cases += [_run_case(state, cases)]
    for case in cases:
        case.classname = suite.name
        suite.add_testcase(case)
    if run is not None:
        facts = {"run": run.run_id, "chain": run.chain, "deployer": run.deployer, "seed": run.seed, **run.variables}
        for name, value in facts.items():
            suite.add_property(one_line(name), one_line(value))
    return suite


def _problem(kind: type[P], message: str, type_: str, text: str) -> P:
    result = kind(one_line(message), one_line(type_))
    result.text = block(text)
    return result


def _phases_case(name: str, phases: tuple[str, ...], state: RunState) -> TestCase:
    """Red when one of these phases failed, or was begun and never ended, or never came at all."""
    mine = [phase for phase in state.phases if phase.phase in phases]
    case = TestCase(name, time=_seconds(sum(phase.seconds or 0.0 for phase in mine)))
    bad = [phase for phase in mine if not phase.ok]
    if bad or not mine:
        lines = [f"{phase.phase}: {phase.error or 'did not end'}" for phase in bad] or [f"{name} was not begun"]
        case.result = [_problem(Error, lines[0], "infrastructure", "\n".join(lines))]
    return case


def _expectation_case(one: ExpectationState) -> TestCase:
    case = TestCase(one_line(one.expectation))
    compared = f"measured {one.measured or 'nothing'}; asked {one.asked or 'nothing'}"
    violated = not one.verdict and one.violation_count
    if one.verdict == Verdict.FAIL or violated:
        message = one.violations[0].message if violated else compared
        case.result = [_problem(Failure, message, "fail", _evidence(one))]
    elif one.verdict != Verdict.PASS:
        message = compared if one.verdict else "not judged"
        case.result = [_problem(Error, message, "unknown", _evidence(one))]
    return case


def _evidence(one: ExpectationState) -> str:
    parts = [f"measured: {one.measured}", f"asked:    {one.asked}", f"source:   {one.source}"]
    for seen in one.violations:
        parts.append(f"+{seen.t:.1f}s {seen.message}{_pretty(seen.evidence)}")
    if one.violation_count > len(one.violations):
        parts.append(f"… and {one.violation_count - len(one.violations)} more violations in the journal")
    return "\n".join(parts) + _pretty(one.evidence)


def _pretty(evidence: Mapping[str, Any]) -> str:
    return "\n" + json.dumps(jsonable(evidence), indent=2) if evidence else ""


def _seconds(seconds: float) -> float:
    return round(max(0.0, seconds), 3) if math.isfinite(seconds) else 0.0


def _run_case(state: RunState, others: Sequence[TestCase]) -> TestCase:
    """Red when the run did not come to its end as it should, and when nothing else says why it did not pass. Its
    time is what the other cases leave of the whole: a suite's time is the sum of its cases'."""
    finish = state.finish
    whole = finish.seconds if finish else state.t
    case = TestCase("run", time=_seconds(whole - sum(other.time or 0.0 for other in others)))
    red = any(other.result for other in others)
    if finish is None:
        case.result = [_problem(Error, "the run has no end: its controller was killed", "dead", "")]
    elif finish.status != "done" or (finish.exit_code != 0 and not red):
        case.result = [_problem(Error, finish.reason, finish.status, f"exit code {finish.exit_code}")]
    return case


def write_junit(path: Path, state: RunState) -> None:
    """Write `junit.xml`, all of it or nothing. Raises OSError."""
    xml = JUnitXml()
    xml.add_testsuite(junit_of(state))
    xml.update_statistics()  # type: ignore[no-untyped-call]
    write_atomically(path, xml.tostring().decode("utf-8") + "\n")  # type: ignore[no-untyped-call]
