"""Messages to a node that need not be a direct peer: data availability in a star, a ring, a chain.

Works as a learning Ethernet bridge does: a message from X that came through peer P teaches that X is behind P; a
message to an unknown node goes to all peers, each of which passes it on once. A sender that got no answer asks with
`flood`, so that a route which has gone stale does no lasting harm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from .codec import Malformed, field, natural

MAX_HOPS = 32
_REMEMBERED = 4096

Send = Callable[[str, dict[str, Any]], None]
"""Send a message to a direct peer, by name."""


class Relay:
    """`deliver(origin, body)` gets what is addressed to this node. `peers` gives the direct peers now."""

    def __init__(
        self,
        me: str,
        members: frozenset[str],
        peers: Callable[[], Iterable[str]],
        send: Send,
        deliver: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._me = me
        self._members = members
        self._peers = peers
        self._send = send
        self._deliver = deliver
        self._routes: dict[str, str] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._count = 0

    def send(self, to: str, body: dict[str, Any], unique: str, *, flood: bool = False) -> None:
        """`unique` sets this node's messages apart from those of its earlier lives."""
        if to == self._me:
            self._deliver(self._me, body)
            return
        self._count += 1
        id = f"{self._me}/{unique}/{self._count}"
        self._fresh(id)
        envelope = {
            "type": "relay", "id": id, "from": self._me, "to": to,
            "hops": 0, "flood": flood, "body": body,
        }  # fmt: skip
        self._forward(envelope, came_from=None)

    def receive(self, peer: str, envelope: dict[str, Any]) -> None:
        """A relayed message came from a direct peer. Raises Malformed."""
        id, origin, to = field(envelope, "id", str), field(envelope, "from", str), field(envelope, "to", str)
        body, hops = field(envelope, "body", dict), natural(envelope, "hops")
        field(envelope, "flood", bool)
        if not {origin, to} <= self._members:
            raise Malformed("relayed from or to a node that is no member")
        if origin == self._me or not self._fresh(id):
            return
        self._routes[origin] = peer
        if to == self._me:
            self._deliver(origin, body)
        elif hops < MAX_HOPS:
            self._forward({**envelope, "hops": hops + 1}, came_from=peer)

    def _fresh(self, id: str) -> bool:
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def _forward(self, envelope: dict[str, Any], came_from: str | None) -> None:
        peers = set(self._peers())
        to = envelope["to"]
        route = to if to in peers else self._routes.get(to)
        if route in peers and route != came_from and not envelope["flood"]:
            self._send(route, envelope)
            return
        for peer in sorted(peers - {came_from}):
            self._send(peer, envelope)
