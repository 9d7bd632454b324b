"""Where the control socket of a run is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "control.sock"
_MAX_ADDRESS = 100
"""Bytes of a socket's address that every system takes (104 on macOS, 108 on Linux, with the final nought)."""


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """The socket's address within a run's directory, good while this is held: a path that is longer than addresses may
    be is reached through an open descriptor of its folder.

    Raises OSError when there is no such folder, or when the path is too long on a system without /proc."""
    path = str(folder / NAME)
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
