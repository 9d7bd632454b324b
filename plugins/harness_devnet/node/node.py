"""One running node: the protocol core with its clock, disk, peers and API."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import VERSION, ed25519
from .api import Api
from .blocktree import TooDeep, UnknownParent
from .codec import Malformed, decode_object, encode, is_hex
from .config import NodeConfig
from .consensus import InvalidBlock
from .core import Core
from .da import Share
from .gossip import Gossip
from .http import Server, report_failure
from .store import FileStore
from .transactions import Rejected

log = logging.getLogger("node")


class WrongStore(Exception):
    """The blocks on disk are not of this chain."""


class FileShares:
    """A validator's shares, a file for each blob, written whole or not at all."""

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._limit = limit

    def put(self, blob: str, share: Share) -> None:
        path = self._path(blob)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(encode(share.to_json()))
        temporary.replace(path)

    def get(self, blob: str) -> Share | None:
        try:
            data = self._path(blob).read_bytes()
        except FileNotFoundError:
            return None
        return Share.from_json(decode_object(data), self._limit)

    def _path(self, blob: str) -> Path:
        assert is_hex(blob, 32)
        return self._folder / f"{blob}.json"


class _LoopHost:
    """The event loop's clocks and timers, and TCP gossip. Once it is closed no timer fires any more: the loop turns
    on for a while after the store was closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gossip: Gossip) -> None:
        self._loop = loop
        self._gossip = gossip
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def wall(self) -> float:
        return time.time()

    def now(self) -> float:
        return self._loop.time()

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self._loop.call_later(delay, self._fire, call)

    def _fire(self, call: Callable[[], None]) -> None:
        if not self._closed:
            call()

    def send(self, peer: str, message: bytes) -> None:
        self._gossip.send(peer, message)


def _restore(core: Core, store: FileStore) -> None:
    for position, data in store.recover():
        try:
            block = core.chain.restore(data)
        except (InvalidBlock, Malformed, Rejected, TooDeep, UnknownParent) as error:
            raise WrongStore(f"the block at byte {position} of the store: {error}") from None
        store.index(block.hash, position)


async def run(config: NodeConfig) -> int:
    """Run until SIGTERM or SIGINT (returns 0), or until something unexpected happens (returns 1, after a traceback).

    Raises OSError when a port is taken or the disk fails at start, WrongStore."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    def unexpected(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        log.critical("unhandled: %s", context["message"], exc_info=context.get("exception"))
        stop(1)

    loop.set_exception_handler(unexpected)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, 0)

    store = FileStore(config.data / "blocks")
    shares = FileShares(config.data / "shares", config.genesis.limits.blob_bytes)
    gossip = Gossip()
    host = _LoopHost(loop, gossip)
    core = Core(config.genesis, config.who, store, shares, host, config.conduct)
    _restore(core, store)
    api = Api(core)
    server = Server(api.handle, api.max_body())
    await gossip.listen(core, *config.p2p)
    await server.listen(*config.api)
    me = config.who.member
    log.info(
        "%s %s (%s) of chain %s at height %d, Ed25519 by %s",
        VERSION, me.name, me.role, config.genesis.hash[:12], core.chain.head.height, ed25519.BACKEND,
    )  # fmt: skip
    if config.conduct.switch:
        log.warning("this node misbehaves on purpose: %s", config.conduct)
    core.start()
    dialling = [loop.create_task(gossip.keep_dialling(dial)) for dial in config.dials]
    for task in dialling:
        task.add_done_callback(report_failure)
    code = await stopped
    host.close()
    for task in dialling:
        task.cancel()
    server.close()
    gossip.close()
    await asyncio.sleep(0)  # one turn of the loop, for connections to end
    store.close()
    log.info("stopped at height %d", core.chain.head.height)
    return code
