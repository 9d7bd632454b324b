"""How values become bytes: canonical JSON, the same bytes for the same value on every machine, and its SHA-256.

Numbers are integers only: a float that prints differently somewhere would split the network."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

T = TypeVar("T")

MAX_INT = 2**63 - 1
"""Amounts, nonces, heights and slots stay below this, so that any language could follow."""


class Malformed(ValueError):
    """Bytes or a value from outside that do not have the form they should have."""


def encode(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, ASCII. Raises Malformed for a value nested too deeply."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except RecursionError:
        raise Malformed("nested too deeply") from None


def _no_float(text: str) -> Any:
    raise Malformed(f"{text[:40]} is not an integer")


def decode(data: bytes | str) -> Any:
    """The value of JSON bytes. Raises Malformed: bad JSON, floats, too deep a nesting, bad UTF-8."""
    try:
        return json.loads(data, parse_float=_no_float, parse_constant=_no_float)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None


def decode_object(data: bytes | str) -> dict[str, Any]:
    """The same, where it must be an object."""
    value = decode(data)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex: how blocks, transactions and blobs are named."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    return digest(encode(value))


def field(obj: dict[str, Any], name: str, kind: type[T]) -> T:
    """A field that must be there with exactly this type (True is no integer). Raises Malformed."""
    value = obj.get(name)
    if type(value) is not kind:
        raise Malformed(f"{name} is missing" if value is None else f"{name} is not {kind.__name__}")
    return value


def natural(obj: dict[str, Any], name: str) -> int:
    """A field that must be an integer from 0 to MAX_INT."""
    value = field(obj, name, int)
    if not 0 <= value <= MAX_INT:
        raise Malformed(f"{name} is out of range")
    return value


def hex_field(obj: dict[str, Any], name: str, size: int) -> str:
    """A field that must be `size` bytes in lower-case hex."""
    value = field(obj, name, str)
    if not is_hex(value, size):
        raise Malformed(f"{name} is not {size} bytes of lower-case hex")
    return value


_HEX = frozenset("0123456789abcdef")


def is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and _HEX.issuperset(text)
