"""Transactions that wait for a block: transfers in their sender's nonce order, inscriptions in order of arrival."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from .genesis import Genesis
from .ledger import State, check_balance, check_nonce
from .transactions import Rejected, Tx

MAX_TOTAL = 50_000
MAX_PER_SENDER = 4_096
MAX_NONCE_GAP = 256
"""How far ahead of the sender's last waiting nonce a transfer may be: it arrived before its predecessors."""


class _Queue:
    """One sender's waiting transfers by nonce."""

    def __init__(self) -> None:
        self.by_nonce: dict[int, tuple[int, Tx]] = {}
        self.cost = 0

    def end(self, start: int) -> int:
        """The first nonce from `start` on that is not here."""
        while start in self.by_nonce:
            start += 1
        return start


class Mempool:
    """Holds what could enter a block after `state`, the ledger of the best chain's head.

    Signatures are checked by whoever calls `add`."""

    def __init__(self, genesis: Genesis, state: State) -> None:
        self._limits = genesis.limits
        self._state = state
        self._queues: dict[str, _Queue] = {}
        self._inscriptions: dict[str, tuple[int, Tx]] = {}
        self._by_id: dict[str, Tx] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def all(self) -> list[Tx]:
        return list(self._by_id.values())

    def next_nonce(self, address: str) -> int:
        """The nonce that the sender's next transfer must carry, counting what waits without a gap."""
        nonce = self._state.account(address).nonce
        queue = self._queues.get(address)
        return queue.end(nonce) if queue else nonce

    def add(self, tx: Tx, lapse: str = "") -> None:
        """Raises Rejected, with the reason. `lapse`: see Draft.apply."""
        if tx.id in self._by_id:
            raise Rejected("already in the mempool")
        if len(self._by_id) >= MAX_TOTAL:
            raise Rejected(f"the mempool is full ({MAX_TOTAL} transactions)")
        if tx.size > self._limits.block_bytes:
            raise Rejected(f"{tx.size} bytes do not fit into a block of {self._limits.block_bytes}")
        self._arrivals += 1
        if tx.kind == "transfer":
            self._add_transfer(tx, lapse)
        else:
            if self._state.get("i/" + tx.id) is not None:
                raise Rejected("already included")
            self._inscriptions[tx.id] = (self._arrivals, tx)
        self._by_id[tx.id] = tx

    def _add_transfer(self, tx: Tx, lapse: str) -> None:
        account = self._state.account(tx.sender)
        check_nonce(tx.nonce, account.nonce, lapse)
        queue = self._queues.get(tx.sender) or _Queue()
        if tx.nonce in queue.by_nonce:
            raise Rejected(f"nonce {tx.nonce} is already waiting, next is {queue.end(account.nonce)}")
        if tx.nonce > queue.end(account.nonce) + MAX_NONCE_GAP:
            raise Rejected(f"nonce {tx.nonce} is too far ahead, next is {queue.end(account.nonce)}")
        if len(queue.by_nonce) >= MAX_PER_SENDER:
            raise Rejected(f"the sender has {MAX_PER_SENDER} transactions waiting already")
        check_balance(queue.cost + tx.cost, account.balance, lapse)
        queue.by_nonce[tx.nonce] = (self._arrivals, tx)
        queue.cost += tx.cost
        self._queues[tx.sender] = queue

    def select(self, state: State, proposer: str, lapse: str = "") -> tuple[tuple[Tx, ...], State]:
        """What a block on top of `state` is to carry, in order of arrival within the limits, and the state after it."""
        draft = state.draft()
        chosen: list[Tx] = []
        size = 0
        ready = [(arrival, tx) for arrival, tx in self._inscriptions.values()]
        for sender, queue in self._queues.items():
            nonce = state.account(sender).nonce
            if first := queue.by_nonce.get(nonce):
                ready.append(first)
            if lapse == "accept-replay":
                ready += [waiting for used, waiting in queue.by_nonce.items() if used < nonce]
        heap = [(arrival, tx.id, tx) for arrival, tx in ready]
        heapq.heapify(heap)
        while heap and len(chosen) < self._limits.block_txs:
            _, _, tx = heapq.heappop(heap)
            if size + tx.size > self._limits.block_bytes:
                continue
            try:
                draft.apply(tx, proposer, lapse)
            except Rejected:
                continue  # no longer affordable, or a gap: its successors wait with it
            chosen.append(tx)
            size += tx.size
            after = self._queues[tx.sender].by_nonce.get(tx.nonce + 1) if tx.kind == "transfer" else None
            if after and after[1].nonce >= state.account(tx.sender).nonce:
                heapq.heappush(heap, (after[0], after[1].id, after[1]))
        return tuple(chosen), draft.commit()

    def move(self, state: State, included: Iterable[Tx], abandoned: Iterable[Tx]) -> None:
        """The best chain moved to `state`: drop what it includes or has made void, take back what it abandoned."""
        self._state = state
        senders = set()
        for tx in included:
            if tx.kind == "transfer":
                senders.add(tx.sender)
            else:
                self._drop(tx.id)
        for sender in senders & self._queues.keys():
            nonce = state.account(sender).nonce
            for used in [n for n in self._queues[sender].by_nonce if n < nonce]:
                self._drop(self._queues[sender].by_nonce[used][1].id)
        for tx in abandoned:
            try:
                self.add(tx)
            except Rejected:
                continue  # the new chain includes it too, or has used its nonce otherwise

    def _drop(self, id: str) -> None:
        tx = self._by_id.pop(id, None)
        if tx is None:
            return
        if tx.kind == "transfer":
            queue = self._queues[tx.sender]
            del queue.by_nonce[tx.nonce]
            queue.cost -= tx.cost
            if not queue.by_nonce:
                del self._queues[tx.sender]
        else:
            del self._inscriptions[tx.id]
