"""The Docker engine: asked in worker threads, its refusals and its silence told as errors of ours."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import tarfile
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import docker
import requests
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from harness.api import InfrastructureError, MachineLost
from harness_docker.starts import Starts
from harness_docker.sweep import TIMEOUT, settings

T = TypeVar("T")

OLDEST_API = (1, 40)
"""Docker 19.03, the first with everything that is used here."""
KNOCK_WITHIN = 10.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
FAILURES = (DockerException, RequestException, HTTPError, ConnectionError, TimeoutError, tarfile.ReadError)
"""What comes out of the SDK when an engine refuses, is not there (any more), or stops in the middle of an archive."""


class NoEngine(InfrastructureError):
    """There is no engine to be used: `why`. The text also says what to do, for those who may choose another engine."""

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(f"{why}; {advice}" if advice else why)
        self.why = why


class Refused(InfrastructureError):
    """The engine answered with an error: its own words, and the HTTP `status`."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Interrupt:
    """The responses that a worker thread reads from, so that another thread can end what it waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._responses: list[requests.Response] = []
        self.stopped = False

    def watch(self, response: requests.Response) -> None:
        with self._lock:
            self._responses.append(response)
            if self.stopped:
                cut(response)

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
            for response in self._responses:
                cut(response)

    def close(self) -> None:
        """Nobody reads from them any more. One that is not read to its end would keep the engine waiting, and with it
        whoever wants something of the same container."""
        with self._lock:
            for response in self._responses:
                response.close()
            self._responses.clear()


def cut(response: requests.Response) -> None:
    """End the connection of a response that may still be coming."""
    connected = socket_of(response)
    if connected is not None:
        with contextlib.suppress(OSError):  # it has ended by itself
            connected.shutdown(socket.SHUT_RDWR)


_thread = threading.local()


class _Client(docker.APIClient):
    """The SDK's client, whose answers that come as streams can be interrupted."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **kwargs)
        interrupt: Interrupt | None = getattr(_thread, "interrupt", None)
        if interrupt is not None:
            interrupt.watch(response)
        return response


def socket_of(response: requests.Response) -> socket.socket | None:
    """The socket from which the body of this response is still to come; None when it is all there."""
    file = getattr(response.raw._fp, "fp", None)  # http.client's: neither requests nor urllib3 has a name for it
    connected: socket.socket | None = getattr(getattr(file, "raw", None), "_sock", None)
    return connected


class Engine:
    """One engine. `ask` is for requests, `forks` at once; `stream` for what takes as long as it takes."""

    def __init__(self, client: docker.APIClient, url: str, info: Mapping[str, Any], forks: int) -> None:
        self.client = client
        self.url = url
        self.info = info
        self.starts: defaultdict[str, Starts] = defaultdict(Starts)
        """By container, the commands that are being started there."""
        self._requests = anyio.CapacityLimiter(max(1, forks))
        self._streams = anyio.CapacityLimiter(math.inf)

    @classmethod
    async def open(cls, url: str, forks: int) -> Engine:
        """The engine at `url`, or where the docker command looks for it. Raises NoEngine."""
        return await anyio.to_thread.run_sync(_open, url, forks)

    @classmethod
    async def open_again(cls, url: str, id: str) -> Engine:
        """The engine that was at `url` and called itself `id` ("" where nobody wrote that down), which may be reached
        another way by now: where the docker command looks for it. Raises NoEngine."""
        try:
            return await cls.open(url, 1)
        except NoEngine as error:
            lost = error
        try:
            there = await cls.open("", 1)
        except NoEngine:
            raise NoEngine(lost.why) from lost
        if id and there.id == id:
            return there
        there.close()
        told = f", and the engine at {there.url} is another one" if there.url != url else ""
        raise NoEngine(f"{lost.why}{told}") from lost

    @property
    def id(self) -> str:
        """What it calls itself, wherever and however often it is started."""
        return str(self.info.get("ID", ""))

    async def ask(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """One request, in a worker thread. Not to be cancelled half-way: what it asked for is known to have happened or
        not. Raises Refused, MachineLost."""
        bound = partial(_told, self.url, partial(call, *args, **kwargs))
        return await anyio.to_thread.run_sync(bound, limiter=self._requests)

    async def stream(self, call: Callable[[Interrupt], T]) -> T:
        """Something with a stream of the engine, in a worker thread. When cancelled, the stream is cut, so that the
        thread ends, and what it then returns or raises is of no interest. Raises Refused, MachineLost."""
        interrupt = Interrupt()

        def work() -> T:
            _thread.interrupt = interrupt
            try:
                return _told(self.url, partial(call, interrupt))
            finally:
                _thread.interrupt = None
                interrupt.close()

        thread = asyncio.ensure_future(anyio.to_thread.run_sync(work, limiter=self._streams))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            interrupt.stop()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({thread})
            thread.exception()
            raise

    def close(self) -> None:
        self.client.close()


def _told(url: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except APIError as error:
        raise Refused(explanation(error), error.status_code or 0) from error
    except FAILURES as error:
        raise MachineLost(f"the Docker engine at {url} does not answer: {error}") from error


def explanation(error: APIError) -> str:
    """What the engine says, without the request."""
    return str(error.explanation or error).strip()


def _open(url: str, forks: int) -> Engine:
    try:
        reach = settings(url)
    except (*FAILURES, OSError, ValueError, LookupError) as error:  # of files
        raise NoEngine(f"how to reach the Docker engine is not clear: {error}") from error
    shown = str(reach.get("base_url") or "unix:///var/run/docker.sock").replace("http+unix://", "unix://")
    _knock(shown)
    try:
        client = _Client(version="auto", timeout=int(TIMEOUT), max_pool_size=max(10, forks), **reach)
    except FAILURES as error:
        raise NoEngine(f"the Docker engine at {shown} cannot be used: {error}") from error
    try:
        info = client.info()
    except FAILURES as error:
        client.close()
        raise NoEngine(f"the Docker engine at {shown} cannot be used: {error}") from error
    if problem := unusable(shown, str(client.api_version), info):
        client.close()
        raise NoEngine(problem)
    return Engine(client, shown, info, forks)


def _knock(url: str) -> None:
    """Connect once, past the SDK: it buries what was wrong, and leaves the socket open. Raises NoEngine."""
    parts = urlsplit(url)
    if parts.scheme != "npipe" and not (parts.scheme == "unix" or parts.hostname in LOOPBACK):
        raise NoEngine(
            f"the Docker engine at {url} is another machine's: ports that it publishes on 127.0.0.1 cannot be reached "
            "from here",
            "use this machine's engine, or the deployer ssh for that machine",
        )
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as connected:
                connected.settimeout(KNOCK_WITHIN)
                connected.connect(parts.path)
        elif parts.scheme != "npipe":
            socket.create_connection((parts.hostname, parts.port or 2375), KNOCK_WITHIN).close()
    except PermissionError as error:
        raise NoEngine(
            f"there is no permission to use the Docker engine at {url}",
            "join the group that owns the socket (usermod -aG docker USER, then log in again), or name another engine: "
            "DOCKER_HOST",
        ) from error
    except OSError as error:
        raise NoEngine(
            f"no Docker engine runs at {url} ({error.strerror or error})",
            "start it (systemctl start docker), or name another one: DOCKER_HOST, a docker context, or the deployer's "
            "option engine",
        ) from error


def unusable(url: str, api: str, info: Mapping[str, Any]) -> str:
    """Why an engine that answers will not do; "" if it will."""
    if tuple(int(part) for part in api.split(".")) < OLDEST_API:
        oldest = ".".join(map(str, OLDEST_API))
        return f"the Docker engine at {url} is too old: it speaks API {api}, and {oldest} (Docker 19.03) is needed"
    if info.get("OSType") != "linux":
        return f"the Docker engine at {url} runs {info.get('OSType')} containers, and Linux ones are needed"
    return ""
