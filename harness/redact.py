"""Keeping secrets out of whatever leaves this process: journals, run files, standard streams.

Whoever learns a secret's value says so with `hide`; whoever writes text passes it through `redact` first. Found are
the value itself and the forms that programs commonly put it in: JSON's and Python's escapes, shell quotes, URLs, XML,
base64."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "••••••"
MIN_LENGTH = 4
"""Anything shorter stands in so many other words that taking it out would leave nothing to read."""

_SHORTEST_PART = 8
"""Characters of base64 below which a part of it may well be something else."""


class Redactor:
    """The secrets of one process. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def hide(self, secret: str) -> None:
        """Redact this from now on. Raises ValueError for one that is too short to be told from other text."""
        if len(secret) < MIN_LENGTH:
            raise ValueError(f"the secret is shorter than {MIN_LENGTH} characters, too short to be kept out of logs")
        with self._lock:
            forms = self._forms | set(_forms(secret))
            if forms != self._forms:
                longest_first = sorted(forms, key=lambda form: (-len(form), form))
                self._forms, self._pattern = forms, re.compile("|".join(map(re.escape, longest_first)))

    def finds(self, text: str) -> bool:
        """Whether there is anything in it to be redacted."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def text(self, text: str) -> str:
        """The text with every secret replaced."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def value(self, value: Any) -> Any:
        """The same for every text in tables and lists, keys too; tuples come back as lists."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.value(key): self.value(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.value(inner) for inner in value]
            case _:
                return value


def _forms(secret: str) -> Iterator[str]:
    quoted = {
        secret,
        shlex.quote(secret),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        html.escape(secret),
        html.escape(secret, quote=False),
        html.escape(secret, quote=False).replace('"', "&quot;"),  # an attribute's value as ElementTree writes it
    }
    once = {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in quoted for ascii in (True, False)}
    twice = {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in once for ascii in (True, False)}
    yield from quoted | once | twice
    yield from _in_base64(secret.encode(errors="surrogatepass"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """By itself, and what it looks like inside of a longer text ("user:password"), wherever it begins there."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")
        for before in range(3):
            first = (before * 8 + 5) // 6  # of the characters, the first and the last that hold bits of it alone
            last = (before + len(secret)) * 8 // 6
            part = encode(bytes(before) + secret + bytes(2)).decode()[first:last]
            if len(part) >= _SHORTEST_PART:
                yield part


_process = Redactor()


def hide(secret: str) -> None:
    """Redact this in all that this process writes from now on. Raises ValueError for one that is too short."""
    _process.hide(secret)


def finds_secret(text: str) -> bool:
    """Whether `redact` would change it."""
    return _process.finds(text)


def redact(text: str) -> str:
    """The text with every known secret replaced by `MASK`."""
    return _process.text(text)


def redact_value(value: Any) -> Any:
    """The same for every text in tables and lists."""
    return _process.value(value)
