"""The server that all generators send to: nginx, one process on one core, which answers from its configuration."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from process import pinned

ANSWER = '{"jsonrpc":"2.0","id":1,"result":{"code":0,"data":"","log":"","hash":"C0FFEE00C0FFEE00C0FFEE00C0FFEE00"}}'
BODY = b'{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_sync","params":{"tx":"%s"}}' % (b"x" * 128)
PATIENCE = 10.0
TRIES = 5

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /status {{ stub_status; }}
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""


@dataclass(frozen=True)
class Endpoint:
    """Answers whatever is sent to `url` with status 200 and ANSWER."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def served(self) -> int:
        """Requests so far, this question included."""
        with urllib.request.urlopen(f"{self.url}status", timeout=PATIENCE) as answer:
            figures = re.search(r"^\s*\d+\s+\d+\s+(\d+)\s*$", answer.read().decode(), re.MULTILINE)
        assert figures is not None
        return int(figures[1])

    def cpu(self) -> float:
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def endpoint(nginx: Path, core: int) -> Iterator[Endpoint]:
    """Raises RuntimeError when nginx does not start."""
    with tempfile.TemporaryDirectory(prefix="load-nginx-") as folder:
        for attempt in range(1, TRIES + 1):
            port = _free_port()
            configuration = Path(folder, "nginx.conf")
            configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, answer=ANSWER))
            argv = pinned(core, [nginx, "-e", "stderr", "-p", folder, "-c", configuration])
            with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
                try:
                    if not _answers(process, port) and attempt < TRIES:
                        continue  # another process was faster to take the port
                    if process.poll() is not None:
                        raise RuntimeError(f"nginx does not start: {process.communicate()[1]}")
                    yield Endpoint(port, process.pid)
                    return
                finally:
                    process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[str], port: int) -> bool:
    """Wait until it does; False when the process ends before."""
    give_up = time.monotonic() + PATIENCE
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=PATIENCE):
                return process.poll() is None
        except urllib.error.URLError:
            if time.monotonic() > give_up:
                raise RuntimeError("nginx does not answer") from None
            time.sleep(0.05)
    return False
