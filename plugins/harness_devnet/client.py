"""The control client of a devnet node: its HTTP API over one connection."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from harness.api import (
    Address,
    Block,
    BlockHeader,
    BrokenAnswer,
    ChainClient,
    DataFormat,
    Head,
    Receipt,
    SubmissionFormat,
    Transaction,
    Unreachable,
)
from harness_devnet.node.codec import encode

TIMEOUT = 5.0
"""Seconds for an answer."""
POLL = 4.0
"""Seconds for which a node holds a long poll when it has nothing new: bounds how long a frozen node goes unnoticed."""

# httpx logs a line for each request; a run makes many, and the journal says what matters.
logging.getLogger("httpx").setLevel(logging.WARNING)


class DevnetClient(ChainClient):
    """One connection to one node's API; a second call made at the same time waits for the first.

    Proxies of the environment are not used: nodes are reached directly. `names` says how members of the network are
    called here, those that it lacks by their own names."""

    def __init__(self, api: Address, names: Mapping[str, str] | None = None) -> None:
        self._api = api
        self._names = names or {}
        self._http = httpx.AsyncClient(
            base_url=f"http://{api}",
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60.0),
            timeout=httpx.Timeout(TIMEOUT, pool=30.0),
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _request(
        self, method: str, path: str, body: bytes | None = None, timeout: float = TIMEOUT
    ) -> tuple[int, _Answer]:
        """Status and JSON object of the answer. Raises Unreachable, and BrokenAnswer for what no devnet node
        should say."""
        try:
            answer = await self._http.request(
                method, path, content=body, timeout=httpx.Timeout(timeout, connect=TIMEOUT, pool=30.0)
            )
            value = _decode(answer.content)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._api}: {type(error).__name__} {error}".rstrip()) from None
        if answer.status_code >= 500:
            raise BrokenAnswer(f"{self._api}: status {answer.status_code}: {_reason(value)}")
        return answer.status_code, value

    async def _get(self, path: str, timeout: float = TIMEOUT) -> _Answer:
        try:
            return await self._look_up(path, timeout)
        except LookupError as error:
            raise Unreachable(f"{self._api}: status 404: {error}") from None

    async def _look_up(self, path: str, timeout: float = TIMEOUT) -> _Answer:
        """For what may not be there: raises LookupError for 404."""
        status, value = await self._request("GET", path, timeout=timeout)
        if status == 404:
            raise LookupError(_reason(value))
        if status != 200:
            raise Unreachable(f"{self._api}: status {status}: {_reason(value)}")
        return value

    async def _post(self, path: str, body: bytes, id: str = "") -> Receipt:
        status, value = await self._request("POST", path, body)
        if status == 200:
            return Receipt(True, str(value["id"]))
        return Receipt(False, id, _reason(value))

    async def head(self) -> Head:
        value = await self._get("/head")
        return Head(value["height"], value["hash"], value["final_height"], value["syncing"])

    async def status(self) -> dict[str, Any]:
        """What the node says of itself: name, role, version, peers, counters."""
        return await self._get("/status")

    async def genesis(self) -> bytes:
        """The genesis document of its network. Raises LookupError where the node is too old to tell."""
        return encode(await self._look_up("/genesis"))

    async def accounts(self) -> dict[str, Any]:
        """All balances and next nonces at the head, and of whom a transaction is pending (node.api)."""
        return await self._get("/accounts")

    async def follow(self, after: int) -> AsyncIterator[BlockHeader]:
        height, hash = after, ""
        while True:
            value = await self._get(f"/blocks?after={height}&hash={hash}&wait={POLL}", timeout=POLL + TIMEOUT)
            for header in value["headers"]:
                height, hash = header["height"], header["hash"]
                yield self._header(header)

    async def block(self, hash: str, height: int) -> Block:
        value = await self._look_up(f"/block/{quote(hash, safe='')}")
        return Block(self._header(value), tuple(value["tx_ids"]))

    def _header(self, of: Mapping[str, Any]) -> BlockHeader:
        proposer = self._names.get(of["proposer"], of["proposer"])
        return BlockHeader(of["height"], of["hash"], of["parent"], of["time"], proposer, of["tx_count"])

    async def peers(self) -> frozenset[str]:
        return frozenset(self._names.get(peer, peer) for peer in (await self._get("/peers"))["peers"])

    async def version(self) -> str:
        return str((await self._get("/status"))["version"])

    async def submit(self, transaction: Transaction) -> Receipt:
        return await self._post("/tx", transaction.payload, transaction.id)

    async def balance(self, address: str) -> int:
        return int((await self._get(f"/account/{quote(address, safe='')}"))["balance"])

    async def nonce(self, address: str) -> int:
        return int((await self._get(f"/account/{quote(address, safe='')}"))["nonce"])

    async def balances(self, *, final: bool = False) -> dict[str, int]:
        """All balances, proposers' included: at the head, or at the last final block."""
        return dict((await self._get(f"/accounts{'?final=1' if final else ''}"))["balances"])

    async def pending(self) -> int:
        return int((await self._get("/mempool"))["pending"])

    async def write_channel(self, channel: str, payload: bytes) -> Receipt:
        return await self._post("/channel", _inscription(channel, payload))

    async def disperse(self, channel: str, blob: bytes) -> Receipt:
        return await self._post("/blob", _inscription(channel, blob))

    async def retrieve(self, blob: str) -> bytes:
        value = await self._look_up(f"/blob/{quote(blob, safe='')}", timeout=2 * TIMEOUT)
        return base64.b64decode(value["data"])


class TransactionFormat(SubmissionFormat):
    """POST /tx, the transaction as it is: 200 says that it is in the mempool, what is below 500 that it is refused."""

    path = "/tx"

    def body(self, transaction: Transaction, serial: int) -> bytes:
        return transaction.payload

    def read(self, transaction: Transaction, status: int, body: bytes) -> Receipt:
        value = _decode(body)
        if status >= 500:
            raise BrokenAnswer(f"status {status}: {_reason(value)}")
        return Receipt(status == 200, transaction.id, "" if status == 200 else _reason(value))


class InscriptionFormat(DataFormat):
    """POST /channel and /blob: 200 says that it is taken, and by which id a block will have it."""

    channel_path, blob_path = "/channel", "/blob"

    def body(self, channel: str, data: bytes, serial: int) -> bytes:
        return _inscription(channel, data)

    def read(self, status: int, body: bytes) -> Receipt:
        value = _decode(body)
        if status >= 500:
            raise BrokenAnswer(f"status {status}: {_reason(value)}")
        return Receipt(True, str(value["id"])) if status == 200 else Receipt(False, "", _reason(value))


def _inscription(channel: str, data: bytes) -> bytes:
    return encode({"channel": channel, "data": base64.b64encode(data).decode()})


class _Answer(dict[str, Any]):
    """An answer's fields; one that is missing means that something else answers at this address."""

    def __missing__(self, key: str) -> Any:
        raise BrokenAnswer(f"what answers is no devnet node: no {key!r} in its answer")


def _decode(body: bytes) -> _Answer:
    """Raises BrokenAnswer for what no devnet node says."""
    try:
        value = json.loads(body, object_hook=_Answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, _Answer):
        raise BrokenAnswer("what answers is no devnet node: not a JSON object")
    return value


def _reason(value: _Answer) -> str:
    return str(value.get("error", "no reason given"))
