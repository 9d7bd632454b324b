"""Listing imports nothing; choosing imports one; what is wrong is told with what to write."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness.errors import PluginLoadError, UnknownPluginError
from harness.plugin.discovery import Candidate, Kind, in_project, installed
from harness.plugin.registry import Registry


def candidate(kind: Kind, name: str, module: str) -> Candidate:
    return Candidate(kind, name, "test 1.0", entry_point=EntryPoint(f"{kind}.{name}", module, "harness"))


GOOD = '''
from harness.api import Config, Expectation, Judgement, Verdict, hookimpl

class Calm(Expectation):
    """Always content."""
    name = "calm"
    async def evaluate(self, ctx):
        return Judgement(Verdict.PASS, "calm", "calm")

@hookimpl
def harness_expectations():
    return [Calm]
'''


def project(tmp_path: Path, **files: str) -> Registry:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return Registry([], project_plugins=tmp_path)


def test_listing_installed_plugins_imports_none_of_them() -> None:
    code = (
        "import sys; from harness.plugin.registry import Registry; from harness.plugin.discovery import Kind\n"
        "r = Registry(); print(r.names(Kind.CHAIN)); print([m for m in sys.modules if m.startswith('harness_')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out == ["['cometbft', 'devnet']", "[]"]


def test_choosing_one_imports_that_one_only() -> None:
    code = (
        "import sys; from harness.plugin.registry import Registry; from harness.plugin.discovery import Kind\n"
        "print(Registry().get(Kind.FAULT, 'restart').name)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules if m.startswith('harness_')}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out == ["restart", "['harness_nemesis']"]


def test_in_tree_plugins_come_through_the_entry_point_group() -> None:
    assert {c.name for c in installed() if c.kind is Kind.CHAIN} >= {"devnet", "cometbft"}


def test_a_project_file_is_listed_without_running_it(tmp_path: Path) -> None:
    registry = project(tmp_path, calm="raise SystemExit('run!')\n" + GOOD)
    assert registry.names(Kind.EXPECTATION) == ["calm"]


def test_a_project_file_is_used(tmp_path: Path) -> None:
    assert project(tmp_path, calm=GOOD).get(Kind.EXPECTATION, "calm").__doc__ == "Always content."


def test_an_unknown_name_lists_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownPluginError) as caught:
        project(tmp_path, calm=GOOD).get(Kind.EXPECTATION, "clam")
    assert str(caught.value) == 'no expectation is named "clam"; did you mean "calm"? (installed: calm)'


def test_a_plugin_that_cannot_be_imported_is_an_error_only_when_chosen(tmp_path: Path) -> None:
    broken = GOOD.replace('"calm"', '"storm"') + "\nimport no_such_module\n"
    registry = project(tmp_path, calm=GOOD, storm=broken)
    assert registry.get(Kind.EXPECTATION, "calm").name == "calm"
    with pytest.raises(PluginLoadError, match=r"storm\.py \(project file .*\) cannot be loaded: ModuleNotFoundError"):
        registry.get(Kind.EXPECTATION, "storm")


def test_a_file_that_does_not_parse_is_listed_as_broken_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("x = 1\ndef (:\n")
    [found] = in_project(tmp_path)
    assert f"{tmp_path / 'odd.py'}:2:" in found.problem


def test_two_providers_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginLoadError, match=r"is provided by .*one\.py and by .*two\.py; remove"):
        project(tmp_path, one=GOOD, two=GOOD).get(Kind.EXPECTATION, "calm")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("async def evaluate(self, ctx):", "async def judge(self, ctx):"),
            r"Calm lacks evaluate\(self, ctx: 'Context'\)",
        ),
        (("class Calm(Expectation):", "class Calm:"), "is not a subclass of harness.api.Expectation"),
        (("def harness_expectations():", "def harness_expectations(x):"), r"Argument\(s\) \{'x'\}"),
    ],
)
def test_a_wrong_plugin_tells_its_author_what_to_write(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(PluginLoadError, match=said):
        project(tmp_path, calm=GOOD.replace(*change)).get(Kind.EXPECTATION, "calm")


def test_an_entry_point_without_a_kind_is_broken_not_fatal() -> None:
    point = EntryPoint("calm", "somewhere", "harness")
    from harness.plugin.discovery import _from_entry_point

    assert "is not named KIND.NAME" in _from_entry_point(point, "somebody").problem


def test_a_missing_module_names_its_distribution() -> None:
    registry = Registry([candidate(Kind.CHAIN, "ghost", "harness_no_such_plugin")])
    with pytest.raises(PluginLoadError, match=r"harness_no_such_plugin \(test 1\.0\) cannot be loaded"):
        registry.get(Kind.CHAIN, "ghost")
