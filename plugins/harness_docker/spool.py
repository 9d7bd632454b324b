"""Files for a container that is not there yet, kept on the controller's disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from harness_docker.archive import write_atomically


@dataclass(frozen=True, slots=True)
class Held:
    """A file that is held: where it is kept, and its mode in the container."""

    kept: Path
    mode: int


class Spool:
    """What was put on a machine before it is there: until then, this is all that it holds. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[PurePosixPath, Held] = {}
        self._numbers = 0

    @property
    def files(self) -> Sequence[tuple[PurePosixPath, Held]]:
        """In order of their paths."""
        return sorted(self._files.items())

    def put(self, content: bytes | Path, path: PurePosixPath, mode: int) -> None:
        def fill(file: IO[bytes]) -> None:
            if isinstance(content, bytes):
                file.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)

        self._numbers += 1
        kept = self._folder / str(self._numbers)
        write_atomically(kept, fill)
        self.remove(path)
        self._files[path] = Held(kept, mode)

    def find(self, path: PurePosixPath) -> Path:
        """Where a file is kept. Raises FileNotFoundError, IsADirectoryError."""
        if path in self._files:
            return self._files[path].kept
        if any(path in held.parents for held in self._files):
            raise IsADirectoryError(f"{path} is a folder")
        raise FileNotFoundError(f"{path} was not put there, and its container is made when its node starts")

    def remove(self, path: PurePosixPath) -> None:
        """A file, or everything below a folder."""
        for held in [held for held in self._files if held == path or path in held.parents]:
            self._files.pop(held).kept.unlink()

    def clear(self) -> None:
        self._files.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
