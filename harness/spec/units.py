"""Units as people write them: durations, sizes, rates, and time measured in blocks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from harness.spec.durations import LONGEST, decimal, format_duration, parse_duration, seconds_of, shown

LARGEST = 2**40
"""Bytes that may be asked for."""
FASTEST = 1e9
"""So many per block, or per second, may be asked for."""
_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(block|s|m)")
_AT_BLOCK = re.compile(r"block\s+(\d{1,12})")
_BLOCKS = re.compile(r"(\d+(?:\.\d+)?)\s*blocks?")


def parse_size(value: object) -> int:
    """Bytes of `"64KiB"`, `"1.5MB"`, or a bare whole number. Raises ValueError."""
    size: float | None = None
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[match[2]]
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    if size is not None and size > LARGEST:
        raise ValueError(f"{shown(value)} is more than 1 TiB")
    if size is not None:
        return round(size)
    raise ValueError(f'{shown(value)} is not a size; write one like "512B", "64KiB" or "1MB"')


@dataclass(frozen=True, slots=True)
class _Unit:
    """What the dataclasses below share: pydantic reads them with `parse`, JSON Schema shows `_schema`."""

    @classmethod
    def parse(cls, value: object) -> Any:
        raise NotImplementedError

    @classmethod
    def _schema(cls) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return cls._schema()


@dataclass(frozen=True, slots=True)
class Rate(_Unit):
    """So many per block or per second: `"15/block"`, `"200/s"`; a bare number means per block."""

    value: float
    per: Literal["block", "s"] = "block"

    def per_second(self, block_interval: float) -> float:
        """`block_interval`: the chain's mean seconds from block to block."""
        return self.value if self.per == "s" else self.value / block_interval

    def __str__(self) -> str:
        return f"{decimal(self.value)}/{self.per}"

    @classmethod
    def parse(cls, value: object) -> Rate:
        if isinstance(value, Rate):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            if value > FASTEST:
                raise ValueError(f"{shown(value)} is more than {FASTEST:,.0f} per block")
            return cls(float(value))
        if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
            if float(match[1]) > FASTEST:
                raise ValueError(f"{shown(value)} is more than {FASTEST:,.0f}")
            if match[2] == "m":
                return cls(float(match[1]) / 60, "s")
            return cls(float(match[1]), "block" if match[2] == "block" else "s")
        raise ValueError(f'{shown(value)} is not a rate; write one like "15/block" or "200/s"')

    @classmethod
    def _schema(cls) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*/\s*(block|s|m)$"}
        return {"anyOf": [{"type": "number", "minimum": 0}, text], "examples": ["15/block", "200/s"]}


@dataclass(frozen=True, slots=True)
class Span(_Unit):
    """A length of time, in seconds or in protocol time: `"60s"`, `"20 blocks"`."""

    value: float
    unit: Literal["s", "blocks"] = "s"

    def seconds(self, block_interval: float) -> float:
        """`block_interval`: the chain's mean seconds from block to block."""
        return self.value if self.unit == "s" else self.value * block_interval

    def __str__(self) -> str:
        if self.unit == "blocks":
            return f"{decimal(self.value)} blocks"
        short = format_duration(self.value)  # about three digits: as people write, if that says all
        return short if seconds_of(short) == self.value else f"{decimal(self.value)}s"

    @classmethod
    def parse(cls, value: object) -> Span:
        if isinstance(value, Span):
            return value
        if isinstance(value, str) and (match := _BLOCKS.fullmatch(value.strip())):
            if float(match[1]) > LONGEST:
                raise ValueError(f"{shown(value)} is more than {LONGEST:,.0f} blocks")
            return cls(float(match[1]), "blocks")
        try:
            return cls(parse_duration(value))
        except ValueError as error:
            alternative = ', or "20 blocks"' if "; write" in str(error) else ""
            raise ValueError(f"{error}{alternative}") from None

    @classmethod
    def _schema(cls) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^((\d+(\.\d+)?(ms|s|m|h|d))+|\d+(\.\d+)?\s*blocks?)$",
            "examples": ["60s", "2m30s", "20 blocks"],
        }


@dataclass(frozen=True, slots=True)
class Moment(_Unit):
    """A moment of the drive: the first block of a height (`"block 30"`), or so long after its begin (`"20s"`,
    `"10 blocks"`)."""

    height: int | None = None
    span: Span = Span(0.0)

    def __str__(self) -> str:
        return str(self.span) if self.height is None else f"block {self.height}"

    @classmethod
    def parse(cls, value: object) -> Moment:
        if isinstance(value, Moment):
            return value
        if isinstance(value, str) and (match := _AT_BLOCK.fullmatch(value.strip())):
            return cls(height=int(match[1]))
        try:
            return cls(span=Span.parse(value))
        except ValueError as error:
            alternative = ', or "block 30"' if "; write" in str(error) else ""
            raise ValueError(f"{error}{alternative}") from None

    @classmethod
    def _schema(cls) -> dict[str, Any]:
        return {"type": "string", "examples": ["block 30", "20s", "10 blocks"]}


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda seconds: f"{decimal(seconds)}s", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["10s", "2m30s"]}),
]
"""For plugins' `Config`s: seconds, written as `"10s"`. Defaults in code are plain floats of seconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}], "examples": ["64KiB"]}),
]
"""For plugins' `Config`s: bytes, written as `"64KiB"` or a whole number."""
