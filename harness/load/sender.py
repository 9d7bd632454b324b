"""The sender: fires each request at its moment, whatever became of those before it, and counts what comes of them."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.load.arrivals import moments, share
from harness.load.connection import Connection
from harness.load.flight import Cargo, Flight, answers, is_taken
from harness.load.job import Job, Start
from harness.load.server import Server
from harness.load.shots import Lanes
from harness.load.tally import Tally, Told, count
from harness.load.ticker import Ticker
from harness.load.wire import Fate, Result

ON_TIME = 0.01
"""Seconds within which a request counts as sent on time."""
HOUSEKEEPING = 0.02
"""Seconds between two looks for answers that are overdue, and between two reports of fates."""
TELL_EVERY = 1.0
CLOSEST = 50e-6
"""Seconds between two alarms at least: what is due sooner waits for company."""
FILES_OF_ITS_OWN = 32
REFRESH = 32
"""Requests fired on one reading of the clock."""


class Sender:
    """One job's, on the running event loop. `results` gets fates (where each is wanted), `told` a tally every second.

    Use: `open`, feed `shots`, `start`, `await finished()`."""

    def __init__(self, job: Job, results: Callable[[list[Result]], None], told: Callable[[Told], None]) -> None:
        self.job = job
        self.shots = Lanes(job.ordered, job.repeat)
        self._loop = asyncio.get_running_loop()
        self._results = results
        self._told = told
        self._fates: list[Result] = []
        self._servers = [Server(n, target, self, self._loop) for n, target in enumerate(job.targets)]
        self._turn = job.number  # of the next request that belongs to no lane
        self._together: dict[int, list[Flight]] = {}  # by server: due at once, to be sent in one
        # What this process has no file for would be told as the servers' failure.
        self._most = min(job.max_in_flight, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_OF_ITS_OWN)
        self._in_flight = 0
        self._overdue: deque[Flight] = deque()  # in the order of their deadlines
        self._tally = Tally()
        self._since = 0.0
        self._cpu = _cpu()
        self._ticker = Ticker(self._tick)
        self._base = 0.0
        self._end = 0.0
        self._counts_from = 0.0
        self._offsets: Iterator[float] = iter(())
        self._offset: float | None = None  # of the next moment; None when there is none
        self._paused_at: float | None = None
        self._drained = asyncio.Event()
        self._housekeeping: asyncio.TimerHandle | None = None

    async def open(self) -> list[str]:
        """Open the connections that are wanted beforehand. Returns why some could not be, by server."""
        wrong = await asyncio.gather(*(server.warm(self.job.connections) for server in self._servers))
        return [f"{server.target.name}: {why}" for server, why in zip(self._servers, wrong, strict=True) if why]

    def start(self, start: Start) -> None:
        """Fire from `start.at` on."""
        job = self.job
        # Every sender draws the same moments and takes its share of them: together they are the whole.
        whole = moments(start.profile, start.arrivals, random.Random(start.seed))
        self._offsets = share(whole, job.number, job.among)
        self._base, self._end = start.at, start.at + start.profile.seconds
        self._counts_from = start.at + start.warm_up
        self._since = time.monotonic()
        self._cpu = _cpu()
        self._advance()
        self._housekeep()

    async def finished(self) -> None:
        """Return when nothing is to be fired and nothing is in flight any more, everything told."""
        await self._drained.wait()

    def pause(self) -> None:
        """Fire nothing until `resume`: what is due in between comes later by as long."""
        if self._paused_at is None:
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        if self._paused_at is not None:
            held = max(0.0, time.monotonic() - max(self._paused_at, self._base))
            self._base += held
            self._counts_from += held
            self._paused_at = None
            self._set()

    def stop(self) -> None:
        """Nothing is due any more. What is in flight goes on to its end."""
        self._offset = None
        self._check_drained()

    def redirect(self, name: str, host: str, port: int, trusted: bool) -> None:
        """A target is at this address from now on; not `trusted`: others come first."""
        for server in self._servers:
            if server.target.name == name:
                server.redirect(host, port, trusted)

    def close(self) -> None:
        """End everything at once. What has no answer is told to be cut off."""
        self._offset = None
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        now = time.monotonic()
        for flight in list(self._overdue):
            if not flight.done:
                self._end_flight(flight, Fate.CUT_OFF, now)
        self._ticker.close()
        for server in self._servers:
            server.close()
        self._report(now)

    # Firing

    def _advance(self) -> None:
        """On to the next moment; none after the end."""
        self._offset = next(self._offsets, None)
        if self._offset is None or self._base + self._offset >= self._end:
            self._offset = None
            self._check_drained()
        else:
            self._set()

    def _set(self) -> None:
        if self._offset is not None:
            self._ticker.set(self._base + self._offset)

    def _tick(self) -> None:
        """Fire what is due."""
        if self._paused_at is not None or self._offset is None:
            return
        tally, offsets, base, end = self._tally, self._offsets, self._base, self._end
        most, timeout = self._most, self.job.timeout
        offset: float | None = self._offset
        now = time.monotonic()
        fired = 0
        while offset is not None:
            due = base + offset
            if due > now:
                break
            if due >= end:
                offset = None
                break
            if now >= end + ON_TIME:
                tally.offered += 1
                tally.behind += 1
            elif self._in_flight >= most:
                tally.offered += 1
                tally.dropped += 1
            else:
                tally.offered += 1
                shot = self.shots.next()
                if shot is None:
                    tally.unready += 1
                    tally.blocked += self.shots.waiting > 0
                else:
                    fired += 1
                    if not fired % REFRESH:
                        now = time.monotonic()
                    self._fire(Flight(shot, due, now, now + timeout))
            offset = next(offsets, None)
        self._offset = offset
        if self._together:
            self._send_together()
        if offset is None:
            self._check_drained()
        else:
            self._ticker.set(max(base + offset, now + CLOSEST))

    def _fire(self, flight: Flight) -> None:
        tally = self._tally
        tally.started += 1
        late = flight.fired - flight.due
        if late <= ON_TIME:
            tally.on_time += 1
        if flight.due >= self._counts_from:
            count(tally.lateness, late)
        self._in_flight += 1
        self._overdue.append(flight)
        lane = flight.shot.lane
        if not self.job.ordered:
            lane = self._turn
            self._turn += self.job.among
        server = self._believed(lane % len(self._servers))
        if self.job.batching is not None:
            self._together.setdefault(server.number, []).append(flight)
        else:
            self._dispatch((flight,), server)

    def _send_together(self) -> None:
        """What was due at once for one server, in as few requests as it takes."""
        batching = self.job.batching
        assert batching is not None
        together, self._together = self._together, {}
        for number, flights in together.items():
            for first in range(0, len(flights), batching.most):
                self._dispatch(tuple(flights[first : first + batching.most]), self._servers[number])

    def _believed(self, first: int) -> Server:
        """This server, or the next one that is believed to answer."""
        servers = self._servers
        server = servers[first]
        if not server.avoided:
            return server
        now, among = time.monotonic(), len(servers)
        rounds = [servers[(first + step) % among] for step in range(among)]
        return next((one for one in rounds if not one.avoided or one.retry_due(now)), server)

    def _dispatch(self, cargo: Cargo, server: Server) -> None:
        for flight in cargo:
            flight.tried += 1
            flight.server = server.number
        server.send(cargo)

    def _again(self, cargo: Cargo, why: str) -> None:
        """They got no answer from this server: on to the next one, each alone, if that is wanted and there is time."""
        now = time.monotonic()
        for flight in cargo:
            if flight.done:
                continue
            flight.connection = None
            if self.job.resend and flight.tried < len(self._servers) and now < flight.deadline:
                self._dispatch((flight,), self._believed((flight.server + 1) % len(self._servers)))
            else:
                self._end_flight(flight, Fate.LOST if flight.went_out else Fate.FAILED, now, reason=why)

    # Connections' owner, and servers'

    def connected(self, connection: Connection) -> None:
        self._tally.connects += 1
        connection.server.connected(connection)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        cargo, connection.cargo = connection.cargo, ()
        if not connection.closing:
            connection.server.free(connection)
        now = time.monotonic()
        if len(cargo) == 1:
            self._read(cargo[0], now, status, body)
        elif self.job.batching is not None:
            for flight, part in answers(cargo, body, self.job.batching):
                self._read(flight, now, status, part)

    def lost(self, connection: Connection, why: str) -> None:
        cargo, connection.cargo = connection.cargo, ()
        connection.server.lost(connection)
        if self.job.idempotent and connection.used and connection.unanswered:
            # It was kept for longer than its server wanted: that is no failure of the request's.
            if left := tuple(flight for flight in cargo if not flight.done):
                connection.server.send(left)
        else:
            self._again(cargo, why)

    def unreachable(self, cargo: Cargo, why: str) -> None:
        """No connection to its server could be made."""
        self._again(cargo, why)

    # Ends

    def _read(self, flight: Flight, now: float, status: int, body: bytes) -> None:
        if flight.done:
            return
        tally = self._tally
        if flight.due >= self._counts_from:
            count(tally.service, now - flight.fired)
            count(tally.response, now - flight.due)
        else:
            tally.warming += 1
        if is_taken(self.job.taken, status, body):
            self._end_flight(flight, Fate.TAKEN, now, status, body if self.job.replies else b"")
        else:
            tally.statuses[str(status)] += 1
            self._end_flight(flight, Fate.READ, now, status, body)

    def _end_flight(
        self, flight: Flight, fate: Fate, now: float, status: int = 0, reply: bytes = b"", reason: str = ""
    ) -> None:
        flight.done = True
        self._in_flight -= 1
        tally = self._tally
        if fate is Fate.TAKEN:
            tally.taken += 1
        elif fate is Fate.READ:
            tally.read += 1
        else:
            name = fate.name.lower()
            setattr(tally, name, getattr(tally, name) + 1)
            if reason:
                tally.give(reason)
                reply = reason.encode("utf-8", "replace")
        if self.job.ordered:
            self.shots.ended(flight.shot, taken=fate is Fate.TAKEN)
        if self.job.each:
            sent = flight.fired if flight.went_out else 0.0
            self._fates.append(
                Result(flight.shot.serial, fate, status, flight.server, flight.due, sent, now, flight.tried, reply)
            )
        overdue = self._overdue
        while overdue and overdue[0].done:
            overdue.popleft()
        if not self._in_flight and self._offset is None:
            self._check_drained()

    def _housekeep(self) -> None:
        now = time.monotonic()
        while self._overdue and self._overdue[0].deadline <= now:
            flight = self._overdue.popleft()
            if not flight.done:
                connection, flight.connection = flight.connection, None
                if flight.went_out:
                    self._end_flight(flight, Fate.TIMED_OUT, now, reason="no answer in time")
                else:
                    self._end_flight(flight, Fate.FAILED, now, reason="no connection in time")
                if connection is not None:
                    connection.cargo = tuple(one for one in connection.cargo if one is not flight)
                    connection.abort("no answer in time")
        if now - self._since >= TELL_EVERY:
            self._report(now)
        elif self._fates:
            self._flush()
        if not self._drained.is_set():
            self._housekeeping = self._loop.call_later(HOUSEKEEPING, self._housekeep)

    def _check_drained(self) -> None:
        if self._offset is None and not self._in_flight and not self._drained.is_set():
            self._report(time.monotonic())
            self._drained.set()

    def _flush(self) -> None:
        fates, self._fates = self._fates, []
        self._results(fates)

    def _report(self, now: float) -> None:
        if self._fates:
            self._flush()
        tally, self._tally = self._tally, Tally()
        cpu, self._cpu = self._cpu, _cpu()
        self._told(Told(self._since, now, tally, self._in_flight, self._cpu - cpu, _memory()))
        self._since = now


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> int:
    """The most bytes that were resident since this program began (`ru_maxrss` knows the one that started it, too)."""
    try:
        with Path("/proc/self/status").open("rb") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
