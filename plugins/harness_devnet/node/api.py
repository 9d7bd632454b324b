"""The node's HTTP API. Answers are JSON; errors are {"error": why} with a fitting status.

GET  /head                                 best block, final height, whether the node is catching up
GET  /status                               name, role, version, counters
GET  /genesis                              the genesis document of its network
GET  /blocks?after=H&hash=X&wait=S         headers above height H of the best chain; X is the hash that the client
                                           has at H: if it is no longer there, headers begin at the fork point.
                                           Where there are none, waits up to S seconds for one
GET  /block/HASH                           a block with its transactions' ids; &full=1: whole transactions
GET  /peers                                names of the peers connected now
GET  /account/ADDRESS                      balance, and next nonce counting what is pending
GET  /accounts?final=1                     all balances and their sum, at the head or at the last final block; next
                                           nonces counting what is pending, and of whom something is pending
GET  /mempool                              how many transactions wait
POST /tx        {transaction}              -> {id}
POST /channel   {channel, data}            -> {id}    data in base64; executors only
POST /blob      {channel, data}            -> {id}    the same
GET  /blob/ID                              -> {id, data, bad_shares}"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Any

from . import VERSION, ed25519
from .blocktree import Node
from .codec import Malformed, decode_object, field, is_hex
from .core import Core
from .da import TooFewShares
from .http import HttpError, Request
from .ledger import State
from .misbehave import FORGED_AMOUNT
from .transactions import Rejected

MAX_WAIT = 30.0
MAX_HEADERS = 500


class Api:
    """Answers requests from a node's core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._chain = core.chain
        self._moved = asyncio.Event()
        core.on_head = self._head_moved
        self._get: dict[str, Callable[..., Any]] = {
            "head": self._head,
            "status": self._status,
            "genesis": lambda query: core.genesis.document,
            "blocks": self._blocks,
            "peers": self._peers,
            "mempool": self._mempool,
            "accounts": self._accounts,
        }
        self._get_named: dict[str, Callable[..., Any]] = {
            "block": self._block,
            "account": self._account,
            "blob": self._blob,
        }
        self._post: dict[str, Callable[[dict[str, Any]], str]] = {
            "tx": core.submit,
            "channel": lambda body: core.da.write_channel(*self._payload(body)),
            "blob": lambda body: core.da.disperse(*self._payload(body)),
        }

    def max_body(self) -> int:
        """Bytes that the largest sensible request has: a blob or an inscription in base64."""
        limits = self._core.genesis.limits
        return 2 * max(limits.blob_bytes, limits.inscription_bytes) + (64 << 10)

    def _head_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def handle(self, request: Request) -> Any:
        """Raises HttpError."""
        if self._core.conduct.breaks("mute", self._chain.head.height):
            raise HttpError(503, "mute, as node.json asks")
        path = request.path
        if request.method == "GET" and len(path) == 1 and path[0] in self._get:
            answer = self._get[path[0]](request.query)
        elif request.method == "GET" and len(path) == 2 and path[0] in self._get_named:
            answer = self._get_named[path[0]](path[1], request.query)
        elif request.method == "POST" and len(path) == 1 and path[0] in self._post:
            return self._submit(self._post[path[0]], request.body)
        elif path and path[0] in {*self._get, *self._get_named, *self._post}:
            raise HttpError(405 if len(path) == 1 else 404, f"no {request.method} of /{'/'.join(path)[:64]}")
        else:
            raise HttpError(404, "no such resource")
        return await answer if asyncio.iscoroutine(answer) else answer

    def _submit(self, take: Callable[[dict[str, Any]], str], body: bytes) -> dict[str, str]:
        try:
            return {"id": take(decode_object(body))}
        except Malformed as error:
            raise HttpError(400, str(error)) from None
        except Rejected as error:
            raise HttpError(422, str(error)) from None

    @staticmethod
    def _payload(body: dict[str, Any]) -> tuple[str, bytes]:
        try:
            return field(body, "channel", str), base64.b64decode(field(body, "data", str), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed(str(error)) from None

    def _head(self, query: dict[str, str]) -> dict[str, Any]:
        tree = self._chain.tree
        return {
            **self._header(tree.head),
            "final_height": tree.final_height,
            "syncing": self._core.syncing,
        }

    def _header(self, node: Node) -> dict[str, Any]:
        return {
            "height": node.height, "hash": node.hash, "parent": node.parent, "slot": node.slot,
            "time": self._core.genesis.slot_start(node.slot), "proposer": node.proposer, "tx_count": node.tx_count,
        }  # fmt: skip

    def _status(self, query: dict[str, str]) -> dict[str, Any]:
        return {
            **self._head(query),
            "name": self._core.who.member.name,
            "role": self._core.who.member.role,
            "version": VERSION,
            "ed25519": ed25519.BACKEND,
            "genesis": self._core.genesis.hash,
            "peers": sorted(self._core.peers),
            "mempool": len(self._chain.mempool),
            "bad_shares": dict(self._core.da.bad_shares),
        }

    async def _blocks(self, query: dict[str, str]) -> dict[str, Any]:
        after, wait = _number(query, "after", 0), min(_number(query, "wait", 0), MAX_WAIT)
        hash = query.get("hash", "")
        moved = self._moved
        nodes = self._chain.tree.above(int(after), hash, MAX_HEADERS)
        if not nodes and wait:
            try:
                async with asyncio.timeout(wait):
                    await moved.wait()
            except TimeoutError:
                return {"headers": []}
            nodes = self._chain.tree.above(int(after), hash, MAX_HEADERS)
        return {"headers": [self._header(node) for node in nodes]}

    def _peers(self, query: dict[str, str]) -> dict[str, Any]:
        return {"peers": sorted(self._core.peers)}

    def _mempool(self, query: dict[str, str]) -> dict[str, Any]:
        return {"pending": len(self._chain.mempool)}

    def _block(self, hash: str, query: dict[str, str]) -> dict[str, Any]:
        node = self._chain.tree.get(hash)
        if node is None:
            raise HttpError(404, "no such block")
        txs = self._chain.block(hash).txs if node.height else ()
        answer = {**self._header(node), "tx_ids": [tx.id for tx in txs]}
        if query.get("full"):
            answer["txs"] = [tx.raw for tx in txs]
        return answer

    def _state(self, query: dict[str, str]) -> State:
        return self._chain.final_state if query.get("final") else self._chain.state

    def _shown(self, address: str, balance: int) -> int:
        """The balance as this node's conduct has it: the true one, unless it is to forge one wallet's."""
        if self._core.conduct.breaks("forge-balance", self._chain.head.height):
            return balance + FORGED_AMOUNT * (address == min(self._core.genesis.balances, default=""))
        return balance

    def _account(self, address: str, query: dict[str, str]) -> dict[str, Any]:
        if not is_hex(address, 32):
            raise HttpError(400, "an address is 32 bytes of lower-case hex")
        account = self._state(query).account(address)
        return {
            "balance": self._shown(address, account.balance),
            "nonce": self._chain.mempool.next_nonce(address),
            "confirmed_nonce": account.nonce,
        }

    def _accounts(self, query: dict[str, str]) -> dict[str, Any]:
        accounts = dict(self._state(query).accounts())
        balances = {a: self._shown(a, account.balance) for a, account in accounts.items()}
        nonces = {a: self._chain.mempool.next_nonce(a) for a in accounts}
        height = self._chain.tree.final_height if query.get("final") else self._chain.head.height
        return {
            "height": height,
            "balances": balances,
            "supply": sum(balances.values()),
            "nonces": nonces,
            "pending": sorted(a for a, account in accounts.items() if nonces[a] != account.nonce),
        }

    async def _blob(self, blob: str, query: dict[str, str]) -> dict[str, Any]:
        if not is_hex(blob, 32):
            raise HttpError(400, "a blob's id is 32 bytes of lower-case hex")
        done = asyncio.Event()
        try:
            retrieval = self._core.da.retrieve(blob, done.set)
            await done.wait()
            data = retrieval.result()
        except TooFewShares as error:
            raise HttpError(404, str(error)) from None
        return {"id": blob, "data": base64.b64encode(data).decode(), "bad_shares": sorted(retrieval.bad)}


def _number(query: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(query.get(name, default))
    except ValueError:
        raise HttpError(400, f"{name} is not a number") from None
    if not 0 <= value < 2**53:
        raise HttpError(400, f"{name} is out of range")
    return value
