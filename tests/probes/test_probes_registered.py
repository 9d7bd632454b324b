from __future__ import annotations

from importlib import metadata

import harness_probes
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry


def test_every_entry_point_has_a_documented_class_and_every_class_an_entry_point() -> None:
    classes = harness_probes.harness_expectations()
    entries = {entry.name: entry.value for entry in metadata.entry_points(group="harness")}
    assert {name for name, module in entries.items() if module == "harness_probes"} == {
        f"expectation.{cls.name}" for cls in classes
    }
    for cls in classes:
        assert cls.__doc__ and cls.sees_violations
        assert all(field.description for field in cls.Config.model_fields.values())
        cls(cls.Config())


def test_these_can_be_watched() -> None:
    """Those that only take notes of blocks are not among them."""
    registry = Registry()
    names = registry.names(Kind.EXPECTATION)
    assert {name for name in names if registry.get(Kind.EXPECTATION, name).sees_violations} == {
        "no-forks", "safety", "consensus-liveness", "http-slo", "log-pattern", "promql", "command",
        "nodes-healthy", "recovery", "rejects-invalid", "invalid-never-included",
    }  # fmt: skip
