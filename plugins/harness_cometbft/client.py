"""One connection to one CometBFT node: JSON-RPC over HTTP."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import httpx

from harness.api import (
    Address,
    Batching,
    Block,
    BlockHeader,
    BrokenAnswer,
    ChainClient,
    Clock,
    Head,
    Receipt,
    SubmissionFormat,
    SystemClock,
    Taken,
    Transaction,
    Unreachable,
)
from harness_cometbft import rpc

T = TypeVar("T")

REQUEST_TIMEOUT = 5.0
_PAGE = 20  # `blockchain` gives no more headers at once
_VALIDATORS = 100  # `validators` gives no more at once
_LOOKS = 10  # so often is a block that is due looked for every tick

# A transaction did certainly not get in if the RPC server turned the request down (JSON-RPC 2.0: parse error, invalid
# request, invalid params; a body that is too large is an invalid request), or if the mempool said no
# (mempool/errors.go). Any other error of `broadcast_tx_sync` leaves it open.
_BAD_REQUEST = frozenset({-32700, -32600, -32602})
_REFUSALS = (
    "tx already exists in cache",
    "mempool is full",
    "mempool is still rechecking",
    "Tx too large",
    "tx pre check",
)


class RpcError(BrokenAnswer):
    """The node answered, but with an error of its own or with something that is not the RPC's answer."""

    def __init__(self, message: str, code: int = 0, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class CometClient(ChainClient):
    """`node_ids` maps peers' ids, `proposers` validators' addresses, to names of nodes.

    New blocks are looked for `block_interval` seconds apart: none is to be expected sooner after the last one."""

    def __init__(
        self,
        node: str,
        api: Address,
        *,
        node_ids: Mapping[str, str],
        proposers: Mapping[str, str],
        block_interval: float,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._node = node
        self._node_ids = node_ids
        self._proposers = proposers
        self._interval = block_interval
        self._clock = clock or SystemClock()
        # The environment's proxies are none of a node's business, hence trust_env.
        self._http = httpx.AsyncClient(
            base_url=f"http://{api}",
            timeout=REQUEST_TIMEOUT,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            trust_env=False,
            transport=transport,
        )

    async def _call(self, method: str, read: Callable[[Any], T], **params: str) -> T:
        """`read` of the method's result. Raises Unreachable, or RpcError when the node answers with an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = await self._http.post("/", json=request)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._node}: {method}: {str(error) or type(error).__name__}") from error
        return _read(f"{self._node}: {method}", response.content, read)

    async def head(self) -> Head:
        return await self._call("status", rpc.head)

    async def version(self) -> str:
        return await self._call("status", lambda status: f"CometBFT {status['node_info']['version']}")

    async def identity(self) -> rpc.Identity:
        """Who the node says that it is."""
        return await self._call("status", rpc.identity)

    async def powers(self) -> Mapping[str, int]:
        """The voting power of every validator, by address, at the newest height."""
        found: dict[str, int] = {}
        for page in itertools.count(1):
            powers, total = await self._call("validators", rpc.powers, page=str(page), per_page=str(_VALIDATORS))
            found |= powers
            if not powers or len(found) >= total:
                break
        return found

    async def peers(self) -> frozenset[str]:
        """A peer that is no node of this network appears by its id, so that it does not go unnoticed."""
        ids = await self._call("net_info", rpc.peer_ids)
        return frozenset(self._node_ids.get(id, id) for id in ids)

    async def pending(self) -> int:
        return await self._call("num_unconfirmed_txs", lambda answer: int(answer["n_txs"]))

    async def block(self, hash: str, height: int) -> Block:
        encoded = base64.b64encode(bytes.fromhex(hash)).decode()
        found = await self._call("block_by_hash", lambda answer: rpc.block(answer, self._proposers), hash=encoded)
        if found is None:
            raise LookupError(f"{self._node} has no block {hash} at height {height}")
        return found

    async def submit(self, transaction: Transaction) -> Receipt:
        payload = base64.b64encode(transaction.payload).decode()
        try:
            return await self._call("broadcast_tx_sync", partial(_receipt, transaction.id), tx=payload)
        except RpcError as error:
            return _refusal(transaction.id, error)

    async def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        """Polls, since CometBFT's push (WebSocket events) neither carries a block's hash with its header alone nor
        tells a slow reader what it dropped.

        About three requests a block: none for most of an interval after a new block, then one every `tick`, so
        that a block is seen within a tick (a tenth of an interval, at most 100 ms) of being there. After ten
        looks in vain it looks twice an interval.
        Committed blocks are final. If one changes nevertheless, it is given again, with its new hash."""
        rest, seldom, tick = 0.9 * self._interval, 0.5 * self._interval, min(0.1, 0.1 * self._interval)
        known, vain = "", 0
        while True:
            page = await self.headers(after)
            fresh = [header for header in page if header.height > after or (known and header.hash != known)]
            for header in fresh:
                yield header
            if page:
                after, known = page[-1].height, page[-1].hash
            if len(page) == _PAGE:
                continue
            if not fresh:
                vain += 1
                await self._clock.sleep(tick if vain <= _LOOKS else seldom)
            else:
                # Seen a tick after a look in vain, it is new. Otherwise there is no telling how late this is:
                # look sooner the next time, to get in step.
                await self._clock.sleep(rest if 1 <= vain <= _LOOKS else seldom)
                vain = 0

    async def headers(self, first: int) -> list[BlockHeader]:
        """The node's headers from height `first` (1 for 0) on, a page of them; none if it is not there yet.

        It includes `first`, already known, because the node calls a range above its last block an error.
        Blocks whose headers say that they have evidence are asked for, for whom it is against."""
        first = max(1, first)
        try:
            found, guilty = await self._call(
                "blockchain",
                lambda answer: (rpc.headers(answer, self._proposers), rpc.with_evidence(answer)),
                minHeight=str(first),
                maxHeight=str(first + _PAGE - 1),
            )
            return [await self._accusing(header) if header.hash in guilty else header for header in found]
        except RpcError:
            if (await self.head()).height < first:
                return []
            raise

    async def _accusing(self, header: BlockHeader) -> BlockHeader:
        encoded = base64.b64encode(bytes.fromhex(header.hash)).decode()
        accused = await self._call("block_by_hash", lambda answer: rpc.accused(answer, self._proposers), hash=encoded)
        return replace(header, accused=accused)

    async def aclose(self) -> None:
        await self._http.aclose()


class TransactionFormat(SubmissionFormat):
    """`broadcast_tx_sync` by POST: `result.code` 0 means that the mempool has it."""

    headers = MappingProxyType({"Content-Type": "application/json"})
    taken = Taken((200,), ("result", "code"), 0)
    batching = Batching(10)  # `max_request_batch_size`, as nodes have it by default

    def body(self, transaction: Transaction, serial: int) -> bytes:
        payload = base64.b64encode(transaction.payload)
        return b'{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_sync","params":{"tx":"%b"}}' % (serial, payload)

    def read(self, transaction: Transaction, status: int, body: bytes) -> Receipt:
        try:
            return _read("broadcast_tx_sync", body, partial(_receipt, transaction.id))
        except RpcError as error:
            return _refusal(transaction.id, error)


def _read(what: str, content: bytes, read: Callable[[Any], T]) -> T:
    """`read` of the result in an answer. Raises RpcError for one of another kind, and for what is none."""
    try:
        answer = json.loads(content)
        if failure := answer.get("error"):
            code, data = int(failure["code"]), str(failure.get("data", ""))
            raise RpcError(f"{what}: {failure.get('message')}: {data}", code, data)
        return read(answer["result"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RpcError(f"{what}: not an answer of CometBFT: {content[:200]!r}") from error


def _receipt(id: str, result: Any) -> Receipt:
    """What the mempool says (`ResultBroadcastTx`)."""
    code, log = int(result["code"]), str(result["log"])
    if code == 0:
        return Receipt(True, id)
    return Receipt(False, id, f"code {code}: {log}" if log else f"code {code}")


def _refusal(id: str, error: RpcError) -> Receipt:
    """Raises the error again where it leaves open whether the transaction got in."""
    if error.code in _BAD_REQUEST or error.data.startswith(_REFUSALS):
        return Receipt(False, id, error.data)
    raise error
