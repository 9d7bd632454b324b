"""By what a fault was done is told wherever its proof is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.cli.fault_view import show_faults
from harness.report.reading import read_run
from harness.report.views import fault_table

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_a_relay_is_named(stage: Any, capsys: pytest.CaptureFixture[str]) -> None:
    finished = await stage.run("latency", "validator-3", delay="60ms")
    assert stage.seen["proven"]["mechanism"] == "relay", finished.outcome
    show_faults(finished.directory, as_json=False)
    assert "latency by relay (" in capsys.readouterr().out
    show_faults(finished.directory, as_json=True)
    assert [one["mechanism"] for one in json.loads(capsys.readouterr().out)] == ["relay"]
    [row] = fault_table(read_run(finished.directory).observed).rows
    assert row.cells[1].startswith("latency by relay (")
    assert "links judged" in row.cells[7] and "mechanism" not in row.cells[7], "said once"
