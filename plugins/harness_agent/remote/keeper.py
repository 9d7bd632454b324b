"""A run's daemon on a machine. It outlives connections, and ends everything when nobody renews its lease.

Beside it lives a guardian, which does nothing but wait for the keeper's end: should that be killed, or stand still
until its lease is over, the guardian ends and undoes what is the run's in its stead."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from typing import Any, Callable, Mapping

from . import leftovers
from .agent import REFUSED, Agent, Answer, error_of
from .connection import Connection
from .frames import Decoder, Header, encode
from .internals import Internals
from .lease import Lease
from .ledger import UNDO_WITHIN
from .loop import take_signals
from .ports import PortLeases
from .processes import Process, look
from .runs import OVERDUE, PATIENCE, Cleared, Run, clear_all, overdue, take
from .services import Service, Services
from .state import Lock, Locked, Place, read_lock, tidy
from .systemd import Manager, manager_of
from .units import UnitService
from .users import User


def main(source: bytes, rest: bytes) -> None:
    """Keep what stdin says, until the end. Whoever started it hears whether it came to be; where that one has died
    meanwhile, nobody ever comes, and there is nothing to keep."""
    while data := os.read(0, 65536):
        rest += data
    ((config, _),) = Decoder().feed(rest)
    ready = _who_listens(config["ready"])
    for path in (config["ready"], config["program"]):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if ready is None:
        tidy(Place.of(config["base"], os.geteuid(), os.getegid()).run(config["run"]))
        return
    try:
        keeper = Keeper(source, config)
    except Locked as locked:
        os.write(ready, encode(locked.answer))
        return
    except REFUSED as error:
        os.write(ready, encode({**error_of(error), "kind": "refused"}))
        return
    os.write(ready, encode({"ready": True}))
    os.close(ready)
    keeper.keep()


def _who_listens(pipe: str) -> int | None:
    """To whoever holds the other end of a pipe with a name, None where nobody does: without O_NONBLOCK one waits for
    somebody, for ever."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):
            raise
        return None


class Keeper(Agent):
    """See the module. Raises Locked, Uncleared, OSError or ValueError when the machine cannot be had."""

    def __init__(self, source: bytes, config: dict[str, Any]) -> None:
        place = Place.of(config["base"], os.geteuid(), os.getegid())
        user = User(config["user"], config["env"])
        self._lock = take(place)
        try:
            self._lease = Lease(self._lock, config["run"], config["owner"], config["since"], config["lease"])
            self._guardian = guard(place, config["run"], self._lock)
            clear_all(place)
            about = {key: config[key] for key in ("run", "owner", "user", "env", "mechanism", "unit")}
            self._held = Run.make(place, config["run"], about, user)
        except BaseException:
            self._lock.release()
            tidy(place.run(config["run"]))
            raise
        errors = os.open(self._held.errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd, target in ((nothing, 0), (nothing, 1), (errors, 2)):
            os.dup2(fd, target)
        super().__init__(source, user, about["work"], self._held.logs)
        self.children.keep_record(self._held.record)
        if (manager := manager_of(about)) is not None:
            self.services = UnitServices(self.services, manager, self._held, about)
        self._about = about
        self._ports: list[PortLeases] = []
        self._cleared: Cleared | None = None
        self.does.update(
            {
                "renew": lambda *_: self._lease.renew(),
                "ledger-add": self._ledger_add,
                "ledger-remove": self._ledger_remove,
                "ledger": lambda *_: {"entries": self._held.ledger.entries()},
                "ports": self._reserve,
                "end": self._end,
            }
        )
        self._listener = listen(self._held)

    def keep(self) -> None:
        """Until the lease is over or the run is ended."""
        take_signals(self.loop, self.children.collect, self.loop.stop)
        self.loop.watch(self._listener.fileno(), read=self._accept)
        self._lease.watch(self.loop)
        try:
            self.loop.run()
        except BaseException:
            import traceback  # not at the top: hoped never to be needed

            self.tell({"event": "crashed", "text": traceback.format_exc()})
            raise
        finally:
            self.giving_up = True
            self._let_go()

    def _accept(self) -> None:
        try:
            accepted = self._listener.accept()[0].detach()
        except OSError:  # gone again
            return
        self._lease.renew()
        connection = self.connect(accepted, accepted, lambda: None)
        connection.say({"work": self._about["work"], "mechanism": self._about["mechanism"], "pid": os.getpid()})

    def _ledger_add(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self._held.ledger.add(request["entry"], request["what"], request["undo"])
        return {}

    def _ledger_remove(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self._held.ledger.remove(request["entry"])
        return {}

    def _reserve(self, connection: Connection, request: Header, body: bytes) -> Answer:
        leases = PortLeases(request["count"], range(request["low"], request["high"] + 1) if request["low"] else ())
        self._ports.append(leases)
        return {"ports": leases.ports}

    def _end(self, connection: Connection, request: Header, body: bytes) -> Answer:
        left = self._let_go()[1]
        connection.say({"id": request["id"], "left": left})
        connection.when_written(self.loop.stop)
        self.loop.after(PATIENCE, self.loop.stop)  # one who does not listen is not waited for
        return None

    def _let_go(self) -> Cleared:
        """Clear the run away, once; the machine is free then."""
        if self._cleared is None:
            steps = sum([len(entry["undo"]) for entry in self._held.ledger.entries()])
            self._lease.last(steps * UNDO_WITHIN + PATIENCE)
            self._listener.close()
            self._cleared = self._held.clear(self.tell, self._end_processes)
            os.write(self._guardian, b".")
            self._lock.release()
            tidy(self._held.folder)
        return self._cleared

    def _end_processes(self) -> Cleared:
        self.services.close()
        done, left = self._held.end_units(self.tell)
        self.end()
        if not self.children.any:  # nothing was ever started that could be running, by whatever name
            return done, left
        me = os.getpid()
        running = [f"still running: {one}" for one in leftovers.find(self._held.record) if one.pid != me]
        return done, [*left, *running]


class UnitServices(Services):
    """Those of a keeper under systemd: units, but for those whose lines pass through the keeper."""

    def __init__(self, children: Services, manager: Manager, held: Run, about: dict[str, Any]) -> None:
        super().__init__(children.loop, children.children, children.tell, held.logs)
        self._manager, self._held, self._about = manager, held, about
        user = "" if manager.user else "root"
        self._internals = Internals(self.loop, self.children, manager.environment(), user, self.tell)

    def close(self) -> None:
        self._internals.close()

    def make(self, request: Mapping[str, Any], env: Mapping[str, str], user: User, log: int, path: str) -> Service:
        if request.get("attach"):
            return super().make(request, env, user, log, path)
        return UnitService(
            self.loop,
            self._internals,
            self._manager,
            self._held.units,
            self._about,
            self._held.folder,
            request,
            env,
            user,
            log,
            path,
            self.tell,
        )


def listen(run: Run) -> socket.socket:
    """On the run's socket. Its folder is ours alone; its path may be longer than one of a socket."""
    listener = socket.socket(socket.AF_UNIX)
    in_folder(run.folder, lambda: listener.bind("socket"))
    listener.listen(8)
    listener.setblocking(False)
    return listener


def connect(run: Run) -> socket.socket | None:
    """To the keeper of a run, None where there is none."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        in_folder(run.folder, lambda: connected.connect("socket"))
    except (FileNotFoundError, ConnectionRefusedError):
        connected.close()
        return None
    return connected


def in_folder(folder: str, call: Callable[[], Any]) -> None:
    before = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        call()
    finally:
        os.fchdir(before)
        os.close(before)


def guard(place: Place, name: str, lock: Lock) -> int:
    """Have a guardian; returns the descriptor on which it is told that it is not needed any more. It is nobody's
    child, so that the keeper does not end it with all that it holds."""
    keeper = look(os.getpid())
    assert keeper is not None
    listening, telling = os.pipe()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(listening)
        return telling
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            os.close(telling)
            lock.forget()
            guard_until(place, name, listening, keeper)
        status = 0
    finally:
        os._exit(status)


def guard_until(place: Place, name: str, listening: int, keeper: Process) -> None:
    """The guardian's life: until it is told that it is not needed, or that the keeper has ended and is cleared away."""
    while True:
        holder = read_lock(place)
        patience = max(1.0, holder.expires_in + OVERDUE) if holder is not None else OVERDUE
        if select.select([listening], [], [], patience)[0]:
            break
        holder = read_lock(place)
        if holder is not None and overdue(holder):
            leftovers.kill(holder.pid, holder.start)
    if os.read(listening, 1):
        return
    leftovers.await_end(keeper)  # its files are closed one by one, this pipe before its lock maybe
    try:
        lock = take(place)
    except Locked:
        return  # another run was faster: that one has cleared this one away first
    if name in place.runs():
        Run(place, name).clear_dead(lambda _: None)
    lock.release()
    tidy(place.run(name))
