"""Catching up: which peer knows a better chain, and asking one at a time for the blocks that we lack.

A request carries a locator (blocktree.BlockTree.locator); the answer is the next blocks of the peer's best chain
after the last one that both know. What a peer says of its head comes with every ping, so a lost announcement or a
partition that heals needs nothing special."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .blocktree import BlockTree

REQUEST_TIMEOUT = 5.0
"""Seconds after which a peer that was asked counts as not answering."""
REFUSAL = 5.0
"""Seconds for which a peer that proved of no use is not asked again."""


@dataclass(slots=True)
class PeerView:
    """What a peer said of itself. `refused_at`: when it last proved of no use (it did not answer, or its chain
    leaves ours below a final block); it is left alone for a while, or until its head is one that we know."""

    height: int = 0
    hash: str = ""
    refused_at: float | None = None


class Sync:
    """`request(peer)` sends a request; `clock` gives monotonic seconds."""

    def __init__(self, tree: BlockTree, request: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tree = tree
        self._request = request
        self._clock = clock
        self._peers: dict[str, PeerView] = {}
        self._asked: tuple[str, float] | None = None

    @property
    def catching_up(self) -> bool:
        """Whether a peer that we can follow is more than one block ahead of us."""
        height = self._tree.head.height
        return any(v.height > height + 1 and v.refused_at is None and self._lacks(v) for v in self._peers.values())

    def connected(self, peer: str, height: int, hash: str) -> None:
        self._peers[peer] = PeerView()
        self.heard(peer, height, hash)

    def disconnected(self, peer: str) -> None:
        self._peers.pop(peer, None)
        if self._asked and self._asked[0] == peer:
            self._asked = None
            self.go_on()

    def heard(self, peer: str, height: int, hash: str) -> None:
        """A peer says which block is its head."""
        view = self._peers.get(peer)
        if view is not None:
            view.height, view.hash = height, hash
            if hash in self._tree:
                view.refused_at = None
            self.go_on()

    def answered(self, peer: str, progress: bool) -> None:
        """A peer's answer was processed. Without progress its chain is of no use to us now."""
        if self._asked and self._asked[0] == peer:
            self._asked = None
        view = self._peers.get(peer)
        if view is not None:
            view.refused_at = None if progress else self._clock()
        self.go_on()

    def go_on(self) -> None:
        """Ask the peer with the highest head that we lack, unless one is being asked already."""
        now = self._clock()
        if self._asked:
            late, since = self._asked
            if now - since < REQUEST_TIMEOUT:
                return
            self._asked = None
            self._peers[late].refused_at = now
        best = max(
            (name for name, view in self._peers.items() if self._lacks(view) and self._useful(view, now)),
            key=lambda name: (self._peers[name].height, name),
            default=None,
        )
        if best is not None:
            self._asked = (best, now)
            self._request(best)

    def _lacks(self, view: PeerView) -> bool:
        return view.height >= self._tree.head.height and view.hash not in self._tree

    @staticmethod
    def _useful(view: PeerView, now: float) -> bool:
        return view.refused_at is None or now - view.refused_at >= REFUSAL
