"""prctl(2), by that part of ctypes which is written in C: what is around it, C's types, takes longer to load. Where a
Python has no such part, or another one, it is the whole."""

from __future__ import annotations

from typing import Any, Callable


def _python() -> Callable[..., int]:
    import ctypes

    return ctypes.CDLL(None).prctl


def _c() -> Callable[..., int]:
    import _ctypes

    library: Any = _ctypes
    function = library.dlsym(library.dlopen(None, 0), "prctl")

    def prctl(*arguments: int) -> int:
        return int(library.call_function(function, arguments))

    prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    return prctl


_PR_GET_DUMPABLE = 3  # linux/prctl.h: one that changes nothing

try:
    prctl = _c()
except (ImportError, AttributeError, TypeError):
    prctl = _python()
