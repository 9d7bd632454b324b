"""Projects: the folder with a harness.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.spec.project import Project, find_project


def test_found_from_below(tmp_path: Path) -> None:
    (tmp_path / "harness.toml").write_text('inventory = "inventories/local.toml"\nruns = "out"\noutput = "json"\n')
    below = tmp_path / "playbooks" / "deep"
    below.mkdir(parents=True)
    assert find_project(below) == Project(
        root=tmp_path,
        runs=tmp_path / "out",
        inventory=tmp_path / "inventories" / "local.toml",
        plugins=tmp_path / "plugins",
        output="json",
    )


def test_the_first_start_that_is_in_a_project(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("b", "c"):
        (tmp_path / name / "harness.toml").touch()
    assert find_project(tmp_path / "a", tmp_path / "b", tmp_path / "c").root == tmp_path / "b"


def test_a_folder_that_is_no_project_has_no_plugins(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    assert find_project(tmp_path / "elsewhere", tmp_path) == Project(root=None, runs=tmp_path / "runs")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('run = "x"', ':1:1: run: unknown key; did you mean "runs"? (known: inventory, runs, plugins, output, forks)'),
        ('output = "xml"', ':1:1: output: must be "plain" or "json", not "xml"'),
        ("runs = 3", ":1:1: runs: must be text, not 3"),
        ("forks = 0", ":1:1: forks: must be at least 1, not 0"),
        ('plugins = ""', ":1:1: plugins: must not be empty"),
        ("runs = x", ':1:8: x is not a TOML value; text stands in quotes: runs = "x"'),
    ],
)
def test_problems(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "harness.toml"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        find_project(tmp_path)
    assert str(error.value) == f"{file}{problem}"
