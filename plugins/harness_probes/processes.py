"""Commands on the controller, with an end to the time and to the output that they may take."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
import anyio.abc

from harness.api import CommandTimeout, InfrastructureError

KEPT = 1 << 20
"""Bytes of each stream that are kept; what follows is read and thrown away."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and the beginning of what it said."""

    returncode: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
    kept: int = KEPT,
) -> Ran:
    """Run a command in a process group of its own, which is killed after `timeout` seconds, and on cancellation.

    Raises InfrastructureError when it cannot be started, CommandTimeout."""
    try:
        process = await anyio.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"{argv[0]} cannot be started: {error}") from None
    out, err = bytearray(), bytearray()
    try:
        with anyio.move_on_after(timeout) as limit:
            async with anyio.create_task_group() as tasks:
                assert process.stdin is not None and process.stdout is not None and process.stderr is not None
                tasks.start_soon(_feed, process.stdin, input)
                tasks.start_soon(_collect, process.stdout, out, kept)
                tasks.start_soon(_collect, process.stderr, err, kept)
            await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            _kill(process.pid, process.returncode is None)
            await process.aclose()
    if limit.cancelled_caught or process.returncode is None:
        raise CommandTimeout(f"{argv[0]} did not end within {timeout:g} s")
    return Ran(process.returncode, bytes(out), bytes(err))


async def _feed(stream: anyio.abc.ByteSendStream, content: bytes) -> None:
    try:
        await stream.send(content)
    except anyio.BrokenResourceError:
        return  # it does not want to know: its own business
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()


async def _collect(stream: anyio.abc.ByteReceiveStream, into: bytearray, kept: int) -> None:
    async for chunk in stream:
        into += chunk[: max(0, kept - len(into))]


def _kill(group: int, lives: bool) -> None:
    """What it has started as well, which has its group; none may be left of that."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:  # what is left of it has become somebody else
        if lives:
            raise
