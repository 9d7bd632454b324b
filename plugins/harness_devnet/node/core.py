"""The protocol of one node: what it does with each message, each slot it leads, each request. No I/O, no waiting.

Messages between peers are JSON objects with a `type`:

    head   {height, hash}              what the sender's best block is (also in hello, ping and pong)
    block  {block}                     a new block
    txs    {txs}                       transactions to hold for inclusion
    get    {locator}                   send me what follows on your best chain
    chain  {blocks}                    the answer
    relay  {…}                         carried for somebody else (relay)"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from .availability import Availability
from .block import Block
from .blocktree import HeadChange, TooDeep, UnknownParent
from .codec import Malformed, encode, field, hex_field, natural
from .consensus import Chain, Early, Identity, InvalidBlock, read_block
from .da import ShareStore
from .genesis import Genesis
from .host import Host
from .misbehave import SLOTS, UNUSED_SLOTS, Conduct, Panic
from .store import BlockStore
from .sync import Sync
from .transactions import Rejected, Tx, parse

log = logging.getLogger("core")

BATCH_BLOCKS = 200
BATCH_BYTES = 1 << 20
TXS_PER_MESSAGE = 500
GRACE = 2.0
"""Seconds after its start in which a node without peers does not propose: others may be far ahead of it."""

Message = dict[str, Any]


class PeerFault(Exception):
    """A peer broke the protocol: its connection is to be dropped."""


class Core:
    """One node. `on_head` is called after each change of the best chain."""

    def __init__(
        self,
        genesis: Genesis,
        who: Identity,
        store: BlockStore,
        shares: ShareStore,
        host: Host,
        conduct: Conduct,
    ) -> None:
        self.genesis = genesis
        self.who = who
        self.conduct = conduct
        self.chain = Chain(genesis, store, host.wall, conduct)
        self.on_head: Callable[[], None] = lambda: None
        self._host = host
        self._peers: set[str] = set()
        self._met_peers = len(genesis.members) == 1
        self._resumed = False
        self._started = host.now()
        self._sync = Sync(self.chain.tree, self._request, host.now)
        self._outbox: list[tuple[str, Tx]] = []
        self.da = Availability(self.chain, who, shares, host, lambda: self._peers, self.submit, conduct)

    # What the node's owner sees and asks

    @property
    def peers(self) -> frozenset[str]:
        return frozenset(self._peers)

    @property
    def syncing(self) -> bool:
        """Whether it lacks blocks that peers have, or has only just started and met nobody who could tell."""
        return not self._ignores_blocks() and (self._sync.catching_up or not self._ready())

    def start(self) -> None:
        """Begin to take part: from now on, slots that this node leads are used."""
        self._started = self._host.now()
        self._resumed = self.chain.head.height > 0
        if self.who.member.role == "validator":
            self._plan(self._slot())

    def submit(self, raw: Message) -> str:
        """Take a transaction and pass it on; returns its id. Raises Malformed, Rejected."""
        tx = parse(raw, self.genesis)
        try:
            self._take(tx, source="")
        except Rejected:
            self.chain.smuggle(tx)
            raise
        return tx.id

    def hello(self) -> Message:
        head = self.chain.head
        return {"height": head.height, "hash": head.hash}

    # Proposing

    def _slot(self) -> int:
        return self.genesis.slot_at(self._host.wall())

    def _plan(self, after: int) -> None:
        slot = self.chain.lottery.next_led(self.who.member, after)
        if slot is not None:
            self._wait_for(slot)

    def _wait_for(self, slot: int) -> None:
        delay = self.genesis.slot_start(slot) - self._host.wall()
        self._host.later(max(0.0, delay), lambda: self._slot_came(slot))

    def _slot_came(self, slot: int) -> None:
        now = self._slot()
        if now < slot:  # the timer's clock runs a little ahead of the wall clock
            self._wait_for(slot)
            return
        if now == slot:
            self._lead(slot)
        else:
            log.warning("slot %d missed: woken in slot %d", slot, now)
        self._plan(now)

    def _lead(self, slot: int) -> None:
        head = self.chain.head
        if self._stands_still() or self.conduct.breaks("silent", head.height):
            return
        if self.conduct.breaks("slow-pace", head.height) and slot % SLOTS < UNUSED_SLOTS:
            return
        if head.slot >= slot:
            return  # another leader of this slot was quicker; ours would only compete with its block
        if self.syncing:
            log.info("slot %d not used: catching up", slot)
            return
        empty = self.conduct.breaks("drop-transactions", head.height)
        blocks = [self.chain.propose(slot, self.who, head, empty=empty)]
        if blocks[0].txs and self.conduct.breaks("sign-twice", head.height):
            blocks.append(self.chain.propose(slot, self.who, head, empty=True))
        peers = sorted(self._peers)
        for number, block in enumerate(blocks):
            change = self.chain.add(block)
            log.info(
                "block %d %s proposed in slot %d: %d transactions", block.height, block.hash[:12], slot, len(block.txs)
            )
            self._announce(block, peers[number :: len(blocks)])
            if change:
                self._head_moved(change)

    def _ready(self) -> bool:
        return self._met_peers or self._host.now() - self._started >= GRACE

    def _stands_still(self) -> bool:
        height = self.chain.head.height
        return self.conduct.breaks("freeze", height) or (self._resumed and self.conduct.breaks("stay-behind", height))

    def _ignores_blocks(self) -> bool:
        return self._stands_still() or self.conduct.breaks("fork", self.chain.head.height)

    # Peers

    def connected(self, peer: str, hello: Message) -> None:
        """A peer is there, and says what its head is. Raises PeerFault."""
        head = self._head_of(hello)
        self._peers.add(peer)
        self._met_peers = True
        log.info("peer %s connected", peer)
        if not self._drops_transactions():
            self._send_txs(peer, self.chain.mempool.all())
        self._sync.connected(peer, *head)

    def disconnected(self, peer: str) -> None:
        self._peers.discard(peer)
        self._sync.disconnected(peer)
        log.info("peer %s disconnected", peer)

    def received(self, peer: str, message: Message) -> None:
        """A message from a connected peer. Raises PeerFault."""
        try:
            self._handle(peer, message)
        except (Malformed, InvalidBlock) as error:
            raise PeerFault(str(error)) from None

    def _head_of(self, message: Message) -> tuple[int, str]:
        try:
            return natural(message, "height"), hex_field(message, "hash", 32)
        except Malformed as error:
            raise PeerFault(str(error)) from None

    def _handle(self, peer: str, message: Message) -> None:
        kind = field(message, "type", str)
        if kind == "txs":
            self._txs_came(peer, field(message, "txs", list))
        elif kind == "get":
            self._get_came(peer, field(message, "locator", list))
        elif kind == "relay":
            self.da.relay.receive(peer, message)
        elif kind not in ("head", "ping", "pong", "block", "chain"):
            raise Malformed(f"no message type {kind[:32]!r}")
        elif self._ignores_blocks():
            return
        elif kind == "block":
            self._block_came(peer, read_block(message.get("block"), self.genesis))
        elif kind == "chain":
            self._chain_came(peer, field(message, "blocks", list))
        else:
            self._sync.heard(peer, *self._head_of(message))

    def _send(self, peer: str, message: Message) -> None:
        self._host.send(peer, encode(message))

    def _send_all(self, peers: Iterable[str], message: Message) -> None:
        data = encode(message)
        for peer in sorted(peers):
            self._host.send(peer, data)

    # Blocks

    def _announce(self, block: Block, to: Iterable[str]) -> None:
        self._send_all(to, {"type": "block", "block": block.to_json()})

    def _block_came(self, peer: str, block: Block) -> None:
        if block.hash not in self.chain.tree:
            try:
                change = self.chain.add(block)
            except UnknownParent:
                self._sync.heard(peer, block.height, block.hash)
                return
            except (TooDeep, Early) as error:
                log.warning("block %d %s from %s refused: %s", block.height, block.hash[:12], peer, error)
                return
            if change:
                self._announce(block, self._peers - {peer})
                self._head_moved(change)
        self._sync.heard(peer, block.height, block.hash)

    def _request(self, peer: str) -> None:
        self._send(peer, {"type": "get", "locator": self.chain.tree.locator()})

    def _get_came(self, peer: str, locator: list[Any]) -> None:
        if len(locator) > 200 or not all(isinstance(hash, str) for hash in locator):
            raise Malformed("a locator is a list of at most 200 hashes")
        blocks: list[Message] = []
        size = 0
        for node in self.chain.tree.after_locator(locator, BATCH_BLOCKS):
            block = self.chain.block(node.hash)
            size += sum(tx.size for tx in block.txs) + 1000
            if blocks and size > BATCH_BYTES:
                break
            blocks.append(block.to_json())
        self._send(peer, {"type": "chain", "blocks": blocks})

    def _chain_came(self, peer: str, values: list[Any]) -> None:
        before = self.chain.head
        progress = False
        for value in values[:BATCH_BLOCKS]:
            block = read_block(value, self.genesis)
            if block.hash in self.chain.tree:
                continue
            try:
                change = self.chain.add(block)
            except (UnknownParent, TooDeep, Early) as error:
                log.warning("chain of %s not followed at height %d: %s", peer, block.height, error)
                break
            progress = True
            if change:
                self._head_moved(change)
        self._sync.answered(peer, progress)
        if self.chain.head is not before:
            self._send_all(self._peers - {peer}, {"type": "head", **self.hello()})

    def _head_moved(self, change: HeadChange) -> None:
        head = self.chain.head
        if self.conduct.breaks("panic", head.height):
            raise Panic(f"at height {head.height}, as node.json asks")
        self.on_head()

    # Transactions

    def _drops_transactions(self) -> bool:
        return self.conduct.breaks("drop-transactions", self.chain.head.height)

    def _take(self, tx: Tx, source: str) -> None:
        self.chain.submit(tx)
        if self._drops_transactions():
            return
        if not self._outbox:
            self._host.later(0.0, self._pass_on)
        self._outbox.append((source, tx))

    def _pass_on(self) -> None:
        """Send on what came in since the last turn of the event loop, in one message to each peer."""
        outbox, self._outbox = self._outbox, []
        for peer in sorted(self._peers):
            self._send_txs(peer, [tx for source, tx in outbox if source != peer])

    def _send_txs(self, peer: str, txs: list[Tx]) -> None:
        batch: list[Message] = []
        size = 0
        for tx in txs:
            if batch and (len(batch) == TXS_PER_MESSAGE or size + tx.size > BATCH_BYTES):
                self._send(peer, {"type": "txs", "txs": batch})
                batch, size = [], 0
            batch.append(tx.raw)
            size += tx.size
        if batch:
            self._send(peer, {"type": "txs", "txs": batch})

    def _txs_came(self, peer: str, raws: list[Any]) -> None:
        for raw in raws[:TXS_PER_MESSAGE]:
            tx = parse_from_peer(raw, self.genesis)
            try:
                self._take(tx, source=peer)
            except Rejected as error:
                log.debug("transaction %s from %s: %s", tx.id[:12], peer, error)


def parse_from_peer(raw: object, genesis: Genesis) -> Tx:
    """Raises Malformed: an honest peer has checked the form before it passes a transaction on."""
    try:
        return parse(raw, genesis)
    except Rejected as error:
        raise Malformed(str(error)) from None
