"""What a run came to: verdict, status and exit code. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.engine.runner import Judged
from harness.errors import ExitCode
from harness.spec.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is done, interrupted, not-usable (the user's mistake, found when it was tried), infrastructure-failed or
    teardown-incomplete; `reason` one sentence."""

    verdict: Verdict
    exit_code: ExitCode
    status: str
    reason: str


def conclude(
    judged: Sequence[Judged],
    *,
    interrupted: bool,
    failure: str,
    usage: bool,
    teardown_errors: Sequence[str],
    ended_by: str = "",
) -> Outcome:
    """An interrupted or broken run has no verdict on the network beyond a failure that it had already seen.

    Exit code: 130 when interrupted, else 4 when it could not be used as asked, else 5 when something may be left
    behind (a machine to be cleaned needs a person, whatever else came of the run), else 3 when the run itself failed,
    else the verdict's. Whichever it is, the reason says what is left. `ended_by` is the expectation whose violation
    ended the run before its time."""
    verdict = Verdict.worst(one.judgement.verdict for one in judged)
    if interrupted or failure:
        verdict = Verdict.worst((verdict, Verdict.UNKNOWN))
    left = f"teardown incomplete: {'; '.join(teardown_errors)}" if teardown_errors else ""
    if interrupted:
        return Outcome(verdict, ExitCode.INTERRUPTED, "interrupted", _sentence("interrupted by the user", left))
    if failure and usage:
        return Outcome(verdict, ExitCode.USAGE, "not-usable", _sentence(failure, left))
    if left:
        before = f"before that: {failure}" if failure else ""
        return Outcome(verdict, ExitCode.TEARDOWN, "teardown-incomplete", _sentence(left, before))
    if failure:
        return Outcome(verdict, ExitCode.INFRASTRUCTURE, "infrastructure-failed", failure)
    early = f"ended early by {ended_by}" if ended_by else ""
    return Outcome(verdict, verdict.exit_code, "done", _sentence(early, _why(judged, verdict)))


def incomplete(outcome: Outcome, failures: Sequence[str]) -> Outcome:
    """The outcome of a run whose record could not be written whole."""
    reason = f"the record is incomplete: {'; '.join(failures)} ({outcome.reason})"
    if outcome.exit_code in (ExitCode.PASS, ExitCode.FAIL, ExitCode.UNKNOWN):
        return replace(outcome, exit_code=ExitCode.INFRASTRUCTURE, status="infrastructure-failed", reason=reason)
    return replace(outcome, reason=reason)


def _sentence(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _why(judged: Sequence[Judged], verdict: Verdict) -> str:
    deciding = [one for one in judged if one.judgement.verdict is verdict]
    if verdict is Verdict.PASS:
        return "the only expectation holds" if len(deciding) == 1 else f"all {len(deciding)} expectations hold"
    return "; ".join(f"{one.id}: {one.judgement.measured}" for one in deciding) or "nothing was judged"
