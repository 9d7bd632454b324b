"""Clients that send the next request when the answer to the last one is there, and tell what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from array import array
from collections.abc import Awaitable, Callable

URL = os.environ["URL"]
BODY = os.environ["BODY"].encode()
CONNECTIONS = int(os.environ["CONNECTIONS"])
SECONDS = float(os.environ["SECONDS"])
HEADERS = {"Content-Type": "application/json"}


async def closed_loop(send: Callable[[], Awaitable[bool]]) -> None:
    """`send` gets an answer and says whether it is the one that is wanted: CONNECTIONS of them at a time."""
    latencies = array("d")
    errors = 0
    began = time.perf_counter()
    end = began + SECONDS

    async def one() -> None:
        nonlocal errors
        now = time.perf_counter()
        while now < end:
            sent, right = now, await send()
            now = time.perf_counter()
            if right:
                latencies.append(now - sent)
            else:
                errors += 1

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    tell(latencies, errors, time.perf_counter() - began)


def tell(latencies: array[float], errors: int, seconds: float) -> None:
    ordered = sorted(latencies)

    def percentile(percent: float) -> float | None:
        return ordered[math.ceil(percent / 100 * len(ordered)) - 1] if ordered else None

    told = {"requests": len(ordered), "errors": errors, "seconds": seconds}
    print("figures", json.dumps(told | {"p50": percentile(50), "p99": percentile(99)}))
