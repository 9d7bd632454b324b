"""What runs keep on a machine: where, whose it is, and the lock that says who has the machine.

    BASE/harness-UID/             0700, of the user that the keeper is (root, where one may become it)
        lock                      locked (flock(2)) while the keeper of a run lives, or an agent that has it alone; says
                                  who has it
        runs/RUN/                 about.json  socket  ledger.jsonl  processes.jsonl  logs/  keeper.log
    BASE/harness-LOGIN-UID/
        runs/RUN/work/            what belongs to the user who logged in: nodes, artifacts

BASE is /var/tmp unless said: it outlives a reboot, as what is to be undone may, is every machine's own, as homes are
not, and stays when its user logs out, as /run/user does not. There, others could have made our folders before us: what
is not ours alone is refused."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from typing import Any, Sequence

from .frames import Header
from .light import suppress
from .notation import dumps, loads
from .processes import boot_id, look

BASE = "/var/tmp"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_LONGEST = 128
"""What the name of a run is made of, of which the first is none of ".-", and its length at most."""
_TRIES = 100
_LOCK_SIZE = 4096
"""Bytes of the lock's text, blanks included: written at once, so that nobody reads half of it."""


def boottime() -> float:
    """Seconds, of a clock that never jumps, is the same for all processes, and goes on in suspend where there is one
    that does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def own_folder(path: str, uid: int, gid: int) -> None:
    """Have a folder that is this user's alone. Raises PermissionError for one that is somebody else's."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chown(path, uid, gid)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise PermissionError(f"{path} is not what it should be: a folder of user {uid} that nobody else may write to")


class Place:
    """Where a user keeps its runs."""

    def __init__(self, base: str, uid: int, gid: int) -> None:
        self.base, self.uid, self.gid = base, uid, gid

    @classmethod
    def of(cls, base: str, uid: int, gid: int) -> Place:
        """Raises ValueError for a base that is no absolute path."""
        if base and not os.path.isabs(base):
            raise ValueError(f"{base} is not an absolute path")
        return cls(base or BASE, uid, gid)

    @property
    def home(self) -> str:
        return os.path.join(self.base, f"harness-{self.uid}")

    @property
    def lock(self) -> str:
        return os.path.join(self.home, "lock")

    def run(self, run: str) -> str:
        """Raises ValueError for a name that is none."""
        if not _is_name(run):
            raise ValueError(f"{run!r} cannot be the name of a run's folder")
        return os.path.join(self.home, "runs", run)

    def runs(self) -> Sequence[str]:
        try:
            return sorted(name for name in os.listdir(os.path.join(self.home, "runs")) if _is_name(name))
        except FileNotFoundError:
            return ()

    def make(self, run: str = "") -> str:
        """Have the folders, that of a run included where one is named. Returns the last. Raises OSError."""
        os.makedirs(self.base, exist_ok=True)
        folders = [self.home] if not run else [self.home, os.path.join(self.home, "runs"), self.run(run)]
        for folder in folders:
            own_folder(folder, self.uid, self.gid)
        return folders[-1]


class Holder:
    """Who has a machine. `expires` is on the clock `boottime` of this boot."""

    def __init__(self, run: str, owner: str, since: float, pid: int, start: float, boot: str, expires: float) -> None:
        self.run, self.owner, self.since = run, owner, since
        self.pid, self.start, self.boot = pid, start, boot
        self.expires = expires

    @property
    def lives(self) -> bool:
        process = look(self.pid)
        return self.boot == boot_id() and process is not None and process.start == self.start and process.alive

    @property
    def expires_in(self) -> float:
        return self.expires - boottime()


class Locked(Exception):
    """Somebody has the machine: who, where that can be read."""

    def __init__(self, holder: Holder | None) -> None:
        self.holder = holder
        super().__init__(f"it is in use by run {holder.run} of {holder.owner}" if holder else "it is in use")

    @property
    def answer(self) -> Header:
        """To who asked for the machine."""
        told = {**vars(self.holder), "expires_in": self.holder.expires_in} if self.holder is not None else {}
        return {"error": str(self), "kind": "locked", **told}


class Lock:
    """A machine's lock, held until `release` or the end of this process."""

    def __init__(self, place: Place) -> None:
        """Raises Locked, OSError."""
        self._path = place.lock
        while True:
            self._fd = _opened(place)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._fd)
                raise Locked(read_lock(place)) from None
            if _same_file(self._fd, self._path):
                return
            os.close(self._fd)  # its last owner has removed it meanwhile

    def write(self, holder: Holder) -> None:
        os.pwrite(self._fd, dumps(vars(holder)).encode().ljust(_LOCK_SIZE), 0)

    def forget(self) -> None:
        """In a process forked from the one that holds it: it is not ours."""
        os.close(self._fd)

    def release(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._fd)


def read_lock(place: Place) -> Holder | None:
    """What the lock says of its last holder. That it is held is another matter."""
    try:
        with open(place.lock, "rb") as file:
            return Holder(**loads(file.read().decode().rstrip()))
    except (FileNotFoundError, ValueError, TypeError):  # there is none, or nobody has said who he is yet
        return None


def write_json(path: str, value: Any) -> None:
    """Written and synced before it has its name."""
    temporary = f"{path}.new"
    with open(temporary, "w") as file:
        file.write(dumps(value))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def tidy(folder: str) -> None:
    """Remove the folders above a run's in which nothing is left."""
    for _ in range(2):
        folder = os.path.dirname(folder)
        with suppress(OSError):  # not empty, or gone
            os.rmdir(folder)


def _is_name(run: str) -> bool:
    return 0 < len(run) <= _LONGEST and run[0] not in ".-" and _LETTERS.issuperset(run)


def _opened(place: Place) -> int:
    """The lock's file, made where there is none. Raises OSError."""
    for left in reversed(range(_TRIES)):
        try:
            place.make()
            return os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # its last owner has removed the folder meanwhile, in which nothing was left
            if not left:
                raise
    raise AssertionError


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
