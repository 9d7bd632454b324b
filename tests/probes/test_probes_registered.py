from __future__ import annotations

from importlib import metadata

import harness_probes


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
