"""The journal: the append-only record of a run, one event to a line, readable after any crash."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.clock import Clock
from harness.record.codec import DecodeError, decode, encode, without_secrets
from harness.record.events import Event, Note, Recorded
from harness.record.regular import open_regular
from harness.redact import finds_secret

Subscriber = Callable[[Recorded], None]


class Journal:
    """Writes a run's events, and tells its subscribers of them. To be used from one thread.

    A line is in the kernel's hands, by a single write, when `append` returns: it survives a SIGKILL of this
    process, and after `close` a power cut too. `t` counts from the journal's creation.

    A disk that refuses a line must not keep a network from being torn down, so `append` does not raise: `failure`
    holds the first error, subscribers still get every event, and a reader sees the gap in `seq`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises OSError when the file cannot be made; FileExistsError when it is there already."""
        self.path = path
        self.failure: OSError | None = None
        self._clock = clock
        self._start = clock.now()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._seq = 0
        self._torn = False
        self._subscribers: list[Subscriber] = []
        self._undelivered: deque[Recorded] = deque()
        self._delivering = False

    def subscribe(self, callback: Subscriber) -> None:
        """Call it with every event from now on, in order, once the event is written.

        One that raises is noted in the journal, as an error, and not called again."""
        self._subscribers.append(callback)

    def append(self, event: Event) -> Recorded:
        """Write an event, then deliver it. Subscribers may append too: what they add is delivered afterwards.

        Known secrets are redacted first, so that none is in whatever is made of the journal or of its events."""
        self._seq += 1
        recorded = Recorded(self._seq, round(self._clock.wall(), 6), round(self._clock.now() - self._start, 6), event)
        line = encode(recorded)
        if finds_secret(line.decode("ascii")):
            recorded = replace(recorded, event=without_secrets(event))
            line = encode(recorded)
        self._write(line)
        self._undelivered.append(recorded)
        if not self._delivering:
            self._deliver()
        return recorded

    def close(self) -> None:
        """Sync and close. Nothing may be appended afterwards; may be called twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            raise ValueError("the journal is closed")
        if self._torn:  # end the half line first, so that only that one is lost
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
            if written < len(line):  # a disk that is nearly full takes a part; asking again names the error
                self._torn = True
                written += os.write(self._fd, line[written:])
            self._torn = written < len(line)
        except OSError as error:
            self.failure = self.failure or error

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._undelivered:
                recorded = self._undelivered.popleft()
                for subscriber in tuple(self._subscribers):
                    try:
                        subscriber(recorded)
                    except Exception as error:  # noqa: BLE001 - a broken face must not stop a run; it is noted
                        self._subscribers.remove(subscriber)
                        name = getattr(subscriber, "__qualname__", type(subscriber).__qualname__)
                        message = f"{name} failed at event {recorded.seq}: {type(error).__name__}: {error}"
                        self.append(Note("journal", "error", message))
        finally:
            self._delivering = False


class JournalReader:
    """The events of a journal, from first to last, in constant memory; each iteration reads it anew.

    `skipped` counts the lines so far that could not be read, `torn` tells that the last line was cut off (its writer
    was killed, or is writing right now). Kinds of a newer version are passed over silently."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0
        self.torn = False

    def __iter__(self) -> Iterator[Recorded]:
        """Raises OSError when the file cannot be read."""
        self.skipped, self.torn = 0, False
        with open_regular(self.path) as file:
            for line in file:
                try:
                    recorded = decode(line)
                except DecodeError:
                    if line.endswith(b"\n"):
                        self.skipped += 1
                    else:
                        self.torn = True
                    continue
                if recorded is not None:
                    yield recorded


def read_journal(path: Path) -> JournalReader:
    """Read a journal, of a live run or of a dead one."""
    return JournalReader(path)
