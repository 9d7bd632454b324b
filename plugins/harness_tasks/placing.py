"""Having files on a machine: what differs, sending that, and saying what it was."""

from __future__ import annotations

import base64
import difflib
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from harness.api import InfrastructureError, Machine, TaskContext, TaskResult
from harness_tasks.remote import ask

T = TypeVar("T")
R = TypeVar("R")

INLINE = 256 * 1024
MOST_INLINE = 8 * 1024 * 1024
"""Bytes of a file, and of all, that travel with the request; others are sent by themselves, as machines send files."""
ALONG = 64 * 1024
"""Bytes of all files up to which they are sent with the question whether they are there: new ones are then, at once."""
TEXTS = 64 * 1024
"""Bytes up to which the content of a file is shown in a diff."""
TIMEOUT = 600.0
"""Seconds for one request."""
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as it is to be. `content` is bytes or a file of the controller. Without `mode` or `owner` ("user" or
    "user:group") those of the file that is there stay; one that is new gets `new_mode`."""

    path: str
    content: bytes | Path
    sha256: str
    size: int
    mode: int | None = None
    new_mode: int = 0o644
    owner: str = ""

    @classmethod
    def of(cls, path: str, content: bytes, mode: int | None, owner: str) -> Wanted:
        return cls(path, content, hashlib.sha256(content).hexdigest(), len(content), mode, owner=owner)


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as it is to be: in words, and whether the content has to be sent."""

    file: Wanted
    state: Mapping[str, Any]
    what: tuple[str, ...]
    send: bool


async def place(
    machine: Machine, ctx: TaskContext, files: Sequence[Wanted], folders: Sequence[str] = (), *, check: bool
) -> TaskResult:
    """Have these files and folders on the machine; with `check` only say what that would change.

    Raises InfrastructureError with the machine's own words."""
    paths = [*(file.path for file in files), *folders]
    along, data = None, b""
    if not check and sum(file.size for file in files) <= ALONG:
        entries, data = await _inline([Change(file, {}, (), send=True) for file in files])
        along = {"folders": list(folders), "files": entries}
    request = {"paths": paths, "texts": TEXTS if check else 0, "new": along}
    answer = await ask(machine, "look", request, become=ctx.become, timeout=TIMEOUT, data=data)
    states = answer["states"]
    missing = [folder for folder, state in zip(folders, states[len(files) :], strict=True) if _missing(folder, state)]
    pairs = zip(files, states[: len(files)], strict=True)
    changes = [change for file, state in pairs if (change := difference(file, state)) is not None]
    if not changes and not missing:
        return TaskResult(changed=False)
    if check:
        return TaskResult(True, _told(changes, missing), await _in_thread(_diff, changes))
    if not answer["written"]:
        await _send(machine, ctx, changes, missing)
    return TaskResult(True, _told(changes, missing))


def difference(file: Wanted, state: Mapping[str, Any]) -> Change | None:
    """Between what is there and what is to be; None where there is none. Raises InfrastructureError for a folder, or
    something else that is no file, in its place."""
    match state["kind"]:
        case "absent":
            return Change(file, state, ("new",), send=True)
        case "link":
            return Change(file, state, ("in place of a link",), send=True)
        case "file":
            what = tuple(_differing(file, state))
            return Change(file, state, what, send=state["sha256"] != file.sha256) if what else None
        case kind:
            raise InfrastructureError(f"{file.path}: there is a {kind if kind == 'folder' else 'special file'} already")


def _differing(file: Wanted, state: Mapping[str, Any]) -> Iterator[str]:
    if state["sha256"] != file.sha256:
        yield "content"
    if file.mode is not None and state["mode"] != file.mode:
        yield f"mode {state['mode']:04o} → {file.mode:04o}"
    user, _, group = file.owner.partition(":")
    if (user and user not in state["user"]) or (group and group not in state["group"]):
        yield f"owner {state['user'][-1] or state['user'][0]}:{state['group'][-1] or state['group'][0]} → {file.owner}"


def _missing(folder: str, state: Mapping[str, Any]) -> bool:
    if state["kind"] in ("file", "other"):
        raise InfrastructureError(f"{folder}: there is a file in the place of a folder")
    return bool(state["kind"] == "absent")


def _told(changes: Sequence[Change], folders: Sequence[str]) -> str:
    """`/etc/x: content`; of many the first ones."""
    told = [f"{change.file.path}: {', '.join(change.what)}" for change in changes]
    told += [f"{folder}/: new" for folder in folders]
    more = f" … and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return "; ".join(told[:_TOLD]) + more


async def _send(machine: Machine, ctx: TaskContext, changes: Sequence[Change], folders: Sequence[str]) -> None:
    staged: dict[str, PurePosixPath] = {}
    total = 0
    try:
        for change in changes:
            file = change.file
            if change.send and (file.size > INLINE or total + file.size > MOST_INLINE):
                path = staged[file.path] = PurePosixPath(f"/tmp/.harness-{secrets.token_hex(16)}")
                await machine.put(file.content, path, 0o600)
            elif change.send:
                total += file.size
        entries, data = await _inline(changes, staged)
        request = {"folders": list(folders), "files": entries}
        await ask(machine, "write", request, become=ctx.become, timeout=TIMEOUT, data=data)
    finally:
        with anyio.CancelScope(shield=True):
            for path in staged.values():
                await machine.remove(path)


async def _inline(
    changes: Sequence[Change], staged: Mapping[str, PurePosixPath] = MappingProxyType({})
) -> tuple[list[dict[str, Any]], bytes]:
    """What is to be written, as on_machine takes it, and the content of what is not staged."""
    entries, data = [], bytearray()
    for change in changes:
        file, source = change.file, "here"
        if file.path in staged:
            source = str(staged[file.path])
        elif change.send:
            content = await _read(file.content)
            if len(content) != file.size:
                raise InfrastructureError(f"the source of {file.path} was changed while it was copied")
            data += content
            source = "stdin"
        entries.append(
            {
                "path": file.path,
                "source": source,
                "size": file.size,
                "sha256": file.sha256,
                "mode": file.mode,
                "new_mode": file.new_mode,
                "owner": file.owner,
            }
        )
    return entries, bytes(data)


async def _read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else await _in_thread(Path.read_bytes, content)


async def _in_thread(call: Callable[[T], R], argument: T) -> R:
    """Raises InfrastructureError for a file of the controller that cannot be read."""
    try:
        return await anyio.to_thread.run_sync(call, argument)
    except OSError as error:
        raise InfrastructureError(f"{error.filename} cannot be read: {error.strerror}") from None


def _diff(changes: Sequence[Change]) -> str:
    """Of every file's content. Reads files: call it in a worker thread. Raises OSError."""
    return "".join(_diff_of(change.file, change.state) for change in changes if change.send)


def _diff_of(file: Wanted, state: Mapping[str, Any]) -> str:
    """As `diff -u` has it, where both are short texts; else their sizes."""
    is_new = state["kind"] != "file"
    old = "" if is_new else _text(base64.b64decode(state["content"])) if "content" in state else None
    new = None
    if file.size <= TEXTS:
        new = _text(file.content if isinstance(file.content, bytes) else file.content.read_bytes())
    if old is None or new is None:
        return f"{file.path}: {state.get('size', 0):,} → {file.size:,} bytes\n"
    names = ("/dev/null" if is_new else file.path, file.path)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _text(content: bytes) -> str | None:
    try:
        return content.decode() if b"\0" not in content else None
    except UnicodeDecodeError:
        return None
