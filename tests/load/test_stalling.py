"""The server that stalls, and the client that does not notice."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from harness.testing.stalling import closed_loop, stalling_server

STALL = 1.0
SLOW = STALL / 2


def test_each_closed_loop_has_one_slow_answer_among_many() -> None:
    with stalling_server(after=0.3, stall=STALL) as url, ThreadPoolExecutor(4) as threads:
        loops = list(threads.map(lambda _: closed_loop(url, 2.0), range(4)))
    for latencies in loops:
        assert sum(latency > SLOW for latency in latencies) == 1, "all are held, and until the same end"
        assert max(latencies) < STALL + SLOW
        assert sorted(latencies)[int(0.95 * len(latencies))] < SLOW, "the 95th percentile does not know of it"


def test_it_stalls_once_and_only_after_its_first_request() -> None:
    with stalling_server(after=0.0, stall=STALL) as url:
        first = closed_loop(url, STALL)
        assert max(first) > SLOW
        assert max(closed_loop(url, 0.3)) < SLOW


def test_it_ends_with_the_context() -> None:
    with stalling_server(after=60, stall=1) as url:
        assert closed_loop(url, 0.0) == []
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(urlsplit(url).netloc).request("GET", "/")


def test_what_is_no_http_is_hung_up_on() -> None:
    with stalling_server(after=60, stall=1) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.connect()
        connection.sock.sendall(b"\0\0\0\0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            if not connection.sock.recv(1):
                raise ConnectionResetError
        connection.close()
