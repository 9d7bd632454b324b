"""Events as JSON lines, and back.

A line is one ASCII JSON object: the envelope (`seq`, `at`, `t`, `kind`), then the event's own fields. `kind` is the
class name in kebab case. Writing never fails, whatever a plugin has put in its evidence (see `jsonable`). Reading
checks every field against its annotation, so that whoever reduces a journal need not distrust it again."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import json
import math
import re
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import PurePath
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.record.events import Event, Recorded
from harness.redact import redact, redact_value

_ENVELOPE = ("seq", "at", "t", "kind")
_MAX_DEPTH = 32
_MAX_INT_BITS = 14_000  # about 4,200 digits; Python neither writes nor reads more than 4,300


class DecodeError(ValueError):
    """A line that is not an event as this version knows them."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """How one class of events is written and read."""

    kind: str
    cls: type[Event]
    names: tuple[str, ...]
    values: Callable[[Event], tuple[Any, ...]]
    readers: Mapping[str, Callable[[Any], Any]]
    exact: tuple[type | None, ...] | None
    """Types of values, in the order of `names`, that need no reader: they are as they are to be."""


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _wrong(expected: str, value: object) -> DecodeError:
    return DecodeError(f"expected {expected}, found {reprlib.repr(value)}")


def _read_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _wrong("text", value)


def _read_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong("a whole number", value)


def _read_float(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    raise _wrong("a number", value)


def _finite(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _wrong("a number that a float can hold", value) from None


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong("true or false", value)


def _read_any(value: Any) -> Any:
    return value


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    str: _read_str, int: _read_int, float: _read_float, bool: _read_bool, Any: _read_any,
}  # fmt: skip


def _reader(annotation: Any) -> Callable[[Any], Any]:
    """What checks (and converts) a JSON value for a field annotated so. Raises TypeError for annotations that no
    event has used yet: extend this when one does."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType) and len(args) == 2 and types.NoneType in args:
        read = _reader(next(arg for arg in args if arg is not types.NoneType))
        return lambda value: None if value is None else read(value)
    if origin is tuple and args[1:] == (...,):
        item = _reader(args[0])

        def read_tuple(value: Any) -> tuple[Any, ...]:
            if isinstance(value, list):
                return tuple(map(item, value))
            raise _wrong("a list", value)

        return read_tuple
    if origin is collections.abc.Mapping and args[0] is str:
        entry = _reader(args[1])

        def read_mapping(value: Any) -> dict[str, Any]:
            if isinstance(value, dict):
                return {key: entry(inner) for key, inner in value.items()}
            raise _wrong("an object", value)

        return read_mapping
    raise TypeError(f"events cannot have fields annotated {annotation}")


_PLAIN: dict[Any, type] = {str: str, int: int, float: float, bool: bool, Mapping[str, Any]: dict}


def _exact(annotations: Iterable[Any]) -> tuple[type | None, ...] | None:
    """The types that JSON has for fields annotated so, where its values can be taken as they are; None where one of
    them cannot."""
    choices = []
    for annotation in annotations:
        parts = get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,)
        choices.append(_PLAIN.get(next(part for part in parts if part is not types.NoneType)))
    return None if None in choices else tuple(choices)


def _values(names: tuple[str, ...]) -> Callable[[Event], tuple[Any, ...]]:
    if len(names) == 1:  # attrgetter of one name gives the value itself
        name = names[0]
        return lambda event: (getattr(event, name),)
    return attrgetter(*names)


def _describe(cls: type[Event]) -> _Kind:
    names = tuple(field.name for field in dataclasses.fields(cls))
    if clash := set(names) & set(_ENVELOPE):
        raise TypeError(f"{cls.__name__} has fields of the envelope: {sorted(clash)}")
    hints = get_type_hints(cls)
    readers = {name: _reader(hints[name]) for name in names}
    return _Kind(_kebab(cls.__name__), cls, names, _values(names), readers, _exact(hints[name] for name in names))


_BY_CLASS: dict[type[Event], _Kind] = {cls: _describe(cls) for cls in Event.__subclasses__()}
_BY_KIND: dict[str, _Kind] = {kind.kind: kind for kind in _BY_CLASS.values()}


def kind_of(event: Event) -> str:
    """The `kind` of its line: `BlockObserved` is "block-observed"."""
    return _BY_CLASS[type(event)].kind


def jsonable(value: Any, depth: int = 0) -> Any:
    """The nearest thing that JSON has; there is one for everything.

    Non-finite floats become "NaN", "Infinity", "-Infinity"; bytes hexadecimal text; paths text; dates and times that
    of ISO 8601; enums their value; dataclasses and mappings objects; sets sorted lists; anything else, and what is
    nested too deep, its repr."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return jsonable(value.value, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MAX_INT_BITS else hex(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if depth >= _MAX_DEPTH:
        return reprlib.repr(value)
    if isinstance(value, Mapping):
        return {_key(key): jsonable(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | collections.abc.ValuesView):
        return [jsonable(inner, depth + 1) for inner in value]
    if isinstance(value, collections.abc.Set):
        return sorted(
            (jsonable(inner, depth + 1) for inner in value), key=lambda item: (type(item).__name__, str(item))
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
    return reprlib.repr(value)


def _key(key: Any) -> str:
    plain = jsonable(key, _MAX_DEPTH)
    return plain if isinstance(plain, str) else json.dumps(plain)


def without_secrets(event: Event) -> Event:
    """The event with every known secret in its texts replaced; the names of its fields are our own."""
    kind = _BY_CLASS[type(event)]
    clean = {name: _clean(value) for name, value in zip(kind.names, kind.values(event), strict=True)}
    return dataclasses.replace(event, **clean)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_clean, value))
    return redact_value(jsonable(value))


_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=True, default=jsonable)


def encode(recorded: Recorded) -> bytes:
    """Its line, newline included. ASCII only: control characters and whatever else a terminal might act on are
    escaped by JSON itself."""
    event = recorded.event
    kind = _BY_CLASS[type(event)]
    line = {"seq": recorded.seq, "at": recorded.at, "t": recorded.t, "kind": kind.kind}
    line.update(zip(kind.names, kind.values(event), strict=True))
    try:
        text = _encoder.encode(line)
    except (ValueError, TypeError, RecursionError):  # a NaN, an odd key, a cycle: rare, so only then looked at closely
        text = _encoder.encode(jsonable(line))
    return text.encode("ascii") + b"\n"


def _parse(line: bytes) -> Any:
    """As json.loads does, quicker for the lines that `encode` writes."""
    try:
        return json.loads(line.decode("ascii"))
    except ValueError:
        return json.loads(line)


def decode(line: bytes) -> Recorded | None:
    """The event of a line; None for a kind that this version does not know. Unknown fields are dropped.

    Raises DecodeError for anything that is not such a line."""
    try:
        data = _parse(line)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _wrong("an object", data)
    try:
        seq, at, t = _read_int(data["seq"]), _read_float(data["at"]), _read_float(data["t"])
        if not (math.isfinite(at) and math.isfinite(t)):
            raise _wrong("a moment", t)
        kind = _BY_KIND.get(_read_str(data["kind"]))
        if kind is None:
            return None
        values = tuple(map(data.get, kind.names))
        if tuple(map(type, values)) == kind.exact:
            return Recorded(seq, at, t, kind.cls(*values))
        fields = {name: read(data[name]) for name, read in kind.readers.items() if name in data}
        return Recorded(seq, at, t, kind.cls(**fields))
    except KeyError as error:
        raise DecodeError(f"no field {error}") from None
    except TypeError as error:  # a required field is missing: the constructor names it
        raise DecodeError(str(error)) from None
