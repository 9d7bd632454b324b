"""Answers as h11 reads them, told as httptools tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from harness.load.parser import Reader

LONGEST_HEAD = 64 << 10
_REQUEST = h11.Request(method="POST", target="/", headers=[("Host", "x")])
"""h11 reads an answer to a request that it has seen. Nothing in how an answer is read depends on which, but for HEAD
and CONNECT, which load is none of."""


class H11Parser:
    """See harness.load.parser.Parser."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._status = 0

    def begin(self) -> None:
        connection = self._connection
        if connection.our_state is h11.DONE:
            connection.start_next_cycle()
        connection.send(_REQUEST)
        connection.send(h11.EndOfMessage())

    def feed_data(self, data: bytes) -> None:
        """Raises h11.RemoteProtocolError."""
        connection, reader = self._connection, self._reader
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            match event:
                case h11.Response():
                    self._status = event.status_code
                case h11.Data():
                    reader.on_body(bytes(event.data))
                case h11.EndOfMessage():
                    reader.on_message_complete()
                    return
                case h11.InformationalResponse():
                    continue
                case _:
                    return  # more is to come

    def get_status_code(self) -> int:
        return self._status

    def should_keep_alive(self) -> bool:
        # What came behind it would be taken for the next one's.
        return self._connection.their_state is h11.DONE and not self._connection.trailing_data[0]
