"""Nodes that run already are asked who they are."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from harness.api import Address, NodeSpec, Topology, Unreachable, introduced

pytestmark = pytest.mark.anyio

NAMES = ("v-0", "v-1", "v-2")
TOPOLOGY = Topology("full", tuple(NodeSpec(name, "v", i, i) for i, name in enumerate(NAMES)), ())
APIS = {name: Address("h", number) for number, name in enumerate(NAMES)}


class Peer:
    """A client that answers once all the others were asked, too."""

    asked = 0
    closed: list[str]

    def __init__(self, name: str, api: Address) -> None:
        self.name, self.api = name, api

    async def who(self) -> str:
        type(self).asked += 1
        with anyio.fail_after(10):
            while self.asked < len(NAMES):
                await anyio.lowlevel.checkpoint()
        return f"I am {self.name}"

    async def aclose(self) -> None:
        self.closed.append(self.name)


@pytest.fixture(autouse=True)
def fresh() -> None:
    Peer.asked, Peer.closed = 0, []


async def test_all_are_asked_at_once_in_order_and_their_clients_are_closed_afterwards() -> None:
    async with introduced(TOPOLOGY, APIS, Peer, Peer.who) as told:  # type: ignore[type-var]
        assert [(one.node.name, one.said, str(one)) for one in told] == [
            (name, f"I am {name}", f"{name} (h:{number})") for number, name in enumerate(NAMES)
        ]
        assert Peer.closed == []
    assert sorted(Peer.closed) == sorted(NAMES)


async def test_everyone_who_is_silent_is_named_once() -> None:
    async def silent(peer: Any) -> str:
        if peer.name == "v-1":
            return "here"
        raise Unreachable(f"{peer.name}: no answer" if peer.name == "v-0" else "refused")

    with pytest.raises(Unreachable) as raised:
        async with introduced(TOPOLOGY, APIS, Peer, silent):  # type: ignore[type-var]
            pytest.fail("somebody was silent")
    assert str(raised.value) == "v-0: no answer; v-2: refused"
    assert sorted(Peer.closed) == sorted(NAMES)
