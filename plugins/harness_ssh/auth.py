"""Proving to a host who we are, in OpenSSH's order: keys of the agent, key files, the password.

What was tried is kept, for a person who is refused wants to know just that. Blocking: for worker threads."""

from __future__ import annotations

import base64
import copy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
from paramiko.agent import AgentSSH
from paramiko.auth_strategy import AuthSource, AuthStrategy

from harness.api import Secret
from harness_ssh.openssh import Destination

_AGENT_TIMEOUT = 30.0
"""Seconds that an agent may take to answer: it may ask a person."""
_DEFAULT_KEYS = frozenset(f"id_{kind}" for kind in ("rsa", "dsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss"))
"""What ssh looks for where nobody names a key: nobody misses them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the inventory gives to prove it with, beside what OpenSSH's configuration names."""

    password: Secret | None = None
    key_passphrase: Secret | None = None


class KeyFiles:
    """Private keys, each opened once for all hosts that it is for: a passphrase is made to take long to try."""

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._opened: dict[tuple[Path, int, str | None], Any] = {}

    def open(self, path: Path, passphrase: str | None) -> Any:
        """Raises what paramiko does."""
        key = path, path.stat().st_mtime_ns, passphrase
        with self._opening:
            if key not in self._opened:
                encoded = passphrase.encode() if passphrase is not None else None
                self._opened[key] = paramiko.PKey.from_path(path, encoded)
            return copy.copy(self._opened[key])  # a certificate is added to it for one host, not for others


@dataclass(slots=True)
class Attempts:
    """What was tried, and what could not be: in the user's words."""

    tried: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        tried = f"tried: {', '.join(self.tried)}" if self.tried else "there was nothing to try"
        return "; ".join([tried, *self.unusable])


class Agent(AgentSSH):  # type: ignore[misc]  # paramiko has no types
    """The agent that listens on a socket; without one, or without an answer, it has no keys."""

    def __init__(self, path: str) -> None:
        super().__init__()
        if not path:
            return
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(_AGENT_TIMEOUT)
        try:
            connected.connect(path)
            self._connect(connected)
        except (OSError, paramiko.SSHException):
            connected.close()

    def close(self) -> None:
        self._close()


@dataclass
class _Source(AuthSource):  # type: ignore[misc]
    """One thing to try. `what` is its name for a person."""

    username: str
    what: str
    key: Any = None
    password: Secret | None = None

    def authenticate(self, transport: Any) -> list[str]:
        """What else the host wants, nothing when it is satisfied."""
        if self.password is None:
            allowed = transport.auth_publickey(self.username, self.key)
        else:
            allowed = transport.auth_password(self.username, self.password.reveal())
        return list(allowed or ())


class OpenSSHOrder(AuthStrategy):  # type: ignore[misc]
    """Tries everything that there is until the host is satisfied, or hangs up."""

    def __init__(self, destination: Destination, credentials: Credentials, keys: KeyFiles, agent: Agent) -> None:
        super().__init__(ssh_config=None)
        self._keys = keys
        self.attempts = Attempts()
        self._to = destination
        self._credentials = credentials
        self._agent = agent

    def authenticate(self, transport: Any) -> None:
        """Raises AuthenticationException when nothing satisfied the host."""
        allowed: list[str] | None = None
        for source in self.get_sources():
            if not transport.is_active():
                raise paramiko.AuthenticationException("it hung up")
            if allowed is not None and not _may(source, allowed):
                continue
            self.attempts.tried.append(source.what)
            try:
                allowed = source.authenticate(transport)
            except paramiko.BadAuthenticationType as error:
                self.attempts.tried[-1] += " (not allowed there)"
                allowed = list(error.allowed_types)
            except paramiko.AuthenticationException as error:
                if "timeout" in str(error):
                    raise
            else:
                if not allowed:
                    return
        raise paramiko.AuthenticationException("nothing satisfied it")

    def get_sources(self) -> Iterator[_Source]:
        """Lazily: an encrypted key is opened only when what comes before it has not sufficed."""
        offered = {key.asbytes(): key for key in self._agent.get_keys()}
        files: list[Path] = []
        for path in self._to.identities:
            blob = _public_blob(path)
            if blob is not None and blob in offered:
                yield _Source(self._to.user, f"{path} (by the agent)", key=offered.pop(blob))
            elif path.is_file():
                files.append(path)
            elif path.name not in _DEFAULT_KEYS:
                self.attempts.unusable.append(f"{path} is not there")
        if not self._to.identities_only:
            for key in offered.values():
                name = key.comment or key.get_name()
                yield _Source(self._to.user, f"the agent's key {name}", key=key)
        for path in files:
            if (loaded := self._load(path)) is not None:
                yield _Source(self._to.user, str(path), key=loaded)
        if self._credentials.password is not None:
            yield _Source(self._to.user, "the password", password=self._credentials.password)

    def _load(self, path: Path) -> Any:
        """The key in a file, with its certificate where there is one; None, and why, when it is of no use."""
        try:
            key = self._keys.open(path, None)
        except (TypeError, paramiko.PasswordRequiredException):  # cryptography's way to ask for a passphrase
            if self._credentials.key_passphrase is None:
                self.attempts.unusable.append(
                    f"{path} is encrypted: load it into an agent (ssh-add), or set harness_key_passphrase"
                )
                return None
            try:
                key = self._keys.open(path, self._credentials.key_passphrase.reveal())
            except (ValueError, paramiko.SSHException):
                self.attempts.unusable.append(f"{path} does not open with harness_key_passphrase")
                return None
        except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            self.attempts.unusable.append(f"{path} cannot be used: {error or type(error).__name__}")
            return None
        for certificate in self._to.certificates:
            if certificate.is_file() and _certifies(certificate, key):
                key.load_certificate(str(certificate))
        return key


def _may(source: _Source, allowed: list[str]) -> bool:
    """Whether a host that named the methods that it takes will look at this."""
    wanted = {"publickey"} if source.password is None else {"password", "keyboard-interactive"}
    return not wanted.isdisjoint(allowed)


def _public_blob(path: Path) -> bytes | None:
    """The public key beside a private one, by which the agent may know it."""
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        return base64.b64decode(public.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _certifies(certificate: Path, key: Any) -> bool:
    try:
        blob = base64.b64decode(certificate.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return False
    # What a certificate holds of its key is that key's own encoding, without its type in front.
    own = key.asbytes()
    return own[4 + int.from_bytes(own[:4], "big") :] in blob
