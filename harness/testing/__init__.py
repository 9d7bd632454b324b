"""The test kit for plugins: a fake chain on a fake deployer, in memory, and `run_playbook`, which drives the real
engine over them (or over any installed plugins) and returns what came of it."""

from __future__ import annotations

from harness.testing.fakes import FakeChain, FakeDeployer, FakeWorld, fake_candidates
from harness.testing.playbooks import Finished, run_playbook

__all__ = ["FakeChain", "FakeDeployer", "FakeWorld", "Finished", "fake_candidates", "run_playbook"]
