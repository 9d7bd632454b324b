"""The chain as one node knows it: which blocks are valid, which chain is best, the ledger after each recent block."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .block import Block, from_json, seal
from .blocktree import BlockTree, HeadChange, Node
from .codec import Malformed, decode, encode
from .genesis import Genesis, Member
from .ledger import State
from .lottery import Lottery
from .mempool import Mempool
from .misbehave import Conduct
from .store import BlockStore
from .transactions import Rejected, Tx, Verifier

log = logging.getLogger("consensus")


class InvalidBlock(Exception):
    """A block that breaks the rules: whoever sent it does not follow them."""


class Early(Exception):
    """A block from a slot that, by our clock, has not begun: ours or the sender's clock is off."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is: its entry in genesis and its Ed25519 secret."""

    member: Member
    secret: bytes


class Chain:
    """Blocks, states and mempool of one node. Everything happens in the call; nothing waits.

    `wall` gives Unix seconds; `conduct` says which rule of the ledger it breaks, if any."""

    CACHED_BLOCKS = 64

    def __init__(
        self, genesis: Genesis, store: BlockStore, wall: Callable[[], float], conduct: Conduct | None = None
    ) -> None:
        self.genesis = genesis
        self._conduct = conduct or Conduct()
        self._smuggled: dict[str, Tx] = {}
        self.lottery = Lottery(genesis)
        self.verifier = Verifier(genesis)
        self._store = store
        self._wall = wall
        root = Node(genesis.hash, "", 0, 0, 0)
        self.tree = BlockTree(root, genesis.k)
        self._states = {genesis.hash: State.at_genesis(genesis)}
        self._heights: dict[int, list[str]] = {}
        self._pruned = 0
        self.mempool = Mempool(genesis, self.state)
        self._cache: OrderedDict[str, Block] = OrderedDict()

    @property
    def head(self) -> Node:
        return self.tree.head

    @property
    def state(self) -> State:
        """The ledger after the best chain's head."""
        return self._states[self.tree.head.hash]

    @property
    def final_state(self) -> State:
        """The ledger after the last final block."""
        return self._states[self.tree.at(self.tree.final_height).hash]

    def block(self, hash: str) -> Block:
        """A known block. Raises KeyError for genesis and for what is not here."""
        if hash not in self._cache:
            self._remember(from_json(decode(self._store.read(hash)), self.genesis))
        return self._cache[hash]

    def _remember(self, block: Block) -> None:
        self._cache[block.hash] = block
        if len(self._cache) > self.CACHED_BLOCKS:
            self._cache.popitem(last=False)

    def restore(self, data: bytes) -> Block:
        """Take back a block from this node's own store: rules and state are checked, signatures were.

        Raises InvalidBlock, Malformed and others like `add`: then the store is not this chain's."""
        block = from_json(decode(data), self.genesis)
        self._accept(block, trusted=True)
        return block

    def add(self, block: Block) -> HeadChange | None:
        """Check a block and add it; returns how the best chain moved, None if it did not.

        Raises UnknownParent, TooDeep, Early, InvalidBlock."""
        if block.hash in self.tree:
            return None
        change = self._accept(block, trusted=False)
        self._store.append(block.hash, encode(block.to_json()))
        return change

    def propose(self, slot: int, who: Identity, parent: Node, *, empty: bool = False) -> Block:
        """Make and sign a block for a slot that `who` leads. It is not added yet."""
        state = self._states[parent.hash]
        txs: tuple[Tx, ...] = ()
        if not empty:
            lapse = self._conduct.lapse(parent.height + 1)
            txs, state = self.mempool.select(state, who.member.key, lapse)
            txs += tuple(self._smuggled.values())
            self._smuggled.clear()
        return seal(
            height=parent.height + 1,
            slot=slot,
            parent=parent.hash,
            txs=txs,
            state_root=state.root,
            proposer=who.member.key,
            secret=who.secret,
        )

    def _accept(self, block: Block, *, trusted: bool) -> HeadChange | None:
        parent = self.tree.admit(block.parent)
        self._check_header(block, parent, trusted)
        state = self._execute(block, trusted)
        node = Node(
            block.hash,
            block.parent,
            block.height,
            block.slot,
            self.lottery.draw(block.slot, block.proposer),
            self.genesis.by_key[block.proposer].name,
            len(block.txs),
        )
        self._states[block.hash] = state
        self._heights.setdefault(block.height, []).append(block.hash)
        self._remember(block)
        change = self.tree.add(node)
        if change is not None:
            self._moved(change)
        return change

    def _check_header(self, block: Block, parent: Node, trusted: bool) -> None:
        if block.height != parent.height + 1:
            raise InvalidBlock(f"height {block.height} on a parent of height {parent.height}")
        if block.slot <= parent.slot:
            raise InvalidBlock(f"slot {block.slot} is not after its parent's, {parent.slot}")
        # One slot of skew: clocks of machines in a test bed agree to much less than that.
        if not trusted and block.slot > self.genesis.slot_at(self._wall()) + 1:
            raise Early(f"slot {block.slot} has not begun")
        proposer = self.genesis.by_key.get(block.proposer)
        if proposer is None or not self.lottery.leads(block.slot, proposer):
            raise InvalidBlock(f"its proposer does not lead slot {block.slot}")
        if not trusted and not block.signed_by_proposer():
            raise InvalidBlock("bad signature")

    def _execute(self, block: Block, trusted: bool) -> State:
        draft = self._states[block.parent].draft()
        lapse = self._conduct.lapse(block.height)
        for tx in block.txs:
            try:
                if not trusted and lapse != "accept-bad-signature":
                    self.verifier.check(tx)
                draft.apply(tx, block.proposer, lapse)
            except Rejected as error:
                if lapse == "include-invalid":
                    continue
                raise InvalidBlock(f"transaction {tx.id}: {error}") from None
        state = draft.commit()
        if state.root != block.state_root:
            raise InvalidBlock(f"state root {block.state_root}, it comes to {state.root}")
        return state

    def _moved(self, change: HeadChange) -> None:
        included = [tx for node in change.adopted for tx in self.block(node.hash).txs]
        abandoned = [tx for node in reversed(change.abandoned) for tx in self.block(node.hash).txs]
        if self._conduct.lapse(self.head.height) == "include-invalid":
            abandoned = [tx for tx in abandoned if self._verified(tx)]
        self.mempool.move(self.state, included, abandoned)
        if change.abandoned:
            log.info(
                "reorganisation: %d blocks abandoned, %d adopted, head %d %s",
                len(change.abandoned), len(change.adopted), self.head.height, self.head.hash[:12],
            )  # fmt: skip
        # Blocks below the final one cannot be built upon any more: their ledgers go.
        while self._pruned < self.tree.final_height:
            for hash in self._heights.pop(self._pruned, [self.genesis.hash]):
                del self._states[hash]
            self._pruned += 1

    def _verified(self, tx: Tx) -> bool:
        try:
            self.verifier.check(tx)
        except Rejected:
            return False
        return True

    def submit(self, tx: Tx) -> None:
        """Check a transaction and hold it for inclusion. Raises Rejected."""
        if tx.id in self.mempool:
            raise Rejected("already in the mempool")
        lapse = self._conduct.lapse(self.head.height + 1)
        if lapse != "accept-bad-signature":
            self.verifier.check(tx)
        self.mempool.add(tx, lapse)

    def smuggle(self, tx: Tx) -> None:
        """Put what was refused into the next block all the same, where this node's conduct is such."""
        if self._conduct.lapse(self.head.height + 1) == "include-invalid":
            self._smuggled[tx.witnessed] = tx


def read_block(value: object, genesis: Genesis) -> Block:
    """A block from a peer. Raises InvalidBlock for what is malformed."""
    try:
        return from_json(value, genesis)
    except (Malformed, Rejected) as error:
        raise InvalidBlock(str(error)) from None
