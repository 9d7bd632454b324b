"""HTTP clients of the controller, for probing."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import httpx


async def new_client(auth: httpx.Auth | None = None, limits: httpx.Limits | None = None) -> httpx.AsyncClient:
    """A client that the environment tells nothing (no proxies, no .netrc), with no time limit of its own."""
    # Reading the certificates takes tens of milliseconds, in which nothing else would happen.
    verify = await anyio.to_thread.run_sync(partial(httpx.create_ssl_context, trust_env=False))
    limits = limits or httpx.Limits()
    return httpx.AsyncClient(verify=verify, trust_env=False, timeout=None, auth=auth, limits=limits)
