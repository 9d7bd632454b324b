"""Arguments for ssh(1), as `ansible_ssh_common_args` and its like hold them, as values.

What changes nothing about where a connection goes, as whom, and whom it trusts is passed over where harness has no use
for it; any other argument that it does not know is an error."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.spec.problems import did_you_mean


@dataclass(frozen=True, slots=True)
class JumpHost:
    """A machine on the way. None: as ssh's configuration says, else the port 22 and the user's own name."""

    host: str
    port: int | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What the arguments set, by ssh_config(5)'s names; None where they say nothing.

    Of `proxy_jump` (the nearest first) and `proxy_command` at most one is set, `()` and "" being their `none`.
    `host_keys` is StrictHostKeyChecking: "check", "accept-new" or "off". `keepalive` is ServerAliveInterval in seconds,
    0 without."""

    proxy_jump: tuple[JumpHost, ...] | None = None
    proxy_command: str | None = None
    host_keys: str | None = None
    known_hosts: tuple[Path, ...] | None = None
    identity_files: tuple[Path, ...] = ()
    identities_only: bool | None = None
    port: int | None = None
    user: str | None = None
    connect_timeout: float | None = None
    keepalive: float | None = None
    config_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> SshOptions:
        """Of an option that is given twice the first counts, as in ssh; identity files add up. Raises ValueError."""
        options = cls()
        for name, value in _settings(_words(text)):
            options = options.then(_set(name, value))
        return options

    def then(self, later: SshOptions) -> SshOptions:
        """These, and what `later` ones say beyond them."""
        proxied = self.proxy_jump is not None or self.proxy_command is not None
        unset = {
            name: getattr(later, name)
            for name in self.__slots__
            if getattr(self, name) is None and not (proxied and name.startswith("proxy_"))
        }
        return replace(self, **unset, identity_files=self.identity_files + later.identity_files)


def jump_hosts(text: str) -> tuple[JumpHost, ...]:
    """`[user@]host[:port]` or `ssh://…`, several with commas between; () for `none`. Raises ValueError."""
    return () if text.lower() == "none" else tuple(map(_jump_host, text.split(",")))


_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^@:\[\]]+))(?::(?P<port>\d+))?/?")


def _jump_host(text: str) -> JumpHost:
    match = _JUMP.fullmatch(text.strip())
    host = match and (match["v6"] or match["host"])
    if not match or not host or host.startswith("-") or (match["user"] or "").startswith("-"):
        raise ValueError(f'"{text}" is no jump host; write [user@]host[:port]')
    return JumpHost(host, _port(match["port"]) if match["port"] else None, match["user"])


def file_path(text: str) -> Path:
    """Of a file that ssh reads, with `~` for the home; its "none" is a file with nothing in it. Raises ValueError."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no path")
    try:
        return Path(os.devnull) if text == "none" else Path(text).expanduser()
    except RuntimeError as error:  # ~somebody, of whom the system knows no home
        raise ValueError(f'"{text}": {error}') from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(f'"{text}" is no port; one is a number from 1 to 65535')
    return int(text)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'"{text}" is no time; write whole seconds')
    return float(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError(f'"{text}" is neither yes nor no')
    return text.lower() == "yes"


_HOST_KEYS = {"yes": "check", "ask": "check", "accept-new": "accept-new", "no": "off", "off": "off"}


def _host_keys(text: str) -> str:
    if text.lower() not in _HOST_KEYS:
        raise ValueError(f'"{text}" is none of {", ".join(_HOST_KEYS)}')
    return _HOST_KEYS[text.lower()]


_UNDERSTOOD: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "ProxyJump": ("proxy_jump", jump_hosts),
    "ProxyCommand": ("proxy_command", lambda text: "" if text.lower() == "none" else text),
    "StrictHostKeyChecking": ("host_keys", _host_keys),
    "UserKnownHostsFile": ("known_hosts", lambda text: tuple(map(file_path, shlex.split(text)))),
    "IdentityFile": ("identity_files", lambda text: (file_path(text),)),
    "IdentitiesOnly": ("identities_only", _flag),
    "Port": ("port", _port),
    "User": ("user", str),
    "ConnectTimeout": ("connect_timeout", _seconds),
    "ServerAliveInterval": ("keepalive", _seconds),
}
"""Options of ssh_config(5) → where they go."""

_WITHOUT_EFFECT: Final = (
    "AddKeysToAgent", "BatchMode", "ChallengeResponseAuthentication", "ChannelTimeout", "CheckHostIP",
    "ClearAllForwardings", "Compression", "ConnectionAttempts", "ControlMaster", "ControlPath", "ControlPersist",
    "DynamicForward", "EnableEscapeCommandline", "EnableSSHKeysign", "EscapeChar", "ExitOnForwardFailure",
    "FingerprintHash", "ForkAfterAuthentication", "ForwardAgent", "ForwardX11", "ForwardX11Timeout",
    "ForwardX11Trusted", "GSSAPIAuthentication", "GSSAPIDelegateCredentials", "GatewayPorts", "HashKnownHosts",
    "HostbasedAuthentication", "IPQoS", "IgnoreUnknown", "KbdInteractiveAuthentication", "KbdInteractiveDevices",
    "LocalCommand", "LocalForward", "LogLevel", "LogVerbose", "NumberOfPasswordPrompts",
    "ObscureKeystrokeTiming", "PasswordAuthentication", "PermitLocalCommand", "PermitRemoteOpen",
    "PreferredAuthentications", "PubkeyAuthentication", "RekeyLimit", "RemoteForward", "RequestTTY", "SendEnv",
    "ServerAliveCountMax", "SessionType", "SetEnv", "StdinNull", "StreamLocalBindMask", "StreamLocalBindUnlink",
    "SyslogFacility", "TCPKeepAlive", "Tag", "Tunnel", "TunnelDevice", "UpdateHostKeys", "VerifyHostKeyDNS",
    "VisualHostKey", "XAuthLocation",
)  # fmt: skip
"""Options about how ssh(1) itself goes about it, and what else it carries: harness has one connection to a machine
anyway, never asks anybody, forwards neither agents nor such ports, and logs in with the keys and the password that it
is given and nothing else. Where one of them would have ssh trust more, harness trusts less."""

_NOT_DONE: Final = (
    "AddressFamily", "BindAddress", "BindInterface", "CASignatureAlgorithms", "CanonicalizeHostname",
    "CertificateFile", "Ciphers", "GlobalKnownHostsFile", "HostKeyAlgorithms", "HostKeyAlias", "HostName",
    "IdentityAgent", "KexAlgorithms", "KnownHostsCommand", "MACs", "NoHostAuthenticationForLocalhost",
    "PKCS11Provider", "ProxyUseFdpass", "PubkeyAcceptedAlgorithms", "RemoteCommand", "RequiredRSASize",
    "RevokedHostKeys", "SecurityKeyProvider",
)  # fmt: skip
"""Options that say where a connection goes, as whom, or whom it trusts, and that are not understood."""

_BY_LETTER: Final = {"J": "ProxyJump", "i": "IdentityFile", "p": "Port", "l": "User", "F": ""}
_FLAGS: Final = frozenset("ACKTXYakqtvxny")
"""Flags that change nothing about where a connection goes, as whom, and whom it trusts."""


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words as a shell would: {str(error).lower()}") from None


def _settings(words: list[str]) -> Iterator[tuple[str, str]]:
    """Option and value of each argument; the option "" is the configuration file."""
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-") or len(word) < 2:
            raise ValueError(f'"{word}" is no option; options begin with a hyphen')
        flags = word[1:]
        while flags and flags[0] in _FLAGS:
            flags = flags[1:]
        if not flags:
            continue
        letter, value = flags[0], flags[1:]
        if letter not in ("o", *_BY_LETTER):
            known = ", ".join(f"-{each}" for each in ("o", *_BY_LETTER, *sorted(_FLAGS)))
            raise ValueError(f"-{letter} is not understood (understood: {known})")
        value = value or next(waiting, "")
        if not value:
            raise ValueError(f"-{letter} lacks its value")
        yield _keyword(value) if letter == "o" else (_BY_LETTER[letter], value)


def _keyword(text: str) -> tuple[str, str]:
    """`Key=value` or `Key value`, the value perhaps in quotes."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\s|=)\s*(.*\S)\s*", text, re.DOTALL)
    if not match:
        raise ValueError(f'-o "{text}" sets nothing; write -o Key=value')
    value = match[2]
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return match[1], value


def _set(name: str, value: str) -> SshOptions:
    if not name:
        return SshOptions(config_file=file_path(value))
    known = {each.lower(): each for each in (*_UNDERSTOOD, *_WITHOUT_EFFECT)}
    canonical = known.get(name.lower())
    if canonical is None:
        ours = name.lower() in map(str.lower, _NOT_DONE)
        guess = "" if ours else did_you_mean(name, known.values())
        listed = f"understood: {', '.join(_UNDERSTOOD)}"
        raise ValueError(f"the option {name} is not understood; {guess or listed}")
    if canonical in _WITHOUT_EFFECT:
        return SshOptions()
    attribute, convert = _UNDERSTOOD[canonical]
    try:
        return SshOptions(**{attribute: convert(value)})
    except ValueError as error:
        raise ValueError(f"{canonical}: {error}") from None
