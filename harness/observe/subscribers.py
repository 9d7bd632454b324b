"""Who is told of something, and what becomes of one that cannot bear it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVarTuple

Args = TypeVarTuple("Args")


class Subscribers(Generic[*Args]):
    """Plain functions that are called in the order in which they came.

    One that raises is dropped, for its state is not to be trusted any more, and `defect` is told which one it was
    and what it raised: a subscriber's bug must harm neither the others nor whoever tells them."""

    def __init__(self, defect: Callable[[str, Exception], None]) -> None:
        self._defect = defect
        self._callbacks: dict[object, Callable[[*Args], object]] = {}

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[*Args], object]) -> Callable[[], None]:
        """Returns what ends the subscription: at once, and a second time nothing happens."""
        key = object()
        self._callbacks[key] = callback

        def end() -> None:
            self._callbacks.pop(key, None)

        return end

    def tell(self, *args: *Args) -> None:
        """Call them all."""
        for key in tuple(self._callbacks):
            callback = self._callbacks.get(key)
            if callback is None:
                continue  # one that was told before has ended this one's subscription
            try:
                callback(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is: the subscriber goes, the feed stays
                self._callbacks.pop(key, None)
                self._defect(name_of(callback), error)


def name_of(callback: Callable[..., object]) -> str:
    """`module.Class.method`, as far as it has such a name."""
    names = (getattr(callback, "__module__", None), getattr(callback, "__qualname__", None))
    return ".".join(filter(None, names)) or repr(callback)
