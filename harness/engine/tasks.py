"""Doing the same to many things at once, and one error to tell of all that failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from harness.errors import HarnessError, InfrastructureError


async def all_of(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Run all to their ends, together. Raises what `plain` makes of all the HarnessErrors; any other exception
    cancels the rest, as task groups do."""
    errors: list[Exception] = []

    async def one(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except HarnessError as error:
            errors.append(error)

    with plain_errors():
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(one, call)
        if errors:
            raise ExceptionGroup("several failed", errors)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Whatever groups of exceptions come out of the body, only plain ones leave it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise plain(group) from group


def plain(error: BaseException) -> BaseException:
    """One exception for a group: of HarnessErrors one of the first's class with all the texts; otherwise the first
    that is none, since a defect matters more than what it has brought about. Others are given back as they are."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    cancelled = anyio.get_cancelled_exc_class()
    told = [leaf for leaf in leaves if not isinstance(leaf, cancelled)]
    if not told:
        return leaves[0]
    defects = [leaf for leaf in told if not isinstance(leaf, HarnessError)]
    if defects:
        return defects[0]
    texts = dict.fromkeys(map(str, told))
    return told[0] if len(texts) == 1 else _saying("\n".join(texts), told[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


ErrorT = TypeVar("ErrorT", bound=BaseException)


def _saying(text: str, error: ErrorT) -> ErrorT:
    """The same error, with all that it carries, in these words."""
    said = type(error).__new__(type(error), text)
    said.__dict__.update(error.__dict__)
    return said


def is_cancellation(error: BaseException) -> bool:
    """Whether this is the cancelling of the scope that we are in, and not one that a plugin has made up."""
    cancelled = isinstance(error, anyio.get_cancelled_exc_class())
    return cancelled and anyio.current_effective_deadline() == float("-inf")


def as_harness_error(error: BaseException, who: str = "") -> HarnessError:
    """The error as one that can be told; a defect is named with its class. `who` is put before it."""
    error = plain(error)
    prefix = f"{who}: " if who else ""
    if isinstance(error, HarnessError):
        return _saying(f"{prefix}{error}", error) if who else error
    return InfrastructureError(f"{prefix}{type(error).__name__}: {error}")
