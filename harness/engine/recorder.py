"""The record of one run while it is made: run directory, journal, samples, state, and who listens."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness import __version__
from harness.clock import Clock, SystemClock
from harness.engine.components import Component, PlannedStep
from harness.engine.outcome import Outcome, incomplete
from harness.engine.plan import Plan
from harness.engine.target import Target
from harness.errors import UsageError
from harness.observe.feed import BlockFeed
from harness.observe.samples import SampleStore
from harness.observe.tracker import Tracker
from harness.plugin.registry import Observer
from harness.record.events import Event, Note, Recorded, RunFinished
from harness.record.journal import Journal, Subscriber
from harness.record.junit import write_junit
from harness.record.reduce import reduce
from harness.record.result import result_of, write_result
from harness.record.rundir import RunDirectory, write_atomically
from harness.record.state import RunState
from harness.redact import redact, redact_value
from harness.spec import toml_writer
from harness.spec.model import TaskUse
from harness.spec.playbook_model import StepModel
from harness.spec.template import verbatim
from harness.spec.verdict import Verdict


class Recorder:
    """Everything that is kept of a run goes through here. `outcome` is None until the run is finished.

    `command` are the words that it was started with, `matrix` where it stands among others (see RunStarted);
    `keep_nodes` keeps the nodes' folders in any case:
    otherwise those of a run that passed are removed."""

    def __init__(
        self,
        run_dir: RunDirectory,
        clock: Clock,
        *,
        command: tuple[str, ...] = (),
        keep_nodes: bool = False,
        matrix: Mapping[str, Any] | None = None,
    ):
        self.run_dir = run_dir
        self.clock = clock
        self.command = command
        self.matrix = matrix or {}
        self.journal = Journal(run_dir.journal, clock)
        self.samples = SampleStore(run_dir.samples, clock)
        self.state = RunState()
        self.outcome: Outcome | None = None
        self._keep_nodes = keep_nodes
        self._observers: tuple[Observer, ...] = ()
        self.journal.subscribe(self._reduce)

    @classmethod
    def create(
        cls,
        runs: Path,
        plan: Plan,
        target: Target,
        *,
        clock: Clock | None = None,
        command: tuple[str, ...] = (),
        keep_nodes: bool = False,
        matrix: Mapping[str, Any] | None = None,
    ) -> Recorder:
        """Make the run's directory, and write there what is run, on what: `run.toml`. Raises UsageError when the folder
        for runs cannot be written to."""
        clock = clock or SystemClock()
        try:
            run_dir = RunDirectory.create(runs, plan.playbook.name, clock.wall())
            playbook = toml_writer.dumps(verbatim(redact_value(describe(plan))))
            write_atomically(run_dir.run_toml, f"{redact(_heading(target))}{playbook}")
        except OSError as error:
            raise UsageError(
                f"{runs}: run directories cannot be made here: {error}; choose another with --runs"
            ) from None
        return cls(run_dir, clock, command=command, keep_nodes=keep_nodes, matrix=matrix)

    @property
    def run_id(self) -> str:
        return self.run_dir.run_id

    @property
    def path(self) -> Path:
        return self.run_dir.path

    def emit(self, event: Event) -> None:
        self.journal.append(event)

    def warn(self, component: str, message: str) -> None:
        self.emit(Note(component, "warning", message))

    def subscribe(self, callback: Subscriber) -> None:
        """Tell it of every event from now on."""
        self.journal.subscribe(callback)

    def observe(self, observers: Iterable[Observer]) -> None:
        """Tell plugins that observe of every event, and at last of the result: each by itself, so that one that is
        broken costs no other its events."""
        self._observers = tuple(observers)
        for observer in self._observers:
            if observer.event is not None:
                self.subscribe(observer.event)

    def sample_blocks(self, feed: BlockFeed) -> None:
        """Keep every block that this feed sees."""
        feed.subscribe(self.samples.block)

    def make_tracker(self, feed: BlockFeed, name: str) -> Tracker:
        """A tracker whose submissions are kept, and that learns of inclusions from this feed."""
        tracker = Tracker(name, self.clock, record=self.samples.submission, record_load=self.samples.load)
        tracker.watch(feed)
        return tracker

    def finish(self, outcome: Outcome, seconds: float) -> None:
        """The last event, then everything that is made from the record.

        A record that is not complete is no record to pass on: the outcome then is an infrastructure failure."""
        self.samples.close()
        if self.samples.error:
            self.warn("samples", f"{self.samples.error}; {self.samples.dropped} samples are lost")
        self.outcome = outcome
        self.emit(RunFinished(outcome.verdict.value, int(outcome.exit_code), outcome.status, outcome.reason, seconds))
        steps: list[Callable[[], object]] = [
            self.journal.close,
            lambda: write_result(self.run_dir.result, self.state),
            lambda: write_junit(self.run_dir.junit, self.state),
        ]
        if outcome.status == "done" and outcome.verdict is Verdict.PASS and not self._keep_nodes:
            steps.append(lambda: shutil.rmtree(self.run_dir.nodes))
        for observer in self._observers:
            if observer.finished is not None:
                steps.append(partial(observer.finished, result_of(self.state)))
        failed = [text for step in steps if (text := _attempt(step))]
        if self.journal.failure is not None:
            failed.insert(0, str(self.journal.failure))
        if failed:
            self.outcome = incomplete(outcome, failed)

    def _reduce(self, recorded: Recorded) -> None:
        self.state = reduce(self.state, recorded)


def _attempt(step: Callable[[], object]) -> str:
    """What a step of writing the record failed with, "" when it did not: the others are worth having without it."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - disks fail in many ways, observers of third parties in more
        return f"{type(error).__name__}: {error}"
    return ""


def _heading(target: Target) -> str:
    """What run.toml says beyond the playbook, as comments: the file itself stays a playbook that can be run. Hosts
    without their variables, which may be secrets."""
    facts = {
        "harness": __version__,
        "python": platform.python_version(),
        "deployer": target.deployer.name,
        "deployer options": target.deployer.config.model_dump(mode="json"),
        "inventory": target.inventory.source,
        "hosts": list(target.inventory.hosts),
    }
    return "".join(f"# {name}: {json.dumps(value, default=str)}\n" for name, value in facts.items()) + "\n"


def describe(plan: Plan) -> Mapping[str, Any]:
    """What was run, resolved: variables filled in, defaults written out."""
    playbook = plan.playbook
    described: dict[str, Any] = {
        "name": playbook.name,
        "description": playbook.description,
        "seed": plan.seed,
        "duration": str(playbook.duration),
        "ready_timeout": f"{playbook.ready_timeout:g}s",
        "budget": playbook.budget,
        "vars": dict(playbook.variables),
        "chain": _use(plan.chain.name, plan.chain.config),
        "topology": {"layout": playbook.topology.layout, **playbook.topology.roles},
        "wallets": {"count": playbook.wallets.count, "balance": playbook.wallets.balance},
        "prepare": [
            {**_use(t.component.cls.name, t.component.config), "name": t.label, "hosts": t.use.hosts, **_become(t.use)}
            for t in plan.prepare
        ],
        "workloads": [_use(c.cls.name, c.config) for c in plan.workloads],
        "expectations": [_use(c.cls.name, c.config) | _judged(c) for c in plan.expectations],
        "steps": [_step(step) for step in plan.steps],
    }
    if playbook.settle is not None:
        described["settle"] = str(playbook.settle)
    if playbook.topology.degree is not None:
        described["topology"]["degree"] = playbook.topology.degree
    if playbook.topology.late:
        described["topology"]["late"] = playbook.topology.late
    return described


def _step(step: PlannedStep) -> dict[str, Any]:
    use = step.use
    config = step.component.config if step.component is not None else None
    own = set(StepModel.model_fields)  # of an option with such a name a step cannot speak
    options = config.model_dump(mode="json", exclude_none=True, exclude=own) if config is not None else {}
    described: dict[str, Any] = {use.action: list(use.argv) if use.action == "run" else use.what, **options}
    if use.action in ("fault", "run"):
        described["targets"] = use.targets
    spans = {"at": use.at, "after": use.after, "hold": use.hold}
    described |= {key: str(value) for key, value in spans.items() if value is not None}
    return described | ({"name": use.name} if use.name else {}) | ({"abort": True} if use.abort else {})


def _become(task: TaskUse) -> dict[str, bool]:
    return {} if task.become is None else {"become": task.become}


def _judged(expectation: Component[Any]) -> dict[str, Any]:
    """When, as far as that is not only in the end."""
    marks = {"continuous": expectation.continuous, "abort": expectation.abort}
    return {key: True for key, is_so in marks.items() if is_so}


def _use(name: str, config: Any) -> dict[str, Any]:
    """A plugin's use with all its options; TOML has no None, which means the default anyway."""
    options = config.model_dump(mode="json", exclude_none=True)
    return {"use": name, **options}
