"""Doing the same to many things at once, with one error to tell of all that failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio

from harness.errors import HarnessError


async def all_of(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Run all to their ends, together. When some raise HarnessErrors, raises one of the first's class with
    every text; any other exception cancels the rest, as task groups do."""
    errors: list[HarnessError] = []

    async def one(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except HarnessError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise type(errors[0])("\n".join(map(str, errors)))
