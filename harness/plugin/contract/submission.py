"""How a chain's nodes take transactions over HTTP: what lets senders speak to them without the chain's client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from harness.load.job import Batching, Taken
from harness.plugin.contract.chain import Receipt, Transaction

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class SubmissionFormat(ABC):
    """One request a transaction. `taken` is the answer that means that a node took it; whatever else it answers, `read`
    explains. With `batching`, the requests that are due at once may go as one."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/"
    headers: ClassVar[Mapping[str, str]] = _NO_HEADERS
    taken: ClassVar[Taken] = Taken()
    batching: ClassVar[Batching | None] = None

    @abstractmethod
    def body(self, transaction: Transaction, serial: int) -> bytes:
        """The request's body. `serial` differs from that of every other request, for protocols that number them."""

    @abstractmethod
    def read(self, transaction: Transaction, status: int, body: bytes) -> Receipt:
        """What a node's answer says. Raises BrokenAnswer for one that neither takes nor refuses it."""


class DataFormat(ABC):
    """How nodes take channel operations at `channel_path`, and blobs at `blob_path`: one request each."""

    channel_path: ClassVar[str]
    blob_path: ClassVar[str]
    method: ClassVar[str] = "POST"
    headers: ClassVar[Mapping[str, str]] = _NO_HEADERS
    taken: ClassVar[Taken] = Taken()

    @abstractmethod
    def body(self, channel: str, data: bytes, serial: int) -> bytes:
        """Of either. `serial` differs from that of every other request of its kind."""

    @abstractmethod
    def read(self, status: int, body: bytes) -> Receipt:
        """What a node's answer says; the receipt's id is what a block will have. Raises BrokenAnswer for one that
        neither takes nor refuses it."""
