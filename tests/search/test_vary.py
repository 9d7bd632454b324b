"""What `--vary` names, and what is told where it names nothing."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.search.vary import Quantity, ends, find_varied, quantity
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument

TEXT = """
chain = "devnet"
duration = "60s"
[vars]
rate = 15
unused = 3
word = "star"
pace = "20/block"
[matrix]
users = [5, 10]
[topology]
validators = 2
layout = "{{ word }}"
[[workloads]]
use = "transactions"
rate = "{{ rate }}/block"
users = "{{ users }}"
[[workloads]]
use = "transactions.invalid"
rate = "{{ pace }}"
max_in_flight = 8
[[workloads]]
use = "transactions"
rate = "3/s"
"""


@pytest.fixture
def file() -> PlaybookFile:
    return PlaybookFile(TomlDocument.parse(TEXT, "test.toml"))


def test_a_variable_is_set_as_on_the_command_line(file: PlaybookFile) -> None:
    varied = find_varied(file, "rate")
    assert ends(varied, None, None) == (15.0, 15_000.0, "")
    assert varied.apply(file, 20.0, "") == (file, {"rate": 20})
    assert varied.apply(file, 20.5, "")[1] == {"rate": 20.5}
    pace = find_varied(file, "pace")
    assert ends(pace, "5", "80") == (5.0, 80.0, "/block")
    assert pace.apply(file, 7.0, "/block")[1] == {"pace": "7/block"}
    assert find_varied(file, "users").now == Quantity(5.0)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("workloads.transactions#2.rate", "9/s", lambda data: data["workloads"][2]["rate"]),
        ("workloads.transactions.invalid.max_in_flight", 9, lambda data: data["workloads"][1]["max_in_flight"]),
        ("workloads.transactions.max_in_flight", 9, lambda data: data["workloads"][0]["max_in_flight"]),
        ("topology.validators", 9, lambda data: data["topology"]["validators"]),
        ("chain.block_txs", 9, lambda data: data["chain"]["block_txs"]),
        ("duration", "9s", lambda data: data["duration"]),
    ],
)
def test_a_setting_is_written_where_it_stands(file: PlaybookFile, name: str, value: object, where: object) -> None:
    varied = find_varied(file, name)
    start, _, unit = ends(varied, "9", None)
    changed, extra = varied.apply(file, start, unit)
    assert where(changed.document.data) == value and not extra  # type: ignore[operator]
    assert changed.document.data["chain"] in ("devnet", {"use": "devnet", "block_txs": 9})
    assert file.document.data == TomlDocument.parse(TEXT, "test.toml").data


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rat", 'did you mean "rate"?'),
        ("workloads.transaction.rate", "workloads.transactions#2.rate"),
        ("unused", "nothing uses it"),
        ("word", "only numbers"),
        ("workloads.transactions.rate", "vary the variable rate instead"),
    ],
)
def test_what_is_not_there_is_told(file: PlaybookFile, name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_varied(file, name)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "start", "stop", "message"),
    [
        ("rate", "5/s", None, "leave /s out"),
        ("pace", "5/s", "9/block", "different units"),
        ("rate", "9", "9", "less than --to"),
        ("rate", "0", "9", "more than 0"),
        ("rate", "many", None, "--from many"),
        ("chain.block_txs", None, None, "write --from"),
    ],
)
def test_ends_that_make_no_sense_are_told(
    file: PlaybookFile, name: str, start: str | None, stop: str | None, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        ends(find_varied(file, name), start, stop)
    assert message in str(raised.value)


def test_quantities() -> None:
    assert quantity("15 / block") == Quantity(15.0, "/block") and quantity(2.5) == Quantity(2.5)
    assert quantity(True) is quantity("2m30s") is quantity("fast") is None
