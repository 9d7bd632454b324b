"""The server. Nothing of a run can be changed through it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import textual_serve
from aiohttp import WSMsgType, web
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from harness.errors import UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory, find_run, list_runs
from harness.record.text import one_line, sentence
from harness.report.reading import page_of, read_run
from harness.serve.access import is_from_us, is_token, names_us

STATIC = Path(textual_serve.__file__).parent / "static"
COOKIE = "harness-token"
LISTED = 200
"""Runs that the list has, the newest first."""
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RunServer:
    """Of the runs in a folder. `token` is asked for where it is not ""."""

    def __init__(self, runs: Path, token: str = "") -> None:
        self._runs = runs
        self._token = token
        self._pages = Environment(
            loader=PackageLoader("harness.serve"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._list),
                web.get("/runs/{run}/report", self._report),
                web.get("/runs/{run}/watch", self._watch),
                web.get("/runs/{run}/socket", self._socket),
                web.static("/static", STATIC),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._token and not names_us(request.host):
            raise web.HTTPForbidden(text=f"this is not {request.host}")
        given = request.query.get("token", "")
        if self._token and not is_token(given or request.cookies.get(COOKIE, ""), self._token):
            raise web.HTTPUnauthorized(text="a token is needed: open the address that `harness serve` has printed")
        if given:  # out of the address, and of what the browser remembers of it
            answer = web.HTTPFound(request.path)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="Strict")
            raise answer
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _list(self, request: web.Request) -> web.Response:
        rows = await to_thread.run_sync(lambda: [_about(run) for run in list_runs(self._runs)[: -LISTED - 1 : -1]])
        return self._page("list.html.j2", runs=rows, folder=one_line(str(self._runs)))

    async def _report(self, request: web.Request) -> web.Response:
        directory = self._run(request)
        try:
            page = await to_thread.run_sync(lambda: page_of(read_run(directory)))
        except (OSError, UsageError) as error:
            raise web.HTTPNotFound(text=f"it has no report: {error}") from None
        return web.Response(text=page, content_type="text/html")

    async def _watch(self, request: web.Request) -> web.Response:
        directory = self._run(request)
        return self._page("watch.html.j2", run=directory.run_id, socket=f"/runs/{directory.run_id}/socket")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """The screen: a `harness watch` that cannot steer, whose terminal is the browser."""
        if not is_from_us(request.headers.get("Origin", ""), request.host):
            raise web.HTTPForbidden(text="from another site")
        directory = self._run(request)
        socket = web.WebSocketResponse(heartbeat=15)
        await socket.prepare(request)
        words = [sys.executable, "-m", "harness.serve.screen", str(directory.path)]

        async def close() -> None:
            await socket.close()

        screen = AppService(
            shlex.join(words),
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=DownloadManager(),
        )
        await screen.start(_size(request, "width", 80), _size(request, "height", 24))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await _pass_on(message.json(), socket, screen)
        finally:
            await screen.stop()
        return socket

    def _run(self, request: web.Request) -> RunDirectory:
        name = request.match_info["run"]
        known = {run.run_id: run for run in list_runs(self._runs)}
        if name not in known:
            raise web.HTTPNotFound(text="there is no such run")
        return find_run(self._runs, name)

    def _page(self, template: str, **values: Any) -> web.Response:
        return web.Response(text=self._pages.get_template(template).render(**values), content_type="text/html")


async def _pass_on(envelope: Any, socket: web.WebSocketResponse, screen: AppService) -> None:
    """What the browser's terminal says; anything else is passed over."""
    match envelope:
        case ["stdin", str(data)]:
            await screen.send_bytes(data.encode())
        case ["resize", {"width": int(width), "height": int(height)}]:
            await screen.set_terminal_size(width, height)
        case ["ping", data]:
            await socket.send_json(["pong", data])
        case ["blur", *_]:
            await screen.blur()
        case ["focus", *_]:
            await screen.focus()


def _size(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, "")
    return min(500, max(10, int(text))) if text.isascii() and text.isdecimal() and len(text) < 5 else otherwise


def _about(run: RunDirectory) -> dict[str, str]:
    """What the list says of a run, without reading all of its journal."""
    try:
        result = json.loads(run.result.read_bytes())
        verdict = result["verdict"] if result["status"] == "done" else result["status"]
        reason = str(result["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        verdict, reason = glance(run).status, ""
    return {"id": run.run_id, "verdict": one_line(str(verdict), 40), "reason": one_line(sentence(reason), 200)}
