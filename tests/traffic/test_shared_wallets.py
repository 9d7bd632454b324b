"""Wallets from which two workloads would send are told in plan."""

from __future__ import annotations

import pytest

from harness.engine.plan import resolve_file
from harness.errors import SpecError
from harness.plugin.registry import Registry
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument

PLAYBOOK = """
name = "wallets"
chain = "devnet"
duration = "60s"
[topology]
validators = 2
[wallets]
count = 20
[[workloads]]
use = "transactions"
rate = "1/s"
{first}
[[workloads]]
use = "transactions.invalid"
rate = "1/s"
{second}
"""


def problems(first: str, second: str) -> list[str]:
    file = PlaybookFile(TomlDocument.parse(PLAYBOOK.format(first=first, second=second), "p.toml"))
    try:
        resolve_file(file, Registry())
    except SpecError as error:
        return [f"{one.file}:{one.line}:{one.column}: {one.message}" for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("", "", "20 of them from 0 on"),
        ("users = 10", "", "10 of them from 0 on"),
        ("users = 10", "users = 5\nfirst_wallet = 8", "2 of them from 8 on"),
        ("users = 10", "first_wallet = 10", ""),
        ("first_wallet = 10", "users = 10", ""),
    ],
)
def test_shared_wallets_are_told_with_the_line_of_the_second(first: str, second: str, shared: str) -> None:
    told = (
        f"p.toml:13:3: transactions.invalid would send from wallets that transactions sends from, {shared}, "
        "and each would spoil the other's nonces"
    )
    assert problems(first, second) == ([told] if shared else [])
