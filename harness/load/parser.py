"""Reading answers: by httptools where it can be loaded, else by h11, which runs wherever Python does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Reader(Protocol):
    """Who is told of an answer. An interim one (RFC 9110, 15.2: a status below 200) may be told of, too."""

    def on_message_begin(self) -> None: ...

    def on_body(self, body: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class Parser(Protocol):
    """One connection's. Its answers come one after the other, each after `begin`."""

    def begin(self) -> None:
        """A request goes out."""

    def feed_data(self, data: bytes) -> None:
        """Read on. Raises NOT_HTTP for what is no answer."""

    def get_status_code(self) -> int: ...

    def should_keep_alive(self) -> bool:
        """Whether another request may follow the answer that is complete."""


def parser_for(reader: Reader) -> Parser:
    """The fastest one that is there."""
    return _make(reader)


NOT_HTTP: tuple[type[Exception], ...]
_make: Callable[[Reader], Parser]

try:
    import httptools
except ImportError:  # a machine to which only Python code could be brought
    import h11

    from harness.load.h11_parser import H11Parser

    NAME, NOT_HTTP, _make = "h11", (h11.RemoteProtocolError,), H11Parser
else:

    class _Httptools(httptools.HttpResponseParser):
        def begin(self) -> None:
            """It knows by itself where an answer ends."""

    NAME, NOT_HTTP, _make = "httptools", (httptools.HttpParserError, httptools.HttpParserUpgrade), _Httptools
