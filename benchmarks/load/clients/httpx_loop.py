"""One pooled httpx client, on uvloop."""

from __future__ import annotations

import httpx
import uvloop
from closed_loop import BODY, CONNECTIONS, HEADERS, URL, closed_loop


async def main() -> None:
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, headers=HEADERS, timeout=30) as client:

        async def send() -> bool:
            return (await client.post(URL, content=BODY)).status_code == 200

        await closed_loop(send)


uvloop.run(main())
