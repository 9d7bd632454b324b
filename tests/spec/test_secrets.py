"""Secrets: where they come from, what is said when they do not come, and that nobody sees them."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError, UsageError
from harness.redact import redact
from harness.spec.inventory import Inventory
from harness.spec.inventory_toml import read_groups
from harness.spec.inventory_views import as_graph, as_list
from harness.spec.problems import shown
from harness.spec.secrets import SECRET_VARIABLES, Secret
from harness.spec.toml_document import TomlDocument
from harness.spec.variables import parse_extras

CANARY = "canary-7f3a"


def read(text: str) -> Inventory:
    document = TomlDocument.parse(text, "i.toml")
    return Inventory.of("i.toml", *read_groups(document), document)


def script(folder: Path, text: str) -> str:
    path = folder / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    sources: list[Any] = [
        CANARY,
        {"env": "CANARY"},
        {"file": "secret"},
        {"file": str(tmp_path / "secret")},
        {"command": ["cat", "secret"]},
        {"command": [script(tmp_path, f"printf '%s' '{CANARY}'"), "a b"]},
    ]
    assert [Secret.of(source, "x", tmp_path).reveal() for source in sources] == [CANARY] * len(sources)
    assert Secret.of(123456, "x").reveal() == "123456"


def test_it_is_read_when_it_is_needed_and_redacted_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    secret = Secret.of({"env": "CANARY"}, "x")
    assert redact(CANARY) == CANARY
    secret.reveal()
    assert redact(f"<{CANARY}>") == "<••••••>"
    monkeypatch.setenv("CANARY", "another-canary")
    assert secret.reveal() == "another-canary"


def test_text_is_redacted_at_once() -> None:
    Secret.of(CANARY, "x")
    assert redact(CANARY) == "••••••"


def test_nothing_shows_it() -> None:
    secret = Secret.of(CANARY, "x")
    texts = [str(secret), repr(secret), f"{secret}", "%s" % secret, shown(secret)]  # noqa: UP031
    assert {*texts, json.loads(json.dumps(secret, default=str))} == {"••••••"}
    assert CANARY not in repr({"a": [secret]})
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert copy.deepcopy({"a": secret})["a"] is copy.copy(secret) is secret


def test_equal_are_secrets_of_one_source() -> None:
    assert Secret.of({"env": "A"}, "x") == Secret.of({"env": "A"}, "y")
    assert len({Secret.of({"env": "A"}, "x"), Secret.of({"env": "B"}, "x"), Secret.of("AAAA", "x")}) == 3
    assert Secret.of({"file": "a"}, "x", Path("/1")) != Secret.of({"file": "a"}, "x", Path("/2"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"env": "NO_SUCH"}, "x: the environment has no variable NO_SUCH"),
        ({"env": "EMPTY"}, "x: the secret is empty"),
        ({"env": "SHORT"}, "x: the secret is shorter than 4 characters, too short to be kept out of logs"),
        ({"file": "missing"}, "x: the file {}/missing cannot be read: No such file or directory"),
        ({"file": "."}, "x: the file {} cannot be read: Is a directory"),
        ({"file": "binary"}, "x: the file {}/binary gives something that is not UTF-8 text"),
        ({"file": "long"}, "x: the secret has several lines; it must be one"),
        (
            {"file": "~no-such-user/x"},
            "x: the file ~no-such-user/x cannot be read: Could not determine home directory.",
        ),
        ({"command": ["/no/such", CANARY]}, "x: the command /no/such cannot be run: No such file or directory"),
        ({"command": ["sh", "-c", f"echo no >&2; echo {CANARY}; exit 3"]}, "x: the command sh exits with 3: no"),
        ({"command": ["sh", "-c", "kill -9 $$"]}, "x: the command sh was killed by signal 9"),
    ],
)
def test_what_does_not_come_is_told_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, problem: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("SHORT", "abc")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd\xfc")
    (tmp_path / "long").write_text(f"{CANARY}\nmore\n")
    with pytest.raises(UsageError) as error:
        Secret.of(source, "x", tmp_path).reveal()
    assert str(error.value) == problem.format(tmp_path)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("'abc'", "the secret is shorter than 4 characters, too short to be kept out of logs"),
        ("''", "the secret is empty"),
        ('"canary\\n7f3a"', "the secret has several lines; it must be one"),
        ("\"{{ lookup('env', 'canary') }}\"", "is a template, and inventories are taken as they are; "),
        ("true", "is no secret and no source of one; "),
        ("{}", "is no secret and no source of one; "),
        ("{ environment = 'canary' }", "is no secret and no source of one; "),
        ("{ env = 'canary', file = 'x' }", "is no secret and no source of one; "),
        ("{ env = 3 }", "is no secret and no source of one; "),
        ("{ command = 'pass canary' }", "is no secret and no source of one; "),
        ("{ command = [] }", "is no secret and no source of one; "),
        ("{ command = ['pass', 3] }", "is no secret and no source of one; "),
        ("{ __ansible_vault = 'canary' }", "is encrypted by Ansible Vault, which harness does not open; "),
    ],
)
def test_what_cannot_be_a_secret_is_told_at_its_place(written: str, problem: str) -> None:
    with pytest.raises(SpecError) as error:
        read(f"[g.hosts]\n'h[1:2]' = {{ ansible_password = {written} }}\n")
    [told] = map(str, error.value.problems)
    assert told.startswith(f'i.toml:2:14: g.hosts."h[1:2]".ansible_password: {problem}')
    assert "canary" not in told


def test_inventories_show_no_secret() -> None:
    for name in SECRET_VARIABLES:
        inventory = read(f"[g]\nhosts = ['h']\n[g.vars]\n{name} = '{CANARY}'\n")
        assert inventory.variables("h")[name].value.reveal() == CANARY
        texts = [json.dumps(as_list(inventory), default=str), *as_graph(inventory, variables=True), repr(inventory)]
        assert not [text for text in texts if CANARY in text]
        assert sum("••••••" in text for text in texts) >= 3


def test_the_command_line_too() -> None:
    extra = parse_extras([f"ansible_become_password={CANARY}", "ansible_password={ env = 'X' }"])
    assert redact(CANARY) == "••••••"
    given = read("[g]\nhosts = ['h']\n").variables("h", extra)
    assert given["ansible_become_password"].value.reveal() == CANARY
    assert given["ansible_become_password"].source == "-e"
    assert given["ansible_password"].value == Secret.of({"env": "X"}, "x")
    with pytest.raises(UsageError, match="-e ansible_password: the secret is shorter than 4 characters"):
        parse_extras(["ansible_password=abc"])
