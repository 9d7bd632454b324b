"""Where templates are evaluated: Jinja2's sandbox, without chance, and without results of a size that nobody means.

Imports jinja2: import it when needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.filters import do_format
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST = 100_000
"""Characters or elements that an operation may give; jinja2's own bound for range() is the same."""
_LARGEST_BITS = 4096
_WIDE = re.compile(r"\d{6}|\*")  # a width of more than LARGEST in a format, or one that an argument gives


class Sandbox(ImmutableSandboxedEnvironment):
    """Refuses, with SecurityError, what would take all memory or endless time: `'x' * 10000000000`, `9 ** (9 ** 9)`."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        # One seed gives one run: nothing that a template says may depend on chance.
        del self.globals["lipsum"], self.filters["random"]
        del self.filters["center"], self.filters["indent"]  # they lay out pages, as wide as they are told to
        self.filters["format"] = _format

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _too_large(operator, left, right):
            raise SecurityError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(getattr(obj, "__self__", None), str) and any(isinstance(a, int) and a > LARGEST for a in args):
            raise SecurityError(f"the result of {obj.__name__}() is too large")
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and _WIDE.search(value.__self__):
            raise SecurityError("the result of format() is too large")
        return wrapped


def _too_large(operator: str, left: Any, right: Any) -> bool:
    """Whether the result is larger than anybody means."""
    if operator == "%":
        return isinstance(left, str) and bool(_WIDE.search(left))
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > _LARGEST_BITS
    many, times = (left, right) if isinstance(right, int) else (right, left)
    return isinstance(many, str | list | tuple) and isinstance(times, int) and len(many) * times > LARGEST


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    if _WIDE.search(str(value)):
        raise SecurityError("the result of format is too large")
    return do_format(value, *args, **kwargs)
