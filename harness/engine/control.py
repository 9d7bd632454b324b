"""The control socket of a run: who may write to the run's directory may pause it, disturb it and end it."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from harness.control.address import NAME, address
from harness.control.protocol import MAX_LINE, BadRequest, FaultRequest, decode, encode
from harness.engine.steering import Steering
from harness.errors import HarnessError


async def serve(folder: Path, steering: Steering, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Listen in a run's directory until cancelled. Raises OSError, before it has started, when that cannot be."""
    with address(folder) as where:
        listener = await anyio.create_unix_listener(where, mode=0o600)
    try:
        async with listener:
            task_status.started()
            await listener.serve(lambda stream: _converse(stream, steering))
    finally:
        (folder / NAME).unlink(missing_ok=True)


async def _converse(stream: anyio.abc.SocketStream, steering: Steering) -> None:
    by, lines = _who(stream), BufferedByteReceiveStream(stream)
    async with stream:
        try:
            while True:
                line = await lines.receive_until(b"\n", MAX_LINE)
                await stream.send(encode(await _answer(line, steering, by)))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound):
            return  # it has asked all that it wanted to, or does not speak our language
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # it has gone before it heard the answer; what it asked for is done all the same


async def _answer(line: bytes, steering: Steering, by: str) -> Mapping[str, Any]:
    try:
        request = decode(line)
        match request.get("do"):
            case "pause":
                steering.pause(by)
            case "resume":
                steering.resume(by)
            case "abort":
                steering.abort(by)
            case "faults":
                return {"ok": True, "faults": list(steering.faults())}
            case "fault":
                await steering.inject(FaultRequest.parse(request), by)
            case other:
                raise BadRequest(f"{other!r} is nothing that can be done: pause, resume, abort, faults, fault")
    except HarnessError as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True}


def _who(stream: anyio.abc.SocketStream) -> str:
    """Whose process is at the other end, as far as the system tells."""
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    if not hasattr(socket, "SO_PEERCRED"):
        return "somebody on this machine"
    pid, uid, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"user {uid}"
    return f"{name} (process {pid})" if pid != os.getpid() else name
