"""The server. Nothing of a run can be changed through it."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import textual_serve
from aiohttp import WSCloseCode, WSMsgType, web
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import UsageError
from harness.record.glance import glance
from harness.record.rundir import RunDirectory, find_run, list_runs
from harness.record.text import one_line, sentence
from harness.report.reading import page_of, read_run
from harness.serve.access import is_from_us, is_token, names_us
from harness.serve.terminal import LONGEST, ScreenProcess, pass_on, within

STATIC = Path(textual_serve.__file__).parent / "static"
COOKIE = "harness-token"
LISTED = 200
"""Runs that the list has, the newest first."""
SCREENS = 20
"""That are open at once; each is a process."""
LAST_WORDS = 2.0
"""Seconds for telling browsers that it is over."""
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RunServer:
    """Of the runs in a folder. `token` is asked for where it is not ""."""

    def __init__(self, runs: Path, token: str = "") -> None:
        self._runs = runs
        self._token = token
        self._screens: dict[ScreenProcess, web.WebSocketResponse] = {}
        self._pages = Environment(
            loader=PackageLoader("harness.serve"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._headed, self._guard])
        app.on_shutdown.append(self._hang_up)
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

    async def _hang_up(self, app: web.Application) -> None:
        """Browsers are told, and not waited for."""
        with anyio.move_on_after(LAST_WORDS):
            async with anyio.create_task_group() as tasks:
                for socket in self._screens.values():
                    tasks.start_soon(partial(socket.close, code=WSCloseCode.GOING_AWAY))

    @web.middleware
    async def _headed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            refusal.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._token and not names_us(request.host):
            raise web.HTTPForbidden(text=f"this is not {request.host}")
        given = request.query.get("token", "")
        if self._token and not is_token(given or request.cookies.get(COOKIE, ""), self._token):
            raise web.HTTPUnauthorized(text="a token is needed: open the address that `harness serve` has printed")
        if given:  # out of the address, and of what the browser remembers of it
            answer = web.HTTPFound("/" + request.path.lstrip("/\\"))  # `//there` would be another site
            answer.set_cookie(COOKIE, given, httponly=True, samesite="Strict")
            raise answer
        return await handler(request)

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
        if len(self._screens) >= SCREENS:
            raise web.HTTPServiceUnavailable(text=f"{SCREENS} screens are open already: close one")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=LONGEST)
        await socket.prepare(request)
        screen = ScreenProcess([sys.executable, "-m", "harness.serve.screen", str(directory.path)], socket)
        self._screens[screen] = socket
        try:
            await screen.start(_size(request, "width", 80), _size(request, "height", 24))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await pass_on(message.data, socket, screen)
        finally:
            del self._screens[screen]
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


def _size(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, "")
    return within(int(text)) if text.isascii() and text.isdecimal() and len(text) < 5 else otherwise


def _about(run: RunDirectory) -> dict[str, str]:
    """What the list says of a run, without reading all of its journal."""
    try:
        result = json.loads(run.result.read_bytes())
        verdict = result["verdict"] if result["status"] == "done" else result["status"]
        reason = str(result["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        verdict, reason = glance(run).status, ""
    return {"id": run.run_id, "verdict": one_line(str(verdict), 40), "reason": one_line(sentence(reason), 200)}
