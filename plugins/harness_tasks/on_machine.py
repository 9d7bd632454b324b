"""What the tasks do on a machine itself: this file is run there, by that machine's Python (see remote.py).

After it, stdin has the request, marshalled, and then the bytes that the request counts; stdout gets a JSON answer. What
cannot be done is told on stderr, with exit status 1. Nothing but the standard library is used, nothing of it that is
newer than Python 3.8, and little of it: loading json, tempfile and typing takes longer than all that is done here."""

from __future__ import annotations

import binascii
import grp
import marshal
import os
import pwd
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

CHUNK = 1024 * 1024
POLL = 0.1
"""Seconds between two looks at something that is waited for."""


class Refused(Exception):
    """Its text says why something cannot be done."""


def look(request: dict[str, Any], data: BinaryIO) -> dict[str, Any]:
    """The state of each of `paths`; with it the content (base64) of files of up to `texts` bytes. Where none of them is
    there, `new` is written, if it is not None."""
    states = [state(encoded(path), request["texts"]) for path in request["paths"]]
    new = request["new"] is not None and all(each["kind"] == "absent" for each in states)
    if new:
        write(request["new"], data)
    return {"states": states, "written": new}


def state(path: bytes, texts: int = 0) -> dict[str, Any]:
    """`kind` is absent, file, folder, link or other; what is there has mode and owner, a file its content's hash."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    found = {
        "kind": kind(status.st_mode),
        "mode": stat.S_IMODE(status.st_mode),
        "user": [str(status.st_uid), user_name(status.st_uid)],
        "group": [str(status.st_gid), group_name(status.st_gid)],
    }
    if found["kind"] == "file":
        with open(path, "rb") as file:  # noqa: PTH123 - a path of bytes: names need not be text
            start = file.read(texts + 1)
            digest, size = digester(status.st_size), len(start)
            digest.update(start)
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        found.update(size=size, sha256=digest.hexdigest())
        if size <= texts:
            found["content"] = binascii.b2a_base64(start, newline=False).decode()
    return found


def digester(size: int) -> Any:
    """SHA-256 of about so many bytes: for few, Python's own, as loading OpenSSL's takes longer than it saves."""
    for name in ("_sha2", "_sha256") if size <= CHUNK else ():  # from Python 3.12, and before
        try:
            return __import__(name).sha256()
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256()


def kind(mode: int) -> str:
    known: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISLNK, "link"),
    ]
    return next((name for is_one, name in known if is_one(mode)), "other")


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def write(request: dict[str, Any], data: BinaryIO) -> None:
    """Make `folders`, then write `files`, each whole or not at all, in their order."""
    for folder in request["folders"]:
        os.makedirs(encoded(folder), exist_ok=True)  # noqa: PTH103
    for file in request["files"]:
        try:
            write_one(file, data)
        except OSError as error:  # whatever is not there, or refused, was for the sake of this file
            raise Refused(f"{shown(encoded(file['path']))}: {error.strerror or error}") from None


def write_one(file: dict[str, Any], data: BinaryIO) -> None:
    if file["source"] == "here":  # its content is
        set_attributes(encoded(file["path"]), file)
    elif file["source"] == "stdin":
        replace(file, Limited(data, file["size"]))
    else:
        with open(encoded(file["source"]), "rb") as staged:  # noqa: PTH123
            replace(file, staged)


class Limited:
    """The next `size` bytes of a stream, as a file of their own."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


def replace(file: dict[str, Any], content: Any) -> None:
    """Have a new file there, with the mode and owner of the one that it replaces where nothing else is asked for."""
    path = encoded(file["path"])
    folder = os.path.dirname(path)  # noqa: PTH120
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    temporary = os.path.join(folder, b".harness-" + binascii.b2a_hex(os.urandom(8)))  # noqa: PTH118
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        digest = digester(file["size"])
        with os.fdopen(descriptor, "wb") as new:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                new.write(chunk)
        if digest.hexdigest() != file["sha256"]:
            raise Refused(f"{shown(path)}: what came is not what was sent: the file was changed while it was copied")
        old = state(path)
        if old["kind"] == "file":
            os.chown(temporary, int(old["user"][0]), int(old["group"][0]))
        os.chmod(temporary, old["mode"] if old["kind"] == "file" else file["new_mode"])  # noqa: PTH101
        set_attributes(temporary, file)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)  # noqa: PTH108
        raise


def set_attributes(path: bytes, file: dict[str, Any]) -> None:
    if file["owner"]:
        name, _, group = file["owner"].partition(":")
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        os.chown(path, user_id(name), group_id(group) if group else -1)
        os.chmod(path, mode)  # noqa: PTH101 - a change of owner takes set-user-id away
    if file["mode"] is not None:
        os.chmod(path, file["mode"])  # noqa: PTH101


def user_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Refused(f"there is no user {name}") from None


def group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise Refused(f"there is no group {name}") from None


def wait(request: dict[str, Any], data: BinaryIO) -> dict[str, Any]:
    """Wait until a port takes connections, or a path is there, for `timeout` seconds: whether it came, how long that
    took, and what was said instead."""
    began = time.monotonic()
    end = began + request["timeout"]
    while True:
        there, said = is_there(request, max(1.0, end - time.monotonic()))
        if there or time.monotonic() + POLL > end:
            return {"there": there, "said": said, "seconds": time.monotonic() - began}
        time.sleep(POLL)


def is_there(request: dict[str, Any], patience: float) -> tuple[bool, str]:
    if request["path"]:
        return os.path.exists(encoded(request["path"])), ""  # noqa: PTH110
    import socket

    try:
        with socket.create_connection((request["host"], request["port"]), timeout=min(patience, 5.0)):
            return True, ""
    except OSError as error:
        return False, f": {error.strerror or error}"


def encoded(path: str) -> bytes:
    """A path as the file system has it, whatever this machine's locale."""
    return path.encode("utf-8", "surrogateescape")


def shown(path: Any) -> str:
    return path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else str(path)


def notation(value: Any) -> str:
    """As JSON."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{notation(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(notation, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and not {'"', "\\"} & set(text):
        return f'"{text}"'
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'


DOES: dict[str, Callable[[dict[str, Any], BinaryIO], Any]] = {"look": look, "write": write, "wait": wait}


def main() -> None:
    data = sys.stdin.buffer
    request = marshal.load(data)
    try:
        sys.stdout.write(notation(DOES[sys.argv[-1]](request, data)))
    except Refused as error:
        sys.exit(str(error))
    except OSError as error:
        names = [shown(name) for name in (error.filename, error.filename2) if name is not None]
        sys.exit(": ".join([*names[-1:], error.strerror or str(error)]))


if __name__ == "__main__":
    main()
