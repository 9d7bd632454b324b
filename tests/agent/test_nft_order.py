"""In which order machines are told, where one is to lose more and another less."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

import anyio
import pytest

from harness.api import CUT, Completed, Flow, LinkShape
from harness_agent.nft.shaper import End, NftShaper, overlap

pytestmark = pytest.mark.anyio

A_TO_B, B_TO_A = {"b": {"a": CUT}}, {"a": {"b": CUT}}
HALF, TENTH = LinkShape(loss=0.5), LinkShape(loss=0.1)


class Told:
    """A machine that notes whether it drops anything. `after` is what it waits for before it does as it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drops = False
        self.times = 0
        self.others: list[bool] = []
        self.slower_than: Told | None = None
        self.changed = anyio.Event()

    async def run(self, argv: Sequence[str], *, input: bytes, timeout: float, become: bool) -> Completed:
        if other := self.slower_than:
            with anyio.move_on_after(0.3):
                await other.changed.wait()
            self.others.append(other.drops)
        self.drops = b"drop" in input
        self.times += 1
        self.changed.set()
        return Completed(tuple(argv), 0, b"", b"", 0.0)

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None: ...

    async def ledger_remove(self, entry: str) -> None: ...


@pytest.fixture
def machines() -> Mapping[str, Told]:
    return {name: Told(name) for name in "abc"}


@pytest.fixture
def shaper(machines: Mapping[str, Told]) -> NftShaper:
    ips = {name: frozenset({ipaddress.ip_address(f"192.0.2.{number}")}) for number, name in enumerate("abc", 1)}
    ends = {name: End(machines[name], "nft", {o: ip for o, ip in ips.items() if o != name}) for name in "abc"}
    return NftShaper("run", ends)


async def test_there_is_no_moment_in_which_neither_way_is_cut(shaper: NftShaper, machines: Mapping[str, Told]) -> None:
    a, b, _ = machines.values()
    await shaper.shape({Flow("a", "b"): CUT})
    assert b.drops and not a.drops
    a.slower_than, b.changed = b, anyio.Event()
    await shaper.shape({Flow("b", "a"): CUT})
    assert a.others[0], "b hears a again, and a hears b still"
    assert a.drops and not b.drops


async def test_where_nothing_is_let_go_each_machine_is_told_once(
    shaper: NftShaper, machines: Mapping[str, Told]
) -> None:
    both = {Flow("a", "b"): CUT, Flow("b", "a"): CUT}
    await shaper.shape({Flow("a", "b"): CUT})
    await shaper.shape(both)
    assert [machine.times for machine in machines.values()] == [1, 2, 0]
    await shaper.shape({})
    assert [machine.times for machine in machines.values()] == [2, 3, 0]


def test_first_is_what_is_new_beside_what_there_was() -> None:
    assert overlap(A_TO_B, B_TO_A | {"b": {}}) == B_TO_A
    moved = {"a": {"b": CUT}, "b": {"c": CUT}}
    assert overlap({"a": {}, **A_TO_B}, moved) == {"a": {"b": CUT}, "b": {"a": CUT, "c": CUT}}
    assert overlap({"a": {"b": HALF}, "b": {"a": TENTH}}, {"a": {"b": TENTH}, "b": {"a": HALF}}) == {"b": {"a": HALF}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({}, B_TO_A, id="more"),
        pytest.param(A_TO_B, {"b": {}}, id="less"),
        pytest.param(A_TO_B, A_TO_B, id="the same"),
        pytest.param(A_TO_B, {"b": {"c": CUT}}, id="of one machine alone"),
        pytest.param({"b": {"a": HALF}}, {"a": {"b": TENTH}, "b": {"a": CUT}}, id="worse everywhere"),
    ],
)
def test_what_is_done_at_once(old: dict[str, dict[str, LinkShape]], new: dict[str, dict[str, LinkShape]]) -> None:
    assert not overlap(old, new)
