"""A third-party package, installed into a throw-away environment, used by a playbook from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "third_party"

PLAYBOOK = """
name = "acme"
chain = { use = "devnet", slot_duration = "100ms" }
duration = "2s"
[topology]
validators = 2
[[workloads]]
use = "WORKLOAD"
[[expectations]]
use = "no-forks"
"""

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """`harness` of an environment that has, besides what this one has, the third-party package."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    ours = sysconfig.get_path("purelib")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    source = folder / "source"
    subprocess.run(["cp", "-r", PACKAGE, source], check=True)
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation", source]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)

    def run(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "harness", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **env})

    return run


def test_it_is_listed_without_being_imported_and_what_is_broken_is_named(cli: Cli) -> None:
    listed = cli("plugins", "list").stdout
    assert ["workload", "acme-pulse", "acme-harness", "2.1"] in [line.split() for line in listed.splitlines()]
    assert ["screen-command", "acme-heights", "acme-harness", "2.1"] in [line.split() for line in listed.splitlines()]
    assert "acme-harness 2.1" in listed
    assert 'the entry point "nonsense" is not named KIND.NAME' in listed
    assert cli("acme").stdout == "hello from acme\n"
    assert "acme" in cli("--help").stdout
    assert "Asks every node for its head" in cli("plugins", "doc", "acme-pulse").stdout


@pytest.mark.real
def test_a_playbook_uses_it_and_a_broken_neighbour_does_not_matter(cli: Cli, tmp_path: Path) -> None:
    playbook = tmp_path / "acme.toml"
    playbook.write_text(PLAYBOOK.replace("WORKLOAD", "acme-pulse"))
    done = cli("run", playbook, "--runs", tmp_path / "runs", ACME_EVENTS=str(tmp_path / "events"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acme-beats" in done.stdout
    seen = (tmp_path / "events").read_text().split()
    assert (seen[0], seen[-1]) == ("RunStarted", "RunFinished")


def test_the_broken_one_is_an_error_for_the_playbook_that_needs_it(cli: Cli, tmp_path: Path) -> None:
    playbook = tmp_path / "broken.toml"
    playbook.write_text(PLAYBOOK.replace("WORKLOAD", "acme-broken"))
    done = cli("run", playbook, "--runs", tmp_path / "runs")
    assert done.returncode == 4
    assert f"{playbook}:8:1: workloads[0].use: plugin broken_harness (acme-harness 2.1) cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
