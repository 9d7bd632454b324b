"""Secrets that are not where options say: told in plan, by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine.plan import resolve_file
from harness.errors import SpecError
from harness.plugin.registry import Registry
from harness.spec.playbook import PlaybookFile
from harness.spec.secrets import Secret
from harness.spec.toml_document import TomlDocument

PLAYBOOK = """
name = "secrets"
chain = "devnet"
duration = "60s"
[topology]
validators = 2
[[expectations]]
use = "nodes-healthy"
{rest}
"""
NONE = '{ env = "NO_SUCH_TOKEN" }'


def problems(rest: str) -> list[str]:
    file = PlaybookFile(TomlDocument.parse(PLAYBOOK.format(rest=rest), "p.toml"))
    try:
        resolve_file(file, Registry())
    except SpecError as error:
        return [f"{one.file}:{one.line}:{one.column}: {one.message}" for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("rest", "option"),
    [
        (f'[[expectations]]\nuse = "promql"\nbearer = {NONE}', "bearer"),
        (f'[[expectations]]\nuse = "promql"\nusername = "me"\npassword = {NONE}', "password"),
        (f'[[expectations]]\nuse = "promql"\nheaders = {{ X = {NONE} }}', "headers"),
        (f'[[expectations]]\nuse = "http-slo"\nheaders = {{ X = {NONE} }}', "headers"),
        (f'[[workloads]]\nuse = "http"\nurl = "http://h/"\nrate = "1/s"\nheaders = {{ X = {NONE} }}', "headers"),
    ],
)
def test_a_secret_that_is_not_there_is_told_in_plan(rest: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    line = 9 + rest[: rest.index(f"{option} =")].count("\n")
    assert problems(rest) == [f"p.toml:{line}:1: {option}: the environment has no variable NO_SUCH_TOKEN"]
    monkeypatch.setenv("NO_SUCH_TOKEN", "a-token-that-is-there")
    assert problems(rest) == []


def test_files_are_looked_for_and_commands_are_not_run(tmp_path: Path) -> None:
    def secret(**source: object) -> Secret:
        return Secret.of(source, "bearer", tmp_path)

    assert "cannot be read: No such file" in secret(file="token").missing()
    (tmp_path / "token").write_text("a-token-in-a-file\n")
    assert secret(file="token").missing() == ""
    assert secret(command=["touch", str(tmp_path / "ran")]).missing() == ""
    assert not (tmp_path / "ran").exists()
