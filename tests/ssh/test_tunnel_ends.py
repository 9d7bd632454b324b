"""The end of what goes through a tunnel, as the controller's own event loop has it."""

from __future__ import annotations

import socket
import struct

import anyio
import anyio.lowlevel
import pytest

from harness_ssh.tunnels import _pass_on


class Ended:
    """A stream with nothing more in it."""

    def __aiter__(self) -> Ended:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


@pytest.mark.parametrize("use_uvloop", [True, False])
def test_an_end_that_comes_when_the_other_side_has_reset_its_connection_is_one(use_uvloop: bool) -> None:
    async def pass_on() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            async with await anyio.connect_tcp("127.0.0.1", listening.getsockname()[1]) as target:
                other, _ = listening.accept()
                other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                other.close()
                with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                    await target.receive()
                for _ in range(10):  # until the loop itself has let go of it
                    await anyio.lowlevel.checkpoint()
                with anyio.CancelScope() as scope:
                    await _pass_on(Ended(), target, scope)  # type: ignore[arg-type]
                return True

    assert anyio.run(pass_on, backend="asyncio", backend_options={"use_uvloop": use_uvloop})
