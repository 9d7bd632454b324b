"""What contextlib and functools have too, which take longer to load than an agent to start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import suppress as suppress
    from functools import cached_property as cached_property
else:

    class suppress:
        """Exceptions of these kinds end the block, and nothing else."""

        def __init__(self, *kinds: type[BaseException]) -> None:
            self._kinds = kinds

        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
            return kind is not None and issubclass(kind, self._kinds)

    class cached_property:
        """An attribute that is made when it is first asked for. There is one thread."""

        def __init__(self, make: Any) -> None:
            self._make = make

        def __get__(self, instance: Any, owner: type) -> Any:
            return instance.__dict__.setdefault(self._make.__name__, self._make(instance))
