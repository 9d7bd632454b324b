from __future__ import annotations

from importlib import metadata

import harness_checks
import harness_traffic
from harness.api import Config, Expectation, Workload

NEEDED = {"http": {"url": "http://localhost/"}}


def test_every_entry_point_has_a_documented_class_and_every_class_an_entry_point() -> None:
    entries = {entry.name: entry.value for entry in metadata.entry_points(group="harness")}
    classes: list[tuple[str, str, type]] = []
    classes += [("expectation", "harness_checks", cls) for cls in harness_checks.harness_expectations()]
    classes += [("workload", "harness_traffic", cls) for cls in harness_traffic.harness_workloads()]
    for kind, module, cls in classes:
        assert issubclass(cls, Expectation | Workload)
        assert entries[f"{kind}.{cls.name}"] == module
        assert cls.__doc__
        assert issubclass(cls.Config, Config)
        cls(cls.Config(**NEEDED.get(cls.name, {})))  # all other options have defaults
        assert all(field.description for field in cls.Config.model_fields.values())
    named = {name for name, module in entries.items() if module in ("harness_checks", "harness_traffic")}
    assert named == {f"{kind}.{cls.name}" for kind, _, cls in classes}
