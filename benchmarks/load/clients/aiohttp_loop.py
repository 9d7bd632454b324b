"""aiohttp as it is tuned for speed: one session, on uvloop."""

from __future__ import annotations

import aiohttp
import uvloop
from closed_loop import BODY, CONNECTIONS, HEADERS, URL, closed_loop


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(
        connector=connector, headers=HEADERS, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def send() -> bool:
            async with session.post(URL, data=BODY) as answer:
                await answer.read()
                return answer.status == 200

        await closed_loop(send)


uvloop.run(main())
