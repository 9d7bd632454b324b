"""What contextlib has too, which takes longer to load than an agent to start."""

from __future__ import annotations


class suppress:
    """Exceptions of these kinds end the block, and nothing else."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)
