"""What OpenSSH's configuration says of a host, asked of OpenSSH itself: `ssh -G` knows Include, Match, tokens and
defaults as nobody else does. It is asked once for all hosts that nothing in its files tells apart."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.api import Connection, UsageError
from harness_ssh.known_hosts import matches_pattern

_TIMEOUT = 30.0
"""Seconds for `ssh -G`: a `Match exec` may take its time."""
_READ = "debug1: Reading configuration data "
_NAMES = {"host", "hostname"}
"""What is each host's own of what else is the same for all."""

_FOR_ALL = {"all", "final"}
"""What a Match line may ask for that is the same for all hosts."""

Said = Mapping[str, Sequence[str]]
"""The lines of `ssh -G` by their keyword."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What of the configuration files distinguishes hosts. `patterns` are of all Host lines, None where there is more
    to it: Match, or names that are made canonical."""

    patterns: frozenset[str] | None

    def alike(self, host: str) -> frozenset[str] | None:
        """The same for hosts that no Host line tells apart; None for one that is like no other."""
        if self.patterns is None or host != host.lower():
            return None
        return frozenset(pattern for pattern in self.patterns if matches_pattern(pattern, host))


class Asked:
    """Answers of `ssh -G`, kept. Blocking: for worker threads, any number at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[Sequence[str], _Files] = {}
        self._answers: dict[object, Said] = {}

    def __call__(self, connection: Connection, config_file: Path | None) -> Said:
        """What is said of this host. Raises UsageError."""
        host, options = connection.host, _options(connection, config_file)
        with self._lock:  # the first is waited for: the others may be like it
            if options not in self._files:
                return self._first(host, options)
            alike = self._files[options].alike(host)
            known = self._answers.get((options, alike)) if alike is not None else None
        if known is None:
            known, _ = _ask(host, options)
            if alike is not None and _is_for_any(known, host):
                self._answers[options, alike] = known
            return known
        return {**known, "host": [host], "hostname": [host]}

    def _first(self, host: str, options: Sequence[str]) -> Said:
        said, read = _ask(host, options)
        canonical = said.get("canonicalizehostname", ["no"])[0] not in ("no", "false")
        files = self._files[options] = _Files(None if canonical else _patterns(read))
        if (alike := files.alike(host)) is not None and _is_for_any(said, host):
            self._answers[options, alike] = said
        return said


def _options(connection: Connection, config_file: Path | None) -> tuple[str, ...]:
    """All of a command line that is not the host."""
    options = ["-F", str(config_file)] if config_file else []
    options += ["-p", str(connection.port)] if connection.port else []
    options += ["-l", connection.user] if connection.user else []
    for key in connection.keys:
        options += ["-o", f'IdentityFile="{key}"']
    return tuple(options)


def _ask(host: str, options: Sequence[str]) -> tuple[Said, list[Path]]:
    """What ssh says, and the files that it read for it."""
    argv = ["ssh", "-G", "-T", "-v", *options, "--", host]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
    except FileNotFoundError:
        raise UsageError("there is no ssh program to ask what ~/.ssh/config says; install OpenSSH's client") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"ssh -G {host} did not say what ~/.ssh/config says within {_TIMEOUT:g} s") from None
    complaints = done.stderr.decode(errors="surrogateescape").replace("\r", "").splitlines()
    if done.returncode != 0:
        # The first line is its version.
        complaint = "; ".join(line for line in complaints[1:] if not line.startswith("debug1: "))
        complaint = complaint.encode(errors="surrogateescape").decode(errors="replace")
        raise UsageError(f"ssh -G {host} refuses its configuration: {complaint}")
    said: dict[str, list[str]] = {}
    for line in done.stdout.decode(errors="surrogateescape").splitlines():
        keyword, _, value = line.partition(" ")
        said.setdefault(keyword, []).append(value)
    return said, [Path(line.removeprefix(_READ)) for line in complaints if line.startswith(_READ)]


def _patterns(files: Iterable[Path]) -> frozenset[str] | None:
    """Of all Host lines in files of ssh_config(5). Those that a comment or a quote adds do no harm: hosts that match
    the same are alike, the more there are the fewer."""
    patterns: set[str] = set()
    for file in files:
        try:
            lines = file.read_text(errors="surrogateescape").splitlines()
        except OSError:
            return None
        for line in lines:
            keyword, *rest = re.split(r'[\s="]+', line.strip('\t\f "'))
            if keyword.lower() == "match" and not _FOR_ALL.issuperset(word.lower() for word in rest if word):
                return None
            if keyword.lower() == "host":
                patterns.update(pattern.removeprefix("!") for pattern in rest)
    return frozenset(patterns)


def _is_for_any(said: Said, host: str) -> bool:
    """Whether the host's name is in no answer but as itself: another's would be in its place."""
    others = (value for keyword, values in said.items() if keyword not in _NAMES for value in values)
    return said.get("hostname") == [host] and not any(host in value for value in others)
