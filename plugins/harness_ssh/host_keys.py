"""Whether a machine is the one that is meant: its host key judged by known_hosts files, and told as OpenSSH does."""

from __future__ import annotations

import threading
from typing import Any

import paramiko

from harness.api import MachineLost
from harness_ssh import known_hosts
from harness_ssh.known_hosts import Trust
from harness_ssh.openssh import Destination, keygen_remove


class HostKeyRefused(MachineLost):
    """The machine could not show that it is the one that is meant."""


class HostKeys(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Fabric's client knows no keys, so that every host's key comes here to be judged."""

    def __init__(self, destination: Destination, entries: tuple[known_hosts.Entry, ...]) -> None:
        self._to = destination
        self._entries = entries

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        to, type, blob = self._to, key.get_name(), key.asbytes()
        if to.host_keys == "off":
            return
        verdict = known_hosts.judge(self._entries, to.known_as, type, blob)
        shown = f"{_short(type)} {known_hosts.fingerprint(blob)}"
        match verdict.trust, verdict.entry:
            case Trust.KNOWN, _:
                return
            case Trust.REVOKED, entry:
                assert entry is not None
                raise HostKeyRefused(f"the host key of {to} ({shown}) is revoked in {entry.file}:{entry.line}")
            case Trust.CHANGED, entry:
                assert entry is not None
                raise HostKeyRefused(
                    f"the host key of {to} has changed: it is {shown}, not that of {entry.file}:{entry.line}; either "
                    "the machine was set up anew, or somebody is in between: if you know it to be the former, remove "
                    f"the old one with: {keygen_remove(to.known_as, entry.file)}"
                )
        if to.host_keys == "accept-new":
            self._accept(type, blob)
            return
        raise HostKeyRefused(
            f"the host key of {to} is not known ({shown}): compare it with the machine's own, then accept it by "
            f'connecting once with ssh, or set harness_host_keys = "accept-new"'
        )

    def _accept(self, type: str, blob: bytes) -> None:
        to = self._to
        if not to.known_hosts:
            return
        try:
            with _accepting:
                known_hosts.add(to.known_hosts[0], to.known_as, type, blob, hashed=to.hash_known_hosts)
        except OSError as error:
            raise HostKeyRefused(
                f"the new host key of {to} cannot be kept in {to.known_hosts[0]}: {error.strerror}"
            ) from None


_accepting = threading.Lock()


def _short(type: str) -> str:
    return type.removeprefix("ssh-").split("-")[0].upper()
