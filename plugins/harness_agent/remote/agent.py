"""What an agent does when it is asked: each request by its name, as the user that it is for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable, Tuple, Union

from . import facts, files
from .children import Children
from .commands import Command
from .connection import Connection
from .frames import Frame, Header
from .light import cached_property
from .loop import Loop
from .users import User

# Not loaded before they are needed, as few agents need them: starting is most of what a short visit costs.
if TYPE_CHECKING:
    from .become import RootAgent
    from .lease import Alone
    from .ledger import Ledger
    from .services import Services

Answer = Union[None, Header, Tuple[Header, bytes]]
"""None: it will be answered later."""
Do = Callable[[Connection, Header, bytes], Answer]
REFUSED = (OSError, ValueError, LookupError, TypeError)
"""What a request can be answered with: it was wrong, or the kernel said no."""


def error_of(error: BaseException) -> Header:
    kind = "not-found" if isinstance(error, FileNotFoundError) else getattr(error, "kind", "refused")
    return {"error": str(error) or type(error).__name__, "kind": kind}


class Agent:
    """Serves any number of connections. `folder` is where commands run that nobody gave a folder."""

    def __init__(self, source: bytes, user: User, folder: str, logs: str = "") -> None:
        self.loop = Loop()
        self.children = Children()
        self.user = user
        self.root = User() if os.geteuid() == 0 else None
        self.folder = folder
        self.connections: dict[Connection, dict[int, Command]] = {}
        self.source = source
        self.bridged = False
        self.giving_up = False
        """It ends what it holds though nobody asked for that: its controller is lost, or it is to go itself."""
        self._logs = logs
        self._uploads: dict[str, Header] = {}  # that have begun, and may be dropped
        self._ledger: Ledger | None = None
        self._alone: Alone | None = None
        self.does: dict[str, Do] = {
            "run": self._run,
            "cancel": self._cancel,
            "put": self._put,
            "have": self._have,
            "append": self._append,
            "finish": self._finish,
            "drop": self._drop,
            "read": self._read,
            "remove": self._remove,
            "facts": self._facts,
            "become": self._become,
            "keep": self._keep,
            "lock": self._lock_machine,
            "renew": self._renew_lease,
            "sweep": self._sweep,
            "holder": self._holder_of,
            "record": self._record,
            "ledger-add": self._ledger_add,
            "ledger-remove": self._ledger_remove,
            "spawn": self._spawn,
            "services": lambda *_: {"services": self.services.describe()},
            "signal": self._signal,
            "state": self._state,
            "usage": self._usage,
            "tell": self._tell,
            "follow": self._follow,
            "log-size": lambda _, request, body: {"size": self.services[request["key"]].log_size()},
            "end": self._end,
        }

    @cached_property
    def services(self) -> Services:
        from .services import Services

        return Services(self.loop, self.children, self.tell, self._logs)

    @cached_property
    def above(self) -> RootAgent:
        from .become import RootAgent

        return RootAgent(self.loop, self.children, self.source)

    def connect(self, reading: int, writing: int, ended: Callable[[], None]) -> Connection:
        """Serve one more; `ended` is called when it has gone and its commands are being killed."""

        def gone(connection: Connection) -> None:
            for command in self.connections.pop(connection).values():
                command.end("cancelled")
            ended()

        connection = Connection(self.loop, reading, writing, self.heard, gone)
        self.connections[connection] = {}
        return connection

    def tell(self, event: Header) -> None:
        """Everybody; but not of services that they were killed when it gives up: that says nothing about them."""
        if self.giving_up and event.get("event") == "exit":
            return
        for connection in list(self.connections):
            connection.say(event)

    def heard(self, connection: Connection, frame: Frame) -> None:
        request, body = frame
        number = request.get("id")
        try:
            if request.get("become") and self.root is None:
                if request["do"] == "keep":
                    request["login"] = {"user": self.user.name, "env": self.user.env}
                self.above.forward(connection, request, body)
                return
            answer = self.does[request["do"]](connection, request, body)
        except REFUSED as error:
            answer = error_of(error)
        if isinstance(answer, tuple):
            connection.say({"id": number, **answer[0]}, answer[1])
        elif answer is not None:
            connection.say({"id": number, **answer})

    def end(self) -> None:
        """Undo what is in the ledger and kill all that is held. One that only passes on holds nothing: what it started
        is to outlive it."""
        if self.bridged:
            return
        if self._ledger is not None:
            from .ledger import undo_all

            undo_all(self._ledger, self.user, self.root or self.user, lambda ran: None)
        for upload in self._uploads.values():
            with self.as_user(upload).acting():
                files.drop(upload["path"], upload["upload"])
        if "above" in self.__dict__:
            self.above.close()
        self.children.end_all()
        if self._alone is not None:
            self._alone.release()
            self._alone = None

    def bridge(self, connection: Connection, fd: int) -> None:
        """Be nothing but a way to who is at the other end of this socket."""
        self.bridged = True
        connection.bridge(Connection(self.loop, fd, fd, self.heard, lambda _: None))

    def as_user(self, request: Header) -> User:
        return self.root if request.get("become") and self.root is not None else self.user

    def later(self, connection: Connection, request: Header, job: Iterator[Header]) -> None:
        """Work in slices, as the request's user; the last value that it yields is the answer."""
        user = self.as_user(request)

        def steps() -> Iterator[None]:
            answer: Header = {}
            while True:
                with user.acting():
                    try:
                        answer = next(job)
                    except StopIteration:
                        break
                    except REFUSED as error:
                        answer = error_of(error)
                        break
                yield
            connection.say({"id": request["id"], **answer})

        self.loop.slices(steps())

    def _run(self, connection: Connection, request: Header, body: bytes) -> Answer:
        user, number = self.as_user(request), request["id"]

        def done(answer: Header) -> None:
            self.connections.get(connection, {}).pop(number, None)
            connection.say({"id": number, **answer})

        self.connections[connection][number] = Command(
            self.loop,
            self.children,
            connection,
            number,
            request["argv"],
            {**user.env, **request.get("env", {})},
            request.get("cwd") or self.folder,
            user,
            body,
            request.get("timeout"),
            done,
        )
        return None

    def _cancel(self, connection: Connection, request: Header, body: bytes) -> Answer:
        command = self.connections[connection].get(request["target"])
        if command is not None:
            command.end("cancelled")
        return {}

    def _put(self, connection: Connection, request: Header, body: bytes) -> Answer:
        with self.as_user(request).acting():
            files.put(request["path"], body, request["mode"])
        return {}

    def _have(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self.later(connection, request, files.have(request["path"], request["sha256"], request["upload"]))
        return None

    def _append(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self._uploads[request["upload"]] = request
        with self.as_user(request).acting():
            files.append(request["path"], request["upload"], request["offset"], body)
        return {}

    def _finish(self, connection: Connection, request: Header, body: bytes) -> Answer:
        job = files.finish(request["path"], request["upload"], request["sha256"], request["mode"])
        self.later(connection, request, job)
        return None

    def _drop(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self._uploads.pop(request["upload"], None)
        with self.as_user(request).acting():
            files.drop(request["path"], request["upload"])
        return {}

    def _read(self, connection: Connection, request: Header, body: bytes) -> Answer:
        with self.as_user(request).acting():
            content, last = files.read(request["path"], request["offset"], request["length"])
        return {"last": last}, content

    def _remove(self, connection: Connection, request: Header, body: bytes) -> Answer:
        with self.as_user(request).acting():
            files.remove(request["path"])
        return {}

    def _become(self, connection: Connection, request: Header, body: bytes) -> Answer:
        """Have an agent of root, whom requests with `become` are passed to. The body is the password, if any."""
        if self.root is not None:
            return {}
        password = body if request["password"] else None
        self.above.open(
            self.user.env, self.folder, password, lambda answer: connection.say({"id": request["id"], **answer})
        )
        return None

    def _keep(self, connection: Connection, request: Header, body: bytes) -> Answer:
        from .keeping import keep

        keep(self, connection, request)
        return None

    def _lock_machine(self, connection: Connection, request: Header, body: bytes) -> Answer:
        """For itself, until its end, or until nobody renews that for `lease` seconds."""
        from .lease import Alone
        from .state import Locked, Place

        place = Place.of(request["base"], os.geteuid(), os.getegid())
        try:
            self._alone = Alone(place, request["run"], request["owner"], time.time(), request["lease"])
        except Locked as locked:
            return locked.answer
        self._alone.lease.watch(self.loop)
        return {}

    def _facts(self, connection: Connection, request: Header, body: bytes) -> Answer:
        return facts.facts(request["folder"])

    def _renew_lease(self, connection: Connection, request: Header, body: bytes) -> Answer:
        return self._alone.lease.renew() if self._alone is not None else {}

    def _sweep(self, connection: Connection, request: Header, body: bytes) -> Answer:
        from .sweeping import sweep

        return sweep(request["base"], request["run"], request["spare"], connection.say)

    def _holder_of(self, connection: Connection, request: Header, body: bytes) -> Answer:
        from .sweeping import holder

        return holder(request["base"])

    def _record(self, connection: Connection, request: Header, body: bytes) -> Answer:
        """What it holds, and how what is disturbed for the run is undone, is written there."""
        from .ledger import Ledger

        self.children.keep_record(request["path"])
        self._ledger = Ledger(request["ledger"])
        return {}

    def _ledger_add(self, connection: Connection, request: Header, body: bytes) -> Answer:
        if self._ledger is None:
            raise LookupError("this agent was given no ledger")
        self._ledger.add(request["entry"], request["what"], request["undo"])
        return {}

    def _ledger_remove(self, connection: Connection, request: Header, body: bytes) -> Answer:
        if self._ledger is not None:
            self._ledger.remove(request["entry"])
        return {}

    def _spawn(self, connection: Connection, request: Header, body: bytes) -> Answer:
        user = self.as_user(request)
        service = self.services.spawn(request, {**user.env, **request["env"]}, user)

        def started(problem: str) -> None:
            if problem:
                self.services.forget(service)
                connection.say({"id": request["id"], "error": problem, "kind": "refused"})
                return
            if request["follow"]:
                self.services.follow(service.key, connection, 0)
            connection.say({"id": request["id"], **service.describe()})

        service.when_started(started)
        return None

    def _signal(self, connection: Connection, request: Header, body: bytes) -> Answer:
        """`nth` counts the signals of a service: one that is heard again is not sent again. A `number` of signal(7),
        or "pause" or "resume"."""
        service = self.services[request["key"]]
        if request["nth"] > service.signals and not service.exit:
            number = request["number"]
            if number == "pause":
                service.pause()
            elif number == "resume":
                service.resume()
            else:
                service.signal(number)
            service.signals = request["nth"]
        return {}

    def _state(self, connection: Connection, request: Header, body: bytes) -> Answer:
        return {"state": self.services[request["key"]].state(request["pid"], request["start"])}

    def _usage(self, connection: Connection, request: Header, body: bytes) -> Answer:
        from .usage import usage  # not at the top: it is seldom asked for

        return usage(request["pid"], request["start"])

    def _end(self, connection: Connection, request: Header, body: bytes) -> Answer:
        """End everything that is held; how each ended is told before the answer."""
        self.end()
        connection.say({"id": request["id"], "left": []})
        connection.when_written(self.loop.stop)
        return None

    def _tell(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self.services[request["key"]].say(request["line"])
        return {}

    def _follow(self, connection: Connection, request: Header, body: bytes) -> Answer:
        self.services.follow(request["key"], connection, request["offset"])
        return {}
