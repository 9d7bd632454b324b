"""known_hosts files as sshd(8) describes them: plain and hashed names, patterns, [host]:port, @revoked.

Host certificates (@cert-authority) are not asked for by this client, so their lines say nothing to it."""

from __future__ import annotations

import base64
import enum
import fnmatch
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PATTERN = frozenset("*?!|")
"""What is in names that are more than names: patterns, and hashes."""
_reading = threading.Lock()


class Trust(enum.Enum):
    """What known_hosts files say of a key that a host shows."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `names` as written: patterns, or one hash."""

    marker: str
    names: str
    type: str
    key: bytes
    file: Path
    line: int

    def matches(self, name: str) -> bool:
        """Whether the line is about the host that known_hosts calls so: `host` or `[host]:port`."""
        name = name.lower()
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        names = self.names.lower()
        if names == name:
            return True
        matched = False
        for pattern in names.split(","):
            negated = pattern.startswith("!")
            if matches_pattern(pattern[negated:], name):
                if negated:
                    return False
                matched = True
        return matched


@dataclass(frozen=True, slots=True)
class Verdict:
    """`entry` is the line that decides, where there is one."""

    trust: Trust
    entry: Entry | None = None


def read(files: Iterable[Path], name: str) -> tuple[Entry, ...]:
    """The entries of these files, in order, that may be about the host that they call so; files that are not there or
    not to be read have none."""
    return tuple(entry for file in files for entry in _lines(file).about(_names(name)))


class _Lines:
    """Of a file. Each of many hosts looks at what may be about it, not at all that is about others."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_name: dict[str, list[Entry]] = {}
        self._patterns: list[Entry] = []
        for entry in entries:
            if not _PATTERN.isdisjoint(entry.names):
                self._patterns.append(entry)
                continue
            for name in entry.names.lower().split(","):
                self._by_name.setdefault(name, []).append(entry)

    def about(self, names: Iterable[str]) -> list[Entry]:
        named = (entry for name in names for entry in self._by_name.get(name.lower(), ()))
        return sorted({entry.line: entry for entry in (*named, *self._patterns)}.values(), key=lambda entry: entry.line)


def _lines(file: Path) -> _Lines:
    try:
        status = file.stat()
    except OSError:
        return _Lines(())
    with _reading:  # the first is waited for, rather than done again by each
        return _read(file, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=64)
def _read(file: Path, *_: int) -> _Lines:
    return _Lines(parse(_text(file), file))


def parse(text: str, file: Path) -> tuple[Entry, ...]:
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3:
            continue
        try:
            key = base64.b64decode(words[2], validate=True)
        except ValueError:
            continue
        entries.append(Entry(marker, words[0], words[1], key, file, number))
    return tuple(entries)


def judge(entries: Sequence[Entry], name: str, type: str, key: bytes) -> Verdict:
    """What is known of a host's key. A host of whom only keys of other types are known has changed: it was asked for
    those first (`types`), so it has them no more."""
    mine = [entry for entry in entries if entry.marker != "@cert-authority" and entry.matches(name)]
    for entry in mine:
        if entry.marker == "@revoked" and entry.key == key:
            return Verdict(Trust.REVOKED, entry)
    held = [entry for entry in mine if not entry.marker]
    same = next((entry for entry in held if entry.key == key), None)
    if same is not None:
        return Verdict(Trust.KNOWN, same)
    if held:
        return Verdict(Trust.CHANGED, next((entry for entry in held if entry.type == type), held[0]))
    # As ssh does for a port of its own: the key may be known for the host without it.
    if bare := re.fullmatch(r"\[(.*)\]:\d+", name):
        plain = judge(entries, bare[1], type, key)
        if plain.trust in (Trust.KNOWN, Trust.REVOKED):
            return plain
    return Verdict(Trust.UNKNOWN)


def types(entries: Sequence[Entry], name: str) -> tuple[str, ...]:
    """Key types that are known of a host: those that it is to be asked for first."""
    names = _names(name)
    found = [entry.type for entry in entries if not entry.marker and any(entry.matches(each) for each in names)]
    return tuple(dict.fromkeys(found))


def _names(name: str) -> list[str]:
    """Under which a host may be known: of one with a port its name without it, too."""
    return [name, *re.findall(r"^\[(.*)\]:\d+$", name)]


def matches_pattern(pattern: str, name: str) -> bool:
    """`*` and `?` alone have a meaning; brackets are those of [host]:port."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def fingerprint(key: bytes) -> str:
    """As ssh shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def add(file: Path, name: str, type: str, key: bytes, *, hashed: bool = False) -> None:
    """Append a host's key, as ssh does. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shown = hash_name(name.lower(), os.urandom(20)) if hashed else name.lower()
    line = f"{shown} {type} {base64.b64encode(key).decode()}\n".encode()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * torn + line)  # at once: several processes may append at the same time
    finally:
        os.close(descriptor)


def hash_name(name: str, salt: bytes) -> str:
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        _, _, salt, _ = hashed.split("|")
        return hmac.compare_digest(hash_name(name, base64.b64decode(salt)), hashed)
    except ValueError:
        return False


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
