"""What is looked at before a run is not looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cli.running import RunOptions, run_all
from harness.engine.plan import resolve_file
from harness.engine.target import choose_target
from harness.plugin.registry import Registry
from harness.record.rundir import list_runs
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
from harness.testing import fake_candidates
from harness.testing.fakes import FakeDeployer

PLAYBOOK = """
chain = "fake"
duration = "{{ duration }}"
[matrix]
duration = ["50ms", "60ms"]
[topology]
validators = 1
[[expectations]]
use = "consensus-liveness"
"""


def test_hosts_are_inspected_once_for_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    inspect = FakeDeployer.inspect

    async def count(self: FakeDeployer, nodes: Any, *args: Any) -> Any:
        looks.append(len(nodes))
        return await inspect(self, nodes, *args)

    monkeypatch.setattr(FakeDeployer, "inspect", count)
    registry = Registry([*Registry().candidates, *fake_candidates()])
    plans = resolve_file(PlaybookFile(TomlDocument.parse(PLAYBOOK, "p.toml")), registry)
    target = choose_target(registry, Inventory.implicit(), deployer="fake")
    run_all(plans, target, registry, RunOptions(tmp_path / "runs", "plain", True, False, ()))
    assert len(list_runs(tmp_path / "runs")) == len(plans) == 2
    assert looks == [1, 1]
