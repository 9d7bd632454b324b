"""Expectations that are judged while the run goes on, and those that end it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.engine.plan import resolve_file
from harness.errors import ExitCode, SpecError
from harness.plugin.registry import Registry
from harness.record.journal import read_journal
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
from harness.testing import fake_candidates

pytestmark = pytest.mark.anyio

WATCHERS = '''
from harness.api import *
from harness.api import hookimpl

class WatchConfig(Config):
    wrong: list[int] = []
    crash: bool = False

class Watcher(Expectation[WatchConfig]):
    """Is violated at these looks, and says pass in the end."""
    name = "watcher"
    Config = WatchConfig
    watch_every = Span(0.01)
    def __init__(self, config):
        super().__init__(config)
        self.looks = 0
    async def watch(self, ctx):
        self.looks += 1
        if self.config.crash:
            raise KeyError("blind")
        return Violation(f"look {self.looks}", {"look": self.looks}) if self.looks in self.config.wrong else None
    async def evaluate(self, ctx):
        return Judgement(Verdict.PASS, "calm", "calm")

class Measuring(Expectation[NoConfig]):
    """Counts how often it was asked to measure, and that it was ended."""
    name = "measuring"
    def __init__(self, config):
        super().__init__(config)
        self.log = []
    async def measure(self, ctx):
        self.log.append("begun")
        try:
            await ctx.clock.sleep(3600)
        finally:
            self.log.append("ended")
    async def evaluate(self, ctx):
        return Judgement(Verdict.PASS, ",".join(self.log), "")

@hookimpl
def harness_expectations(): return [Watcher, Measuring]
'''


@pytest.fixture
def fake_registry(fake_registry: Registry, tmp_path: Path) -> Registry:
    (tmp_path / "plugins" / "watchers.py").write_text(WATCHERS)
    return Registry(fake_candidates(), project_plugins=tmp_path / "plugins")


def events(finished: Any, kind: str) -> list[Any]:
    return [r.event for r in read_journal(finished.directory.journal) if type(r.event).__name__ == kind]


async def test_a_violation_that_is_gone_at_the_end_still_fails(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "watcher"\ncontinuous = true\nwrong = [2, 3, 5]')
    assert finished.outcome.exit_code is ExitCode.FAIL
    seen = events(finished, "ViolationSeen")
    assert [one.message for one in seen] == ["look 2", "look 5"]  # one that lasts is told once
    (judged,) = events(finished, "ExpectationJudged")
    assert (judged.verdict, judged.measured) == ("fail", "look 2; calm")


async def test_where_it_is_asked_for_is_known_from_the_beginning(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "watcher"\ncontinuous = true\nwrong = [2]')
    (started,) = events(finished, "RunStarted")
    (judged,) = events(finished, "ExpectationJudged")
    assert started.sources == {"watcher": judged.source} and judged.source.endswith("playbook.toml:10:3")


async def test_without_continuous_nobody_watches(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "watcher"\nwrong = [1]')
    assert (finished.outcome.exit_code, events(finished, "ViolationSeen")) == (ExitCode.PASS, [])


async def test_abort_ends_the_run_at_the_first_violation(run_fake: Any) -> None:
    """Were it not ended, the drive of an hour would not be over before the test's patience."""
    finished = await run_fake(
        '[[workloads]]\nuse = "do"\nwhat = "wait"\n[[expectations]]\nuse = "watcher"\nabort = true\nwrong = [2]\n'
        '[[expectations]]\nuse = "say"',
        duration="1h",
    )
    assert (finished.outcome.exit_code, finished.outcome.status) == (ExitCode.FAIL, "done")
    assert finished.outcome.reason == "ended early by watcher; watcher: look 2; calm"
    assert [e.phase for e in events(finished, "PhaseEnded")][-4:] == ["drive", "settle", "evaluate", "teardown"]
    assert finished.verdict_of("say") == "pass"  # everyone is still asked
    assert events(finished, "RunFinished")[0].reason == finished.outcome.reason


async def test_abort_at_a_block(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "crier"\nabort = true', duration="1h")
    assert finished.outcome.reason == "ended early by crier; crier: cried; calm"


async def test_a_held_fault_is_healed_when_the_run_is_ended(run_fake: Any) -> None:
    finished = await run_fake(
        '[[workloads]]\nuse = "hold"\n[[expectations]]\nuse = "watcher"\nabort = true\nwrong = [3]', duration="1h"
    )
    stages = [e.stage for e in events(finished, "FaultStaged")]
    assert stages[-1] == "healed"
    assert finished.outcome.exit_code is ExitCode.FAIL


async def test_a_watch_that_crashes_is_unknown(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "watcher"\nabort = true\ncrash = true')
    assert finished.outcome.exit_code is ExitCode.UNKNOWN
    assert "KeyError: 'blind'" in finished.outcome.reason


async def test_measuring_goes_on_beside_the_drive(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "measuring"')
    assert events(finished, "ExpectationJudged")[0].measured == "begun,ended"


async def test_what_a_step_judges_is_measured_from_the_begin_of_the_drive_too(run_fake: Any) -> None:
    finished = await run_fake('[[steps]]\nat = "50ms"\nexpect = "measuring"')
    assert events(finished, "ExpectationJudged")[0].measured == "begun"


@pytest.mark.parametrize("key", ["continuous", "abort"])
def test_what_can_only_be_judged_in_the_end_is_refused(fake_registry: Registry, key: str) -> None:
    text = f"""chain = "fake"
duration = "1s"
topology = {{ validators = 1 }}
[[expectations]]
use = "say"
{key} = true
"""
    with pytest.raises(SpecError) as caught:
        resolve_file(PlaybookFile(TomlDocument.parse(text, "playbook.toml")), fake_registry)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (6, 1, f"expectations[0].{key}")
    assert problem.message == "say is judged when the run is over: it cannot say before that it is violated"


@pytest.mark.parametrize("written", ['continuous = "yes"', "abort = true\ncontinuous = false"])
def test_marks_that_make_no_sense(fake_registry: Registry, written: str) -> None:
    head = 'chain = "fake"\nduration = "1s"\ntopology = { validators = 1 }\n'
    text = f'{head}[[expectations]]\nuse = "watcher"\n{written}\n'
    with pytest.raises(SpecError):
        resolve_file(PlaybookFile(TomlDocument.parse(text, "playbook.toml")), fake_registry)


async def test_what_was_run_can_be_run_again(run_fake: Any) -> None:
    finished = await run_fake('[[expectations]]\nuse = "watcher"\nabort = true')
    assert "abort = true" in finished.directory.run_toml.read_text()
