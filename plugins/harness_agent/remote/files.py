"""Files: written atomically, read in chunks, big ones resumed where the last connection left off."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from .frames import CHUNK
from .light import suppress


def put(path: str, content: bytes, mode: int) -> None:
    """Write a whole file, its folders included."""
    temporary = os.path.join(_parent(path), f".put-{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def temporary_file() -> int:
    """An open file without a name, to be appended to: nothing of it is left when the last who has it open ends."""
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f".harness-{os.urandom(8).hex()}")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor


def partial(path: str, upload: str) -> str:
    """Where a big file is kept until it has come whole; `upload` is what the one who sends it calls that."""
    return os.path.join(_parent(path), f".put-{upload}")


def have(path: str, sha256: str, upload: str) -> Iterator[dict[str, Any]]:
    """What is there of a file with this content: `complete`, or the `offset` that its next byte goes to. In slices,
    the answer being the last."""
    if os.path.isfile(path):
        found = ""
        for step in digest(path):
            found = step
            yield {}
        if found == sha256:
            yield {"complete": True}
            return
    try:
        yield {"offset": os.stat(partial(path, upload)).st_size}
    except FileNotFoundError:
        yield {"offset": 0}


def append(path: str, upload: str, offset: int, content: bytes) -> None:
    """The next piece of a big file; one that is there already changes nothing. Raises ValueError when there is a gap
    before it."""
    descriptor = os.open(partial(path, upload), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        there = os.fstat(file.fileno()).st_size
        if there < offset:
            raise ValueError(f"{path}: a piece for offset {offset}, but only {there} bytes are there")
        if there < offset + len(content):
            file.seek(offset)
            file.write(content)


def finish(path: str, upload: str, sha256: str, mode: int) -> Iterator[dict[str, Any]]:
    """Give a big file that has come whole its name; one that has it already keeps it. In slices. Raises ValueError
    when it is not what was sent."""
    temporary = partial(path, upload)
    source = temporary if os.path.exists(temporary) else path
    found = ""
    for step in digest(source):
        found = step
        yield {}
    if found != sha256:
        drop(path, upload)
        raise ValueError(f"{path}: what came has the SHA-256 {found}, not {sha256}")
    os.chmod(source, mode)
    os.replace(source, path)


def drop(path: str, upload: str) -> None:
    """Forget what has come of a file."""
    with suppress(FileNotFoundError):
        os.unlink(partial(path, upload))


def digest(path: str) -> Iterator[str]:
    """SHA-256 in slices: "" until the last, which is the digest."""
    import hashlib  # not at the top: it is slow to load, and few need it

    digester = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            data = file.read(16 * CHUNK)
            if not data:
                break
            digester.update(data)
            yield ""
    yield digester.hexdigest()


def read(path: str, offset: int, length: int) -> tuple[bytes, bool]:
    """A piece of a file, and whether it is the last."""
    with open(path, "rb") as file:
        if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
            raise IsADirectoryError(path)
        file.seek(offset)
        content = file.read(length)
        return content, len(content) < length


def remove(path: str) -> None:
    """A file, a link or a whole folder; nothing where there is none."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil  # not at the top: it is slow to load

        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _parent(path: str) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    return folder
