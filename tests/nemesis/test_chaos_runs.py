"""Nemeses in runs of a network in memory: what they do, what they tell, and playing it again."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from harness.cli.fault_view import show_faults
from harness.engine.by_hand import BY_HAND
from harness.errors import ExitCode, PluginLoadError, SpecError, UsageError
from harness.plugin.discovery import Candidate, Kind
from harness.plugin.registry import Registry
from harness.record.journal import read_journal
from harness.record.turns import TurnTaken, turns_taken
from harness.testing import Finished, run_playbook
from harness.testing.fakes import fake_candidates

pytestmark = pytest.mark.anyio

PLUGINS = '''
from typing import Any
from pydantic import Field
from harness.api import (Config, Duration, Expectation, Fault, FaultContext, Judgement, NoConfig, Proof, Verdict,
                         Workload, hookimpl)

class Say(Expectation[NoConfig]):
    name = "say"
    async def evaluate(self, ctx): return Judgement(Verdict.PASS, "so", "so")

class MistConfig(Config):
    """`density`: how thick it is."""
    density: int = Field(1, ge=1)
    lag: Duration = 0.0

class Mist(Fault[MistConfig]):
    """Nobody sees a thing."""
    name = "mist"
    Config = MistConfig
    def choose(self, free, rng):
        return tuple(rng.sample(list(free), 2)) if len(free) >= 2 else ()
    def downs(self, targets, powers): return frozenset()
    async def inject(self, ctx): self.drawn = ctx.rng.random()
    async def prove(self, ctx): return Proof(True, {"density": self.config.density, "drawn": self.drawn})
    async def heal(self, ctx): pass
    async def prove_healed(self, ctx): return Proof(True)

class Clinging(Mist):
    """Takes its time to go."""
    name = "clinging"
    async def prove_healed(self, ctx):
        await ctx.clock.sleep(0.3)
        return Proof(True)

class Buggy(Mist):
    """Cannot tell whom it takes down."""
    name = "buggy"
    def downs(self, targets, powers): raise KeyError("who?")

class GreedyConfig(Config):
    targets: str = "all"

class Greedy(Mist):
    """Takes an option that every nemesis has."""
    name = "greedy"
    Config = GreedyConfig

class SabotageConfig(Config):
    node: str = ""

class Sabotage(Workload[SabotageConfig]):
    """Ends a node, for good."""
    name = "sabotage"
    Config = SabotageConfig
    async def run(self, ctx):
        if self.config.node:
            await ctx.nodes[self.config.node].kill()

@hookimpl
def harness_faults(): return [Mist, Clinging, Greedy, Buggy]
@hookimpl
def harness_workloads(): return [Sabotage]
@hookimpl
def harness_expectations(): return [Say]
'''

PLAYBOOK = """
name = "test"
chain = {{ use = "fake" }}
duration = "{duration}"
{top}
[topology]
layout = "full"
validators = {validators}
{chaos}
[[expectations]]
use = "say"
"""

Run = Callable[..., Awaitable[Finished]]

FAST = 'min_delay = "20ms"\nmax_delay = "50ms"\ntarget_cooldown = "10ms"\n'


def nemesis(use: str, more: str = "", pace: str = FAST) -> str:
    return f'[[workloads]]\nuse = "{use}"\n{pace}{more}\n'


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "parts.py").write_text(PLUGINS)
    ours = [
        Candidate(kind, name, "harness", entry_point=EntryPoint(f"{kind}.{name}", "harness_nemesis", "harness"))
        for kind, names in (
            (Kind.WORKLOAD, ("chaos.restart", "chaos.mix")),
            (Kind.NEMESIS, ("chaos",)),
            (Kind.FAULT, ("restart", "kill", "stop", "pause")),
        )
        for name in names
    ]
    return Registry([*fake_candidates(), *ours], project_plugins=folder)


@pytest.fixture
def run_chaos(registry: Registry, tmp_path: Path) -> Run:
    async def run(
        chaos: str, *, duration: str = "400ms", top: str = "seed = 7", validators: int = 4, **options: Any
    ) -> Finished:
        text = PLAYBOOK.format(chaos=chaos, duration=duration, top=top, validators=validators)
        return await run_playbook(text, tmp_path / "runs", registry, deployer="fake", **options)

    return run


def turns_of(finished: Finished) -> list[TurnTaken]:
    return turns_taken(read_journal(finished.directory.journal))


def plain(turns: list[TurnTaken]) -> list[tuple[Any, ...]]:
    return [(one.component, one.turn, one.at, one.fault, one.targets, one.duration, dict(one.options)) for one in turns]


def is_mist(turn: TurnTaken) -> bool:
    return turn.fault == "mist" and turn.outcome == "healed"


@pytest.mark.parametrize("fault", ["restart", "kill", "stop", "pause", "mist"])
async def test_there_is_a_nemesis_for_every_fault(run_chaos: Run, fault: str) -> None:
    finished = await run_chaos(nemesis(f"chaos.{fault}", 'duration = "10ms"'))
    assert finished.outcome.exit_code is ExitCode.PASS, finished.outcome.reason
    turns = turns_of(finished)
    assert len(turns) > 5
    assert {one.fault for one in turns} == {fault}
    assert {one.outcome for one in turns} <= {"healed", "skipped"}
    assert all(one.turn == number for number, one in enumerate(turns))
    assert finished.state.workloads[f"chaos.{fault}"].figures["injected"] == sum(t.outcome == "healed" for t in turns)


async def test_a_faults_own_options_stand_beside_the_nemesiss(run_chaos: Run) -> None:
    finished = await run_chaos(nemesis("chaos.mist", 'density = 3\nlag = "2s"\ntargets = "validator-[12]"'))
    turns = turns_of(finished)
    assert next(dict(one.options) for one in turns if one.targets) == {"density": 3, "lag": "2s"}
    assert {target for one in turns for target in one.targets} == {"validator-1", "validator-2"}
    assert any(fault.seen["proven"]["density"] == 3 for fault in finished.state.faults.values())
    with pytest.raises(SpecError, match="density: must be at least 1"):
        await run_chaos(nemesis("chaos.mist", "density = 0"))
    with pytest.raises(SpecError, match='did you mean "density"'):
        await run_chaos(nemesis("chaos.mist", "densty = 2"))


async def test_options_that_cannot_stand_beside_are_told(registry: Registry) -> None:
    with pytest.raises(PluginLoadError, match=r"chaos\.greedy cannot be made .* targets"):
        registry.get(Kind.WORKLOAD, "chaos.greedy")
    assert "chaos.mist" in registry.names(Kind.WORKLOAD)


async def test_faults_that_last_overlap_within_the_budget(run_chaos: Run) -> None:
    chaos = nemesis("chaos.pause", 'duration = "150ms"')
    finished = await run_chaos(chaos, top='seed = 7\nbudget = "unlimited"')
    held = [one for one in turns_of(finished) if one.outcome == "healed"]
    together = [(a, b) for a in held for b in held if a.at < b.at and b.stages["injected"] < a.stages["healing"]]
    assert together
    assert all(not set(a.targets) & set(b.targets) for a, b in together)

    bounded = turns_of(await run_chaos(chaos))
    assert plain(bounded) == plain(turns_of(finished)), "the budget changed the schedule"
    skipped = [one for one in bounded if one.outcome == "skipped" and one.targets]
    assert skipped
    others = ("the fault budget does not allow pause", "out of consensus already", "the drive is over")
    assert not [one.why for one in skipped if not any(other in one.why for other in others)]
    assert any(others[0] in one.why for one in skipped)


async def test_a_mix_draws_by_weight_each_with_its_own_duration(run_chaos: Run) -> None:
    faults = '[{ use = "kill", weight = 3 }, { use = "pause", duration = "40ms" }, { use = "mist", density = 2 }]'
    finished = await run_chaos(nemesis("chaos.mix", f'duration = "10ms"\nfaults = {faults}'), duration="900ms")
    turns = turns_of(finished)
    assert {one.fault for one in turns} == {"kill", "pause", "mist"}
    assert {one.duration for one in turns if one.fault == "pause"} == {0.04}
    assert {one.duration for one in turns if one.fault == "kill"} == {0.01}
    assert next(dict(one.options) for one in turns if one.fault == "mist") == {"density": 2}


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        ('[{ use = "kil" }]', r'faults\[0\].*no fault is named "kil"; did you mean "kill"'),
        ('[{ use = "mist", density = 0 }]', "mist: density: must be at least 1"),
        ('[{ use = "mist", densty = 1 }]', 'mist: densty: unknown key .*did you mean "density"'),
        ('[{ use = "kill", weihgt = 2 }]', 'kill: weihgt: unknown key .*did you mean "weight"'),
        ('[{ use = "kill", weight = 0 }]', r"weight: must be more than 0, not 0$"),
        ('[{ use = "kill", weight = 0 }]', r"faults\[0\].weight: must be more than 0"),
        ("[]", "faults: must not be empty"),
    ],
)
async def test_mistakes_in_a_mix_are_told_at_their_place(run_chaos: Run, faults: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        await run_chaos(nemesis("chaos.mix", f"faults = {faults}"))


async def test_down_and_duration_are_the_same(run_chaos: Run) -> None:
    turns = turns_of(await run_chaos(nemesis("chaos.restart", 'down = "30ms"')))
    assert {one.duration for one in turns} == {0.03}
    with pytest.raises(SpecError, match="down and duration say the same"):
        await run_chaos(nemesis("chaos.restart", 'down = "30ms"\nduration = "40ms"'))


async def test_the_faults_of_a_run_are_played_again(run_chaos: Run) -> None:
    chaos = nemesis("chaos.mist", "density = 2") + nemesis("chaos.kill", 'duration = "20ms"')
    first = await run_chaos(chaos)
    other = chaos.replace("density = 2", "density = 5")
    assert plain(turns_of(await run_chaos(other, top="seed = 8"))) != plain(turns_of(first))
    again = await run_chaos(other, top="seed = 8", faults_from=first.directory)
    assert plain(turns_of(again)) == plain(turns_of(first))
    drawn = [
        {turn.turn: one.state.faults[turn.id].seen["proven"]["drawn"] for turn in turns_of(one) if is_mist(turn)}
        for one in (first, again)
    ]
    both = drawn[0].keys() & drawn[1].keys()
    assert both
    assert all(drawn[0][turn] == drawn[1][turn] for turn in both), "what the faults themselves drew"
    once_more = await run_chaos(other, top="seed = 9", faults_from=again.directory)
    assert plain(turns_of(once_more)) == plain(turns_of(first))


def became(turns: list[TurnTaken]) -> list[tuple[Any, ...]]:
    return [(one.turn, one.targets, one.outcome in ("skipped", "not reached")) for one in turns]


async def test_what_was_injected_is_injected_and_what_was_skipped_is_skipped(run_chaos: Run) -> None:
    pauses = nemesis("chaos.pause", 'duration = "60ms"')
    first = await run_chaos(pauses)
    skipped = [one for one in turns_of(first) if one.outcome == "skipped"]
    assert skipped and len(skipped) < len(turns_of(first))
    again = await run_chaos(pauses, top='seed = 8\nbudget = "unlimited"', faults_from=first.directory, duration="4s")
    assert became(turns_of(again)) == became(turns_of(first))
    assert again.outcome.exit_code is ExitCode.PASS, again.outcome.reason
    whys = {one.why for one in turns_of(again) if one.outcome == "skipped"}
    assert whys == {"it was not taken in the run that is played again"}


async def test_the_schedule_is_shown_whole(run_chaos: Run, capsys: pytest.CaptureFixture[str]) -> None:
    faults = '[{ use = "mist", density = 3, lag = "1s" }, { use = "pause" }]'
    finished = await run_chaos(nemesis("chaos.mix", f'duration = "40ms"\nfaults = {faults}'))
    show_faults(finished.directory, as_json=False)
    told = capsys.readouterr().out
    [header] = [line for line in told.splitlines() if "outcome" in line]
    columns = ["at", "by", "fault", "nodes", "for", "injected", "proven", "healed", "outcome"]
    assert header.split() == columns
    for turn in turns_of(finished):
        assert re.search(rf"^ *{turn.at:.1f}  chaos\.mix  {turn.fault}", told, re.MULTILINE)
    assert "…" not in told, "something is cut off"
    show_faults(finished.directory, as_json=True)
    assert [one["targets"] for one in json.loads(capsys.readouterr().out)] == [
        list(one.targets) for one in turns_of(finished)
    ]


async def test_what_cannot_be_injected_again_leaves_the_verdict_unknown(run_chaos: Run) -> None:
    kills = nemesis("chaos.kill", 'duration = "5ms"\ntargets = "validator-[12]"')
    first = await run_chaos(kills + '[[workloads]]\nuse = "sabotage"\n')
    assert first.outcome.exit_code is ExitCode.PASS, first.outcome.reason
    again = await run_chaos(
        kills + '[[workloads]]\nuse = "sabotage"\nnode = "validator-1"\n', faults_from=first.directory, duration="4s"
    )
    assert again.outcome.exit_code is ExitCode.UNKNOWN
    assert again.verdict_of("faults-replayed") == "unknown"
    assert (
        "of chaos.kill: validator-1 does not run: it is stopped" in again.state.expectations["faults-replayed"].measured
    )


async def test_faults_by_hand_that_cannot_be_played_again_are_told(run_chaos: Run) -> None:
    mists = nemesis("chaos.mist", 'duration = "5ms"')
    first = await run_chaos(mists)
    by_hand = {"kind": "fault-staged", "id": "f99", "fault": "mist", "targets": ["validator-2"], "by": BY_HAND}
    with first.directory.journal.open("a") as journal:
        journal.write(json.dumps({"seq": 10**6, "at": 0.0, "t": 1.0, "stage": "intended", **by_hand}) + "\n")
    again = await run_chaos(mists, faults_from=first.directory, duration="4s")
    assert again.outcome.exit_code is ExitCode.UNKNOWN
    [told] = again.state.expectations["faults-replayed"].evidence["missed"]
    assert re.fullmatch(
        rf"mist of validator-2, by hand at \w+ in {first.directory.run_id}: it was of no schedule", told
    )


async def test_a_nemesis_that_the_budget_never_allows_is_refused_in_plan(run_chaos: Run) -> None:
    finished = await run_chaos(nemesis("chaos.kill"), top="", duration="1h", validators=2)
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert "chaos.kill: the fault budget does not allow kill of validator-" in finished.outcome.reason
    assert 'budget = "unlimited"' in finished.outcome.reason


async def test_a_fault_that_is_broken_is_told_in_plan(run_chaos: Run) -> None:
    finished = await run_chaos(nemesis("chaos.buggy"))
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert "chaos.buggy: it failed with KeyError: 'who?'" in finished.outcome.reason
    with pytest.raises(SpecError, match="buggy: it failed with KeyError"):
        await run_chaos('[[steps]]\nfault = "buggy"\nhold = "0s"\n')


async def test_turns_without_time_between_them_are_refused(run_chaos: Run) -> None:
    """There would be no end of them: the schedule never came to the end of the drive."""
    with pytest.raises(SpecError, match=r"max_delay: must be at least 10ms"):
        await run_chaos('[[workloads]]\nuse = "chaos.mist"\nmin_delay = "0s"\nmax_delay = "0s"\n')


async def test_targets_that_are_too_few_are_told_in_plan(run_chaos: Run) -> None:
    with pytest.raises(SpecError, match='targets: of "validator-1" nobody can be chosen for mist'):
        await run_chaos(nemesis("chaos.mist", 'targets = "validator-1"'))


async def test_what_does_not_match_is_told_before_anything_runs(run_chaos: Run, tmp_path: Path) -> None:
    first = await run_chaos(nemesis("chaos.mist") + nemesis("chaos.kill", 'targets = "validator-3"'))
    few = nemesis("chaos.mist", 'targets = "validator-0:validator-1"')
    with pytest.raises(UsageError, match=r"it has chaos\.kill, which the playbook has not"):
        await run_chaos(few, faults_from=first.directory)
    with pytest.raises(UsageError, match=r"the playbook has chaos\.pause, which it has not"):
        await run_chaos(
            nemesis("chaos.mist") + nemesis("chaos.kill") + nemesis("chaos.pause"), faults_from=first.directory
        )
    brief = await run_chaos(nemesis("chaos.mist", 'duration = "5ms"'))
    with pytest.raises(UsageError, match=r"chaos\.mist at \d+ms: the drive is over after 100ms"):
        await run_chaos(nemesis("chaos.mist"), duration="100ms", faults_from=brief.directory)
    journal = first.directory.journal
    journal.write_text(journal.read_text().replace('["validator-3"]', '["validator-9"]'))
    with pytest.raises(UsageError, match="there is no node validator-9"):
        await run_chaos(nemesis("chaos.mist") + nemesis("chaos.kill"), faults_from=first.directory)
    quiet = await run_chaos("")
    with pytest.raises(UsageError, match="recorded no schedule of faults"):
        await run_chaos(nemesis("chaos.mist"), faults_from=quiet.directory)


async def test_no_node_is_under_two_turns_of_one_nemesis(run_chaos: Run) -> None:
    """Two of one kind on one node could not be told apart, so neither could be proven."""
    turns = turns_of(await run_chaos(nemesis("chaos.clinging", 'duration = "10ms"'), validators=3))
    assert any(one.why.endswith("is still under an earlier turn") for one in turns if one.outcome == "skipped")
    taken = [one for one in turns if one.outcome == "healed"]
    for number, one in enumerate(taken):
        for other in taken[number + 1 :]:
            assert other.stages["injected"] >= one.stages["healed"] or not {*one.targets} & {*other.targets}


async def test_a_turn_whose_node_does_not_run_is_skipped(run_chaos: Run) -> None:
    both = nemesis("chaos.kill", 'duration = "200ms"\ntargets = "validator-0"') + nemesis(
        "chaos.mist", 'targets = "validator-[01]"\nduration = "1ms"'
    )
    skipped = [one for one in turns_of(await run_chaos(both)) if one.outcome == "skipped" and one.fault == "mist"]
    assert any("validator-0 does not run: it is stopped" in one.why for one in skipped)
