"""JSON, by that part of Python's which is written in C: what is around it takes longer to load than an agent to start.
Where a Python has no such part, or another one, it is the whole.

`import json` brings `re` along. Measured on two shared cores, CPython 3.11: an agent starts in 17 to 19 ms of CPU
with this, in 24 to 31 ms with json; `import json` alone doubles the 9 ms of a bare interpreter. It is paid on
each machine, twice where one becomes root."""

from __future__ import annotations

from typing import Any, Callable


def _python() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    import json

    return json.JSONEncoder(separators=(",", ":")).encode, json.loads


def _c() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    import _json

    write = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    make_scanner: Any = _json.make_scanner  # of anything that has what _Plain has
    scan = make_scanner(_Plain)

    def dumps(value: Any) -> str:
        return "".join(write(value, 0))

    def loads(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):
            raise ValueError("this is not JSON")
        return value

    if loads(dumps(_SAMPLE)) != _SAMPLE:
        raise ValueError("this Python has another one")
    return dumps, loads


class _Plain:
    """What json's scanner asks of a decoder."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float, parse_int = float, int
    parse_constant = float


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


_SAMPLE = {"text": ['"\\\udcff\u20ac', 1, -1.5, None, True, {}]}

try:
    dumps, loads = _c()
except (ImportError, AttributeError, TypeError, ValueError):
    dumps, loads = _python()
