"""Running a playbook's text in a test, with the real engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.execute import execute
from harness.engine.outcome import Outcome
from harness.engine.plan import resolve_file
from harness.engine.recorder import Recorder
from harness.engine.replay import replayed
from harness.engine.target import choose_target
from harness.plugin.registry import Registry
from harness.record.journal import Subscriber, read_journal
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over: its outcome, its final state, its directory."""

    outcome: Outcome
    state: RunState
    directory: RunDirectory

    def verdict_of(self, expectation: str) -> str:
        return self.state.expectations[expectation].verdict


async def run_playbook(
    text: str,
    runs: Path,
    registry: Registry | None = None,
    *,
    deployer: str = "",
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    inventory: Inventory | None = None,
    on_event: Subscriber | None = None,
    faults_from: RunDirectory | None = None,
) -> Finished:
    """Run the first combination of a playbook's matrix on this machine, or on the `inventory`, with run directories
    under `runs`.

    `options` are the deployer's; `on_event` is told of every event as it happens; `faults_from` is a run whose faults
    are played again. Raises SpecError and UsageError for
    what is wrong before there is a run."""
    registry = registry or Registry()
    file = PlaybookFile(TomlDocument.parse(text, "playbook.toml"))
    plan = resolve_file(file, registry, extra=extra)[0]
    if faults_from is not None:
        plan = replayed(plan, registry, faults_from.run_id, read_journal(faults_from.journal))
    target = choose_target(registry, inventory or Inventory.implicit(), deployer=deployer, options=options)
    recorder = Recorder.create(runs, plan, target)
    if on_event is not None:
        recorder.subscribe(on_event)
    executed = await execute(plan, target, recorder, registry=registry)
    return Finished(executed.outcome, recorder.state, recorder.run_dir)
