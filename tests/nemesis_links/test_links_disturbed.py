"""Faults on the links of real nodes on this machine: done, proven, healed; and not done, seen not to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from harness.api import Flow, LinkShape
from harness_process.deployer import ProcessDeployment

pytestmark = [pytest.mark.anyio, pytest.mark.real]

WHOLE = ["intended", "injected", "proven", "healing", "healed"]
ALL = ("validator-0", "validator-1", "validator-2", "validator-3")


async def test_halves_go_apart_and_together(stage: Any) -> None:
    """By what the nodes themselves say of their chains, too."""
    finished = await stage.run("partition", *ALL, script="parted", shape="halves")
    assert finished.outcome.exit_code == 0, finished.outcome
    assert stage.stages == WHOLE
    assert [note for note in stage.notes if note.startswith("they are")] == ["they are apart", "they are together"]
    assert stage.seen["proven"]["mechanism"] == "relay"
    assert stage.seen["proven"]["cut"] == "4 of 4 links that could be judged"
    assert stage.seen["proven"]["lost though not to be cut"] == []
    assert stage.seen["healed"]["reached again"] == "6 of 6 links that could be judged"


@pytest.mark.parametrize("shape", ["isolate", "bridge", "majorities-ring", "asymmetric"])
async def test_every_shape(stage: Any, shape: str) -> None:
    finished = await stage.run("partition", *(ALL[-1:] if shape == "isolate" else ALL), shape=shape)
    assert stage.stages == WHOLE, finished.outcome
    expected = {"isolate": 3, "bridge": 2, "majorities-ring": 2, "asymmetric": 4}[shape]
    assert stage.seen["proven"]["cut"] == f"{expected} of {expected} links that could be judged"
    assert ("one way" in stage.seen["proven"]) == (shape == "asymmetric")


async def test_one_peer_is_blocked(stage: Any) -> None:
    finished = await stage.run("block_peer", **{"from": "validator-0", "to": "validator-2"})
    assert (finished.outcome.exit_code, stage.stages) == (0, WHOLE), finished.outcome
    assert stage.seen["proven"]["cut"] == "1 of 1 links that could be judged"


async def test_latency_is_measured(stage: Any) -> None:
    finished = await stage.run("latency", "validator-3", delay="60ms", jitter="5ms")
    assert (finished.outcome.exit_code, stage.stages) == (0, WHOLE), finished.outcome
    assert stage.seen["proven"]["links judged"] == 3
    assert stage.seen["proven"]["delay both ways ms"] == 120.0
    assert 90 < stage.seen["proven"]["rise of round trip ms"] < 400


async def test_zones_are_apart(stage: Any) -> None:
    zones = {"eu": "validator-[01]", "us": "validator-[23]"}
    finished = await stage.run("latency", matrix={"eu": {"us": "50ms"}}, zones=zones)
    assert (finished.outcome.exit_code, stage.stages) == (0, WHOLE), finished.outcome
    assert stage.seen["proven"]["links judged"] == 4


async def test_a_rate_is_measured(stage: Any) -> None:
    finished = await stage.run("bandwidth", rate="200kB")
    assert (finished.outcome.exit_code, stage.stages) == (0, WHOLE), (finished.outcome, stage.seen)
    for one in stage.seen["proven"]["bytes a second measured"].values():
        assert one["before"] > 400_000 and one["now"] <= 250_000, stage.seen


@pytest.mark.parametrize("fault", ["partition", "latency"])
async def test_a_node_that_is_restarted_meanwhile(stage: Any, fault: str) -> None:
    options = {"latency": {"delay": "60ms"}}.get(fault, {})
    finished = await stage.run(fault, *ALL, script="restarted", **options)
    assert (finished.outcome.exit_code, stage.stages) == (0, WHOLE), finished.outcome


@pytest.mark.parametrize("fault", ["partition", "latency"])
async def test_a_target_that_dies_meanwhile(stage: Any, fault: str) -> None:
    """It is judged by the links that are left."""
    options = {"latency": {"delay": "60ms"}}.get(fault, {})
    finished = await stage.run(fault, *ALL, script="died", **options)
    assert stage.stages == WHOLE, finished.outcome
    assert finished.outcome.status == "done"


@pytest.mark.parametrize("fault", ["partition", "latency"])
async def test_a_deployment_that_does_nothing(stage: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: ProcessDeployment, shapes: Mapping[Flow, LinkShape]) -> None:
        """As one that says that it did."""

    monkeypatch.setattr(ProcessDeployment, "shape_links", nothing)
    options = {"latency": {"delay": "60ms"}}.get(fault, {})
    finished = await stage.run(fault, *ALL, **options)
    assert finished.outcome.exit_code == 3
    assert "was not applied" in finished.outcome.reason
    assert stage.stages == ["intended", "injected", "not-applied", "healing", "healed"]


@pytest.mark.parametrize("fault", ["partition", "latency"])
async def test_a_deployment_that_undoes_nothing(stage: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    really = ProcessDeployment.shape_links

    async def once(self: ProcessDeployment, shapes: Mapping[Flow, LinkShape]) -> None:
        if shapes:
            await really(self, shapes)

    monkeypatch.setattr(ProcessDeployment, "shape_links", once)
    options = {"latency": {"delay": "60ms"}}.get(fault, {})
    finished = await stage.run(fault, *ALL, healed_within="1s", **options)
    assert finished.outcome.exit_code == 3
    assert "was not healed" in finished.outcome.reason
    assert stage.stages == [*WHOLE[:-1], "not-healed", "healing", "not-healed"], "it is tried once more before judging"


async def test_a_partition_that_cuts_no_link(stage: Any) -> None:
    """In a star, validators 1 and 2 know only validator 0."""
    finished = await stage.run("partition", layout="star", grudge={"validator-1": ["validator-2"]})
    assert finished.outcome.exit_code == 3
    assert "no link of this network carries" in finished.outcome.reason
    assert stage.stages == []
