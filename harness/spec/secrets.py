"""Secrets in inventories: where they are to be had, read when they are needed, and never shown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final, NoReturn

from harness.errors import UsageError
from harness.redact import MASK, hide

SECRET_VARIABLES: Final = frozenset(
    {
        "ansible_password",
        "ansible_ssh_pass",
        "ansible_ssh_password",
        "ansible_become_password",
        "ansible_become_pass",
        "ansible_sudo_pass",
        "harness_key_passphrase",
    }
)
"""Variables whose values are secrets, however they are written."""

_HINT = 'write a text, { env = "NAME" }, { file = "path" } or { command = ["pass", "show", "x"] }'
_TIMEOUT = 60.0
"""Seconds for a command to print a secret: a person may have to confirm it."""


class Secret:
    """A text that is not to be seen: whoever prints, formats or encodes it gets `••••••`.

    Equal are secrets that come from the same source, or were written as the same text."""

    __slots__ = ("_argument", "_base", "_source", "_where")

    def __init__(self, source: str, argument: Any, where: str, base: Path) -> None:
        """Use `of`. `source` is "text" (`argument` is the secret itself), "env", "file" or "command"."""
        self._source = source
        self._argument = argument
        self._where = where
        self._base = base

    @classmethod
    def of(cls, value: object, where: str, base: Path = Path()) -> Secret:
        """From a variable's value: text, or a table with one of `env` (a name), `file` (a path) and `command` (a
        program and its arguments, run without a shell). Paths are relative to the folder `base`, where commands run.

        `where` is what errors call it. Text is redacted from now on. Raises ValueError for any other value, and never
        says what it is."""
        match value:
            case Secret():
                return value
            case str() if "{{" in value or "{%" in value:  # Ansible would take it for what it comes to
                raise ValueError(f"is a template, and inventories are taken as they are; {_HINT}")
            case str():
                return cls("text", _checked(value), where, base)
            case int() if not isinstance(value, bool):  # digits that YAML took for a number; Ansible takes them as text
                return cls.of(str(value), where, base)
            case {"__ansible_vault": _}:
                raise ValueError(f"is encrypted by Ansible Vault, which harness does not open; {_HINT}")
            case {"env": str(name), **others} if name and not others:
                return cls("env", name, where, base)
            case {"file": str(path), **others} if path and not others:
                return cls("file", path, where, base)
            case {"command": list(argv), **others} if _is_command(argv) and not others:
                return cls("command", tuple(argv), where, base)
            case _:
                raise ValueError(f"is no secret and no source of one; {_HINT}")

    def reveal(self) -> str:
        """Read it; it is redacted from then on. Blocks while its command runs: call it in a worker thread.

        Raises UsageError, which says where it should have come from and never what it is."""
        try:
            return _checked(self._read())
        except ValueError as error:
            raise UsageError(f"{self._where}: {error}") from None

    def missing(self) -> str:
        """Why it cannot be had, as `reveal` would say; "" where it can, and where that cannot be seen beforehand: what
        a command prints, or what can be read once only."""
        file = self._base / str(self._argument) if self._source == "file" else None
        if self._source == "command" or (file is not None and file.exists() and not file.is_file()):
            return ""
        try:
            self.reveal()
        except UsageError as error:
            return str(error)
        return ""

    def _read(self) -> str:
        match self._source:
            case "env":
                if (value := os.environ.get(self._argument)) is None:
                    raise ValueError(f"the environment has no variable {self._argument}")
                return value
            case "file":
                return _read_file(self._base, self._argument)
            case "command":
                return _read_output(self._base, self._argument)
            case _:
                return str(self._argument)

    def reference(self) -> dict[str, Any] | None:
        """What to write to have it read from where it is, without itself; None where it is there as text only."""
        match self._source:
            case "env":
                return {"env": self._argument}
            case "file":
                return {"file": str((self._base / Path(self._argument).expanduser()).absolute())}
            case "command":
                return {"command": list(self._argument)}
            case _:
                return None

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled: they would be written somewhere")

    def _key(self) -> tuple[object, ...]:
        return self._source, self._argument, self._base


def _checked(value: str) -> str:
    """The value, from now on redacted. Raises ValueError for one that cannot be a secret here."""
    if not value:
        raise ValueError("the secret is empty")
    if not value.isprintable() and any(character in value for character in "\n\r\0"):
        raise ValueError("the secret has several lines; it must be one")
    hide(value)
    return value


def _is_command(argv: list[Any]) -> bool:
    return bool(argv) and all(isinstance(word, str) and "\0" not in word for word in argv) and bool(argv[0])


def _read_file(base: Path, name: str) -> str:
    try:
        path = base / Path(name).expanduser()
        return _without_newline(path.read_bytes(), f"the file {path}")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except RuntimeError as error:  # ~somebody, of whom the system knows no home
        raise ValueError(f"the file {name} cannot be read: {error}") from None


def _read_output(base: Path, argv: tuple[str, ...]) -> str:
    program = f"the command {argv[0]}"  # its arguments may be worth hiding too
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, cwd=base, timeout=_TIMEOUT)
    except OSError as error:
        raise ValueError(f"{program} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"{program} did not print it within {_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"exits with {done.returncode}"
        raise ValueError(f"{program} {how}" + (f": {said[-1]}" if said else ""))
    return _without_newline(done.stdout, program)


def _without_newline(content: bytes, source: str) -> str:
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{source} gives something that is not UTF-8 text") from None
