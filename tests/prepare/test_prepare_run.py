"""`[[prepare]]` in a run: its order, its failures, what is journalled and shown of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine.execute import execute
from harness.engine.plan import resolve_file
from harness.engine.recorder import Recorder
from harness.engine.scenario import Scenario
from harness.engine.target import Target, choose_target
from harness.errors import ExitCode, PluginLoadError, SpecError
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.record.events import Event, NodeChanged, Note, PhaseEnded, PhaseStarted, Recorded, TaskRan
from harness.record.reduce import reduce_all
from harness.record.state import RunState
from harness.record.summary import summarize
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile, load_playbook
from harness.spec.toml_document import TomlDocument
from harness.testing import fake_candidates

pytestmark = pytest.mark.anyio

PLUGIN = '''
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import anyio

from harness.api import Config, InfrastructureError, LocalPath, Task, TaskResult, hookimpl
from harness.testing.fakes import FakeDeployer, FakeMachine, FakeWorld

LOG = []


class Hosted(FakeDeployer):
    """Hosts before there are nodes."""
    name = "hosted"

    @asynccontextmanager
    async def deploy(self, request):
        async with super().deploy(request) as deployment:
            deployment.hosts = hosts({node.host.name for node in request.nodes})
            yield deployment

    @asynccontextmanager
    async def connect(self, specs, access):
        yield hosts({spec.name for spec in specs})


def hosts(names):
    found = {}
    for name in names:
        found[name] = FakeMachine(FakeWorld.of("hosts"))
        found[name].name = name
    return found


class NoteConfig(Config):
    word: str = ""
    fail_on: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    slow_on: str = ""
    src: LocalPath | None = None


class Note(Task[NoteConfig]):
    """Notes that it was there."""
    name = "note"
    Config = NoteConfig

    def problems(self, ctx):
        return ["refused"] if ctx.variables["inventory_hostname"] in self.config.refuse else []

    async def apply(self, machine, ctx):
        LOG.append(("begin", self.config.word, machine.name, ctx.become))
        if machine.name == self.config.slow_on:
            await anyio.sleep(0.1)
        LOG.append(("end", self.config.word, machine.name, ctx.become))
        if machine.name in self.config.fail_on:
            raise InfrastructureError(f"{machine.name}: exit status 3: \\x1b[31mno")
        return TaskResult(machine.name != "n3", "noted")

    async def check(self, machine, ctx):
        return TaskResult(True, "would")


@hookimpl
def harness_deployers():
    return [Hosted]


@hookimpl
def harness_tasks():
    return [Note]
'''

HEAD = """
name = "p"
chain = "fake"
duration = "100ms"
seed = 1
[topology]
validators = 3
"""
JUDGED = """
[[expectations]]
use = "nodes-healthy"
"""
INVENTORY = """
[all.vars]
harness_deployer = "hosted"
[validators.hosts.n1]
[validators.hosts.n2]
ansible_become = true
[validators.hosts.n3]
[validators.hosts.spare]
[left.hosts.n1]
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    from harness.plugin import discovery

    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hosted.py").write_text(PLUGIN)
    return Registry([*fake_candidates(), *discovery.installed()], project_plugins=tmp_path / "plugins")


@pytest.fixture
def log(registry: Registry) -> list[tuple[str, str, str, bool]]:
    """What the tasks `note` did, in order."""
    module = __import__("sys").modules[registry.get(Kind.TASK, "note").__module__]
    found: list[tuple[str, str, str, bool]] = module.LOG
    return found


@pytest.fixture
def target(registry: Registry, tmp_path: Path) -> Callable[..., Target]:
    def choose(deployer: str = "hosted", limit: str = "", inventory: str = INVENTORY) -> Target:
        file = tmp_path / "inventory.toml"
        file.write_text(inventory)
        return choose_target(registry, Inventory.read(file), deployer=deployer, limit=limit)

    return choose


@pytest.fixture
def plan(registry: Registry) -> Callable[[str], Any]:
    def resolve(tasks: str) -> Any:
        file = PlaybookFile(TomlDocument.parse(HEAD + tasks + JUDGED, "p.toml"))
        return resolve_file(file, registry)[0]

    return resolve


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Callable[[Any, Target], Any]:
    async def go(plan: Any, target: Target) -> tuple[Any, list[Event], RunState]:
        recorder = Recorder.create(tmp_path / "runs", plan, target)
        events: list[Recorded] = []
        recorder.subscribe(events.append)
        executed = await execute(plan, target, recorder)
        return executed.outcome, [recorded.event for recorded in events], recorder.state

    return go


TASKS = """
[[prepare]]
use = "note"
name = "first"
word = "a"
slow_on = "n1"
[[prepare]]
use = "note"
word = "b"
hosts = "left"
become = true
[[prepare]]
use = "note"
word = "c"
"""


async def test_tasks_run_one_after_the_other_each_on_all_its_hosts_at_once(
    plan: Any, target: Any, run: Any, log: list[tuple[str, str, str, bool]]
) -> None:
    outcome, events, state = await run(plan(TASKS), target())
    assert outcome.status == "done"
    assert {entry[1:] for entry in log} == {
        ("a", "n1", False), ("a", "n2", True), ("a", "n3", False),  # become as the inventory says
        ("b", "n1", True),
        ("c", "n1", False), ("c", "n2", True), ("c", "n3", False),
    }  # fmt: skip
    assert [entry[1] for entry in log] == ["a"] * 6 + ["b"] * 2 + ["c"] * 6
    assert log.index(("begin", "a", "n3", False)) < log.index(("end", "a", "n1", False))
    ran = [(event.host, event.task, event.changed, event.detail) for event in events if isinstance(event, TaskRan)]
    assert sorted(ran)[:3] == [
        ("n1", "first", True, "noted"), ("n1", "note#2", True, "noted"), ("n1", "note#3", True, "noted"),
    ]  # fmt: skip
    kinds = [event for event in events if isinstance(event, PhaseStarted | PhaseEnded | NodeChanged)]
    phases = [getattr(event, "phase", "node") for event in kinds]
    assert phases[:3] == ["deploy", "prepare", "prepare"]
    assert phases[3] == "node"
    assert summarize(state).prepare == "3 tasks on 3 hosts, 5 changed"
    assert summarize(reduce_all([])).prepare == ""


async def test_a_failure_stops_its_host_and_the_run_after_all_were_tried(
    plan: Any, target: Any, run: Any, log: list[tuple[str, str, str, bool]]
) -> None:
    tasks = """
[[prepare]]
use = "note"
name = "shaky"
word = "a"
fail_on = ["n1", "n2"]
[[prepare]]
use = "note"
word = "b"
"""
    outcome, events, state = await run(plan(tasks), target())
    assert outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert outcome.status == "infrastructure-failed"
    assert sorted(outcome.reason.splitlines()) == [
        f"{host}: shaky (p.toml:9:3): exit status 3: \x1b[31mno" for host in ("n1", "n2")
    ]
    assert {entry[2] for entry in log if entry[1] == "b"} == {"n3"}
    assert not any(isinstance(event, NodeChanged) for event in events)  # no node was started
    assert summarize(state).prepare == "2 tasks on 3 hosts, 0 changed, 2 failed"
    assert state.prepared["n1"].error == "shaky: exit status 3: \x1b[31mno"
    assert any(isinstance(e, PhaseEnded) and e.phase == "prepare" and not e.ok for e in events)


async def test_without_tasks_there_is_no_phase(plan: Any, target: Any, run: Any) -> None:
    _, events, _ = await run(plan(""), target())
    assert not any(isinstance(event, PhaseStarted) and event.phase == "prepare" for event in events)


async def test_where_there_are_no_hosts_tasks_are_skipped_with_one_warning(
    plan: Any, target: Any, run: Any, log: list[tuple[str, str, str, bool]]
) -> None:
    outcome, events, _ = await run(plan(TASKS), target("fake"))
    assert outcome.status == "done"
    assert log == []
    [warning] = [event for event in events if isinstance(event, Note) and event.component == "prepare"]
    assert warning.level == "warning" and warning.message.startswith("3 tasks skipped: the deployer fake")
    assert not any(isinstance(event, PhaseStarted) and event.phase == "prepare" for event in events)


async def test_what_is_wrong_with_tasks_is_told_in_plan_at_its_place(plan: Any, target: Any, tmp_path: Path) -> None:
    tasks = """
[[prepare]]
use = "note"
hosts = "nowhere"
[[prepare]]
use = "note"
refuse = ["n1", "n3", "spare"]
"""
    with pytest.raises(SpecError) as caught:
        await target().check(plan(tasks))
    pattern, refused = str(caught.value).splitlines()
    assert pattern.startswith("p.toml:11:1: note: ") and '"nowhere" matches no group and no host' in pattern
    assert refused == "p.toml:12:3: note#2: host n1 (and 1 more): refused"


def test_options_and_keys_of_tasks_are_checked_with_the_rest(registry: Registry) -> None:
    text = (
        HEAD
        + """
[[prepare]]
use = "copy"
src = "not/there"
dest = "relative"
[[prepare]]
use = "coppy"
[[prepare]]
use = "copy"
hosts = 3
become = "yes"
dest = "/x"
content = "{{ nix }}"
modus = "0644"
"""
    )
    with pytest.raises(SpecError) as caught:
        resolve_file(PlaybookFile(TomlDocument.parse(text + JUDGED, "p.toml")), registry)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "p.toml:11:1", "p.toml:12:1", "p.toml:14:1", "p.toml:17:1", "p.toml:18:1", "p.toml:20:1", "p.toml:21:1",
    ]  # fmt: skip
    assert "prepare[0].src: there is no file or folder" in lines[0]
    assert '"relative" is not absolute' in lines[1]
    assert 'no task is named "coppy"; did you mean "copy"?' in lines[2]
    assert "prepare[2].hosts: must be text, not 3" in lines[3]
    assert "prepare[2].become: must be true or false" in lines[4]
    assert 'undefined variable "nix"' in lines[5]
    assert 'unknown key; did you mean "mode"?' in lines[6]


def test_sources_are_relative_to_the_playbook_and_run_toml_still_finds_them(
    registry: Registry, tmp_path: Path, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "x.txt").write_text("x")
    (tmp_path / "book" / "p.toml").write_text(
        HEAD + '[[prepare]]\nuse = "copy"\nsrc = "x.txt"\ndest = "/x"\nhosts = "left"\nbecome = true\n'
        '[[prepare]]\nuse = "run"\nscript = "{% raw %}echo {{.Name}} {# no comment{% endraw %}"\n' + JUDGED
    )
    monkeypatch.chdir(tmp_path / "book")
    [plan] = resolve_file(load_playbook(Path("p.toml")), registry)
    assert plan.prepare[0].component.config.src == tmp_path / "book" / "x.txt"
    recorder = Recorder.create(tmp_path / "runs", plan, target())
    monkeypatch.chdir("/")
    [again] = resolve_file(load_playbook(recorder.run_dir.run_toml), registry)
    for one, other in zip(plan.prepare, again.prepare, strict=True):
        assert one.component.config == other.component.config
        assert (one.use.label, one.use.hosts, one.use.become) == (other.use.label, other.use.hosts, other.use.become)


async def test_adopted_hosts_are_left_alone(plan: Any, target: Any) -> None:
    from dataclasses import replace

    from harness.engine.prepare import hosts_to_prepare
    from harness.plugin.contract.deployer import Adoption

    nodes = target().place(plan(TASKS))
    adopted = (replace(nodes[0], adoption=Adoption({})), *nodes[1:])
    assert list(hosts_to_prepare(nodes)) == ["n1", "n2", "n3"]
    assert list(hosts_to_prepare(adopted)) == ["n2", "n3"]


def test_a_limit_leaves_roles_without_hosts_out_when_only_tasks_are_done(registry: Registry, target: Any) -> None:
    text = HEAD + "full = 1\n" + TASKS + JUDGED
    [plan] = resolve_file(PlaybookFile(TomlDocument.parse(text, "p.toml")), registry)
    inventory = INVENTORY + "[fulls.hosts.f1]\n"
    nodes = target(limit="f1", inventory=inventory).place(plan, partly=True)
    assert {node.host.name for node in nodes} == {"f1"}


async def test_a_scenario_can_have_tasks(registry: Registry, target: Any, run: Any, log: list[Any]) -> None:
    plan = (
        Scenario.topology(layout="full", validators=2, registry=registry)
        .chain("fake")
        .prepare("note", label="mine", hosts="left", word="x")
        .expect("nodes-healthy")
        .run_for("100ms")
        .build()
    )
    outcome, _, _ = await run(plan, target())
    assert outcome.status == "done"
    assert [entry[:3] for entry in log] == [("begin", "x", "n1"), ("end", "x", "n1")]


async def test_a_task_has_no_option_that_every_task_has(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        PLUGIN.replace('word: str = ""', 'word: str = ""\n    name: str = ""\n    hosts: str = ""')
    )
    with pytest.raises(PluginLoadError, match=r"Note\.Config has hosts, name, which stands beside every task already"):
        Registry(fake_candidates(), project_plugins=tmp_path).get(Kind.TASK, "note")


async def test_secrets_go_into_no_file_and_no_output(
    registry: Registry, target: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.preparing import TaskReport
    from harness.engine.prepare import TaskOutcome
    from harness.plugin.contract.task import TaskResult

    text = HEAD + '[[prepare]]\nuse = "note"\nbecome = true\n' + JUDGED
    [plan] = resolve_file(PlaybookFile(TomlDocument.parse(text, "p.toml")), registry)
    chosen = target(inventory=INVENTORY + '[all.hosts.n1]\nansible_password = "canary-81649"\n')
    [step] = await chosen.steps(plan, chosen.place(plan))
    with pytest.raises(ValueError, match='undefined variable "ansible_password"'):
        step.hosts["n1"].render("{{ ansible_password }}")
    report = TaskReport([step], check=True)
    report(TaskOutcome("n1", step, 0.0, TaskResult(True, "canary-81649", "+canary-81649\n")))
    shown = capsys.readouterr().out
    assert "would change" in shown and "canary-81649" not in shown
