"""A step whose fault could not be told from one that holds is refused in plan, at its line."""

from __future__ import annotations

from typing import Any

import pytest

from harness.engine.foresight import refused
from harness.engine.plan import resolve_file
from harness.plugin.registry import Registry
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument

PLAYBOOK = """\
name = "hidden"
chain = "devnet"
duration = "60s"
[topology]
validators = 3
[[expectations]]
use = "convergence"
[[steps]]
fault = "bandwidth"
rate = "256KiB"
targets = "validator-0"
name = "slow"
"""
SECOND = '[[steps]]\nfault = "bandwidth"\nrate = "{}"\ntargets = "{}"\nhold = "1s"\n'


def told(rest: str) -> list[tuple[int, str]]:
    file: Any = PlaybookFile(TomlDocument.parse(PLAYBOOK + rest, "p.toml"))
    return [(one.line, one.message) for one in refused(resolve_file(file, Registry())[0])]


@pytest.mark.parametrize("rate", ["1MiB", "256KiB", "200KiB"])
def test_a_bandwidth_below_a_slower_one_is_told(rate: str) -> None:
    ((line, what),) = told(SECOND.format(rate, "validator-0"))
    assert line == 13 and "could not be proven" in what


@pytest.mark.parametrize(
    "rest",
    [
        SECOND.format("100KiB", "validator-0"),
        SECOND.format("1MiB", "validator-1"),
        '[[steps]]\nheal = "slow"\n' + SECOND.format("1MiB", "validator-0"),
        '[[steps]]\nfault = "latency"\ndelay = "9ms"\ntargets = "validator-0"\nhold = "1s"\n',
    ],
)
def test_what_can_be_told_apart_is_right(rest: str) -> None:
    assert told(rest) == []
