"""File names for names that come from users, inventories and nodes."""

from __future__ import annotations

from urllib.parse import quote, unquote

from harness.errors import UsageError

_MAX_LENGTH = 240  # of the 255 bytes that file systems allow; the rest is for extensions


def file_name(name: str) -> str:
    """A file name for any name, from which `name_of` makes the name again: percent-encoded as in URLs, a leading dot
    too. Raises UsageError for a name that is empty or too long for a file system."""
    quoted = quote(name, safe="", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if not quoted or len(quoted) > _MAX_LENGTH:
        raise UsageError(f"{name[:40]!r} ({len(name)} characters) cannot be a name here: it must fit a file name")
    return quoted


def name_of(file: str) -> str:
    """The name whose `file_name` this is."""
    return unquote(file, errors="surrogatepass")
