"""Servers and worlds for probes: real sockets of loopback, real time."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.observe.world import World


class Server:
    """An HTTP server whose answers a test decides: `answer(path, form, headers)` gives status and body."""

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, str], Any], tuple[int, bytes]] = lambda path, form, headers: (200, b"ok")
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = {key: values[0] for key, values in parse_qs(body).items()}
                outer.asked.append((self.path, form, dict(self.headers)))
                status, content = outer.answer(self.path, form, self.headers)
                with contextlib.suppress(ConnectionError):  # a probe that had waited for long enough
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def prometheus(server: Server) -> Callable[..., Server]:
    """The server as a Prometheus with these samples: `prometheus([("node-a", 3.0)])`, or a whole answer."""

    def speak(samples: Any, *, status: int = 200) -> Server:
        def answer(path: str, form: dict[str, str], headers: Any) -> tuple[int, bytes]:
            if not isinstance(samples, list):
                return status, samples if isinstance(samples, bytes) else json.dumps(samples).encode()
            kind = "matrix" if path.endswith("query_range") else "vector"
            key = "values" if kind == "matrix" else "value"
            result = [
                {
                    "metric": {"__name__": "up", "instance": name},
                    key: [[1.0 + i, str(v)] for i, v in enumerate(value)] if kind == "matrix" else [1.0, str(value)],
                }
                for name, value in samples
            ]
            return status, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()

        server.answer = answer
        return server

    return speak


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> World:
    return World(tmp_path, ("validator-0", "validator-1", "executor-0"))
