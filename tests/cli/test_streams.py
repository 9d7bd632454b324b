"""The exit code is the verdict's, whoever reads the output, or does not; what plugins print is not data."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PLAYBOOK = """
name = "read"
chain = { use = "devnet", slot_duration = "60ms", security_param = 2 }
duration = "1s"
[topology]
validators = 2
[[expectations]]
use = "no-forks"
"""
TALKER = '''
import subprocess
from harness.api import Config, Expectation, Judgement, NoConfig, Verdict, Workload, hookimpl

class TalkerConfig(Config):
    how: str = "print"

class Talker(Workload[TalkerConfig]):
    """Says something on stdout, or raises what no plugin should."""
    name = "talker"
    Config = TalkerConfig
    def check(self, ctx):
        if self.config.how == "check": raise KeyError("in check")
        return ()
    async def prepare(self, ctx):
        if self.config.how == "prepare": raise KeyError("in prepare")
    async def run(self, ctx):
        print("I am not JSON")
        subprocess.run(["echo", "nor am I"])
        if self.config.how == "exit": raise SystemExit(0)

class Mute(Expectation[NoConfig]):
    """Forgets to return."""
    name = "mute"
    async def evaluate(self, ctx):
        pass

@hookimpl
def harness_workloads():
    return [Talker]
@hookimpl
def harness_expectations():
    return [Mute]
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "harness.toml").write_text("")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "talker.py").write_text(TALKER)
    (tmp_path / "book.toml").write_text(PLAYBOOK)
    return tmp_path


def shell(project: Path, rest: str) -> subprocess.CompletedProcess[str]:
    """`harness run book.toml` with this after it, by a shell that tells the exit code of harness itself."""
    command = f"{shlex.quote(sys.executable)} -m harness run book.toml {rest}"
    return subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("2>/dev/null | head -1; exit ${PIPESTATUS[0]}", ""),
        ("--output json 2>/dev/null | head -1; exit ${PIPESTATUS[0]}", ""),
        (">&-", ""),
        ("2>&-", ""),
        (">&- 2>&-", ""),
        ("<&-", ""),
        (">/dev/full", "not all output could be written"),
        ("--output json >/dev/full", "not all output could be written"),
    ],
)
def test_the_exit_code_does_not_depend_on_who_reads(project: Path, rest: str, said: str) -> None:
    done = shell(project, rest)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    [run] = (project / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["verdict"] == "pass"


def use(project: Path, how: str) -> None:
    path = project / "book.toml"
    path.write_text(path.read_text() + f'[[workloads]]\nuse = "talker"\nhow = "{how}"\n')


def test_what_plugins_print_is_not_data(project: Path) -> None:
    use(project, "print")
    done = shell(project, "--output json")
    assert done.returncode == 0
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()][-1] == "run-finished"
    assert "I am not JSON" in done.stderr
    assert "nor am I" in done.stderr


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("exit", 3, "talker: SystemExit: 0"),
        ("prepare", 3, "talker: KeyError: 'in prepare'"),
        ("check", 4, "book.toml:10:1: workloads[0].use: talker: it failed with KeyError: 'in check'"),
    ],
)
def test_what_no_plugin_should_raise_is_told_with_its_name(project: Path, how: str, code: int, said: str) -> None:
    use(project, how)
    done = shell(project, "--quiet")
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_check_that_returns_nothing_is_unknown_and_the_others_are_asked(project: Path) -> None:
    path = project / "book.toml"
    path.write_text(path.read_text().replace("[[expectations]]", '[[expectations]]\nuse = "mute"\n[[expectations]]'))
    done = shell(project, "")
    assert done.returncode == 2
    [run] = (project / "runs").iterdir()
    verdicts = {e["id"]: e["verdict"] for e in json.loads((run / "result.json").read_text())["expectations"]}
    assert verdicts == {"mute": "unknown", "no-forks": "pass"}
