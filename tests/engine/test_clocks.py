"""Machines' clocks: asked once for each kernel, again and again, and again sooner where there was no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from harness.engine.clocks import AGAIN, EVERY, Clocks
from harness.errors import InfrastructureError
from harness.plugin.clock_offset import EXCHANGES
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.machine import Completed
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import ClockMeasured, Event
from harness.testing.fakes import FakeMachine, FakeWorld

pytestmark = pytest.mark.anyio


class Machine(FakeMachine):
    """Its clock stands still, long ago. As often as `refuses` says it does not answer."""

    capabilities = frozenset({MachineCapability.COMMANDS})

    def __init__(self, name: str, kernel: str = "", refuses: int = 0) -> None:
        super().__init__(FakeWorld())
        self.name, self.kernel, self.refuses = name, kernel, refuses
        self.asked: list[Mapping[str, str]] = []

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        if self.refuses:
            self.refuses -= 1
            raise InfrastructureError("nobody is there")
        self.asked.append(env or {})
        return Completed(tuple(argv), 0, b"1000.000000000\n", b"", 0.0)


def node(name: str, machine: Any, state: NodeState = NodeState.RUNNING) -> Node:
    return cast(Node, SimpleNamespace(name=name, machine=machine, state=state))


class Steps:
    """A clock that goes on by itself for so many sleeps, and then for ever sleeps."""

    def __init__(self, sleeps: int) -> None:
        self.moments: list[float] = []
        self._left = sleeps
        self._now = 0.0

    def now(self) -> float:
        return self._now

    async def sleep_until(self, moment: float) -> None:
        self.moments.append(moment)
        if len(self.moments) == self._left:
            await anyio.sleep_forever()
        self._now = moment


async def watched(nodes: Sequence[Node], sleeps: int) -> tuple[list[ClockMeasured], list[float]]:
    told: list[Event] = []
    clock = Steps(sleeps)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Clocks(nodes, cast(Any, clock), told.append).watch)
        with anyio.fail_after(20):
            while len(clock.moments) < sleeps:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    return [event for event in told if isinstance(event, ClockMeasured)], clock.moments


async def test_one_machine_is_asked_for_all_with_its_kernel() -> None:
    a, b, other, dumb = Machine("a", "here"), Machine("b", "here"), Machine("other"), FakeMachine(FakeWorld())
    nodes = [node("n0", a, NodeState.STOPPED), node("n1", b), node("n2", other), node("n3", dumb), node("n4", other)]
    told, moments = await watched(nodes, 2)
    assert moments == [EVERY, 2 * EVERY]
    assert [(event.machine, event.nodes) for event in told] == [("b", ("n0", "n1")), ("other", ("n2", "n4"))] * 2
    assert all(event.ahead < -1e9 and 0 <= event.uncertainty < 5 for event in told)
    assert not a.asked and b.asked == [{"LD_PRELOAD": ""}] * (2 * EXCHANGES)


async def test_who_said_nothing_is_asked_again_soon() -> None:
    told, moments = await watched([node("a", Machine("a")), node("b", Machine("b", refuses=2))], 3)
    assert moments == [AGAIN, 2 * AGAIN, EVERY]
    assert [event.machine for event in told] == ["a", "b"]


async def test_where_no_machine_is_known_nobody_is_asked() -> None:
    await Clocks([node("a", FakeMachine(FakeWorld()))], cast(Any, Steps(1)), lambda event: None).watch()
