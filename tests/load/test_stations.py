"""Senders on another machine: brought there as one file, started for whoever knows the secret, their clock asked."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import h11
import pytest

from harness.errors import InfrastructureError
from harness.load import bundle
from harness.load.arrivals import constant
from harness.load.h11_parser import H11Parser
from harness.load.job import Batching, Job, Start
from harness.load.offset import Asking, Offset
from harness.load.peer import Peer
from harness.load.senders import senders
from harness.load.tally import Told
from harness.load.there import Station
from harness.load.wire import Kind, Result, frame
from harness.testing.waiting import eventually
from tests.load.servers import Heard, Request, answer, serving, shots, soon, target

pytestmark = pytest.mark.anyio

SECRET = "5" * 64
COMPILED, PURE = "compiled", "pure"


async def nothing() -> str:
    return "(its last words)"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(params=[COMPILED, PURE])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, with or without what is compiled, and the interpreter's own packages hidden from it."""
    bundle.sender_pyz.cache_clear()
    if kind == PURE:
        monkeypatch.setattr(bundle, "COMPILED", ())
    path = tmp_path / "sender.pyz"
    path.write_bytes(bundle.sender_pyz())
    bundle.sender_pyz.cache_clear()
    return path


@pytest.fixture
def process(program: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    there = tmp_path / "there"
    there.mkdir()
    (there / "secret").write_text(SECRET + "\n")
    port = free_port()
    argv = [sys.executable, "-I", "-S", str(program), "serve", "127.0.0.1", str(port), "secret"]
    with (there / "log").open("wb") as log:
        ran = subprocess.Popen(argv, cwd=there, stderr=log)
    try:
        yield ran, port
    finally:
        ran.kill()
        ran.wait()


@pytest.fixture
async def station(process: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> Station:
    async def log() -> str:
        return (tmp_path / "there" / "log").read_text().strip()

    one = Station("far", "127.0.0.1", process[1], SECRET, log)

    async def answers() -> bool:
        try:
            await one.about()
        except InfrastructureError:
            return False
        return True

    give_up = time.monotonic() + 20
    while not await answers():
        assert time.monotonic() < give_up
        await anyio.sleep(0.05)
    return one


async def heard_from(station: Station, job: Job, start: Start, count: int = 1, fed: int = 0, lanes: int = 0) -> Heard:
    heard = Heard()
    async with senders(job, [station.sender] * count) as those:
        assert those.machines == ("far",) * count
        assert all(0 < bound < 0.1 for _, _, bound in those.clocks)
        await those.feed(shots(fed, lanes))
        heard.begin = soon()
        await those.start(Start(heard.begin, start.profile, start.arrivals, start.seed, start.warm_up))
        await those.listen(lambda _, results: heard.results.extend(results), lambda _, told: heard.told.append(told))
    return heard


async def echo(request: Request) -> bytes:
    return answer(body=request.body)


async def test_it_says_what_it_has(station: Station, kind: str) -> None:
    about = await station.about()
    assert about.parser == ("httptools" if kind == COMPILED else "h11")
    assert about.loop == ("uvloop" if kind == COMPILED else "asyncio")
    assert about.cpus >= 1


async def test_every_request_is_sent_at_its_moment_and_told(station: Station) -> None:
    async with serving(echo) as server:
        job = Job((target(server.port),), each=True)
        heard = await heard_from(station, job, Start(0.0, constant(100, 1.0)), count=2, fed=100)
    assert sorted(int(request.body) for request in server.requests) == list(range(100))
    assert heard.tally.offered == heard.tally.taken == 100
    moments = sorted(result.intended - heard.begin for result in heard.results)
    assert moments == pytest.approx([n / 100 for n in range(100)], abs=0.2)
    for result in heard.results:
        assert result.intended <= result.sent <= result.ended


async def test_of_a_lane_one_is_under_way_at_a_time_and_in_order(station: Station) -> None:
    under_way: list[int] = []

    async def slow(request: Request) -> bytes:
        lane = int(request.body) % 3
        assert lane not in under_way
        under_way.append(lane)
        await anyio.sleep(0.03)
        under_way.remove(lane)
        return answer()

    async with serving(slow) as server:
        job = Job((target(server.port),), ordered=True, each=True)
        heard = await heard_from(station, job, Start(0.0, constant(60, 1.0)), count=3, fed=60, lanes=3)
    assert heard.tally.taken + heard.tally.blocked == 60  # some are late where the machine is busy
    for lane in range(3):
        mine = [int(request.body) for request in server.requests if int(request.body) % 3 == lane]
        assert mine == sorted(mine) and len(mine) > 10


async def test_batches_and_answers_of_every_kind_are_read(station: Station) -> None:
    """In chunks, after an interim answer, as long as the connection, and in one for several requests."""

    async def odd(request: Request) -> bytes:
        match request.number % 3:
            case 0:
                return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            case 1:
                return b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer()
            case _:
                return answer(503, b"busy", "Connection: close\r\n")

    async with serving(odd) as server:
        heard = await heard_from(station, Job((target(server.port),), each=True), Start(0.0, constant(30, 1.0)), fed=30)
    assert (heard.tally.taken, heard.tally.read) == (20, 10)
    assert {result.reply for result in heard.results if result.status == 503} == {b"busy"}

    async def batch(request: Request) -> bytes:
        return answer(body=b"[" + b",".join(b'{"id":%d}' % n for n in range(4)) + b"]")

    async with serving(batch) as server:
        job = Job((target(server.port),), each=True, batching=Batching(10))
        heard = await heard_from(station, job, Start(0.0, constant(4e6, 1e-6)), fed=4)
    assert heard.tally.taken == 4
    assert len(server.requests) == 1


async def test_what_is_no_http_spoils_its_own_request_only(station: Station) -> None:
    async def nonsense(request: Request) -> bytes:
        return b"220 mail.example ready\r\n\r\n" if request.number == 3 else answer()

    async with serving(nonsense) as server:
        heard = await heard_from(station, Job((target(server.port),), each=True), Start(0.0, constant(20, 0.5)), fed=10)
    assert (heard.tally.taken, heard.tally.lost) == (9, 1)
    assert any("not HTTP" in reason for reason in heard.tally.reasons)


async def test_who_does_not_know_the_secret_gets_no_sender(station: Station) -> None:
    stranger = Station("far", station.host, station.port, "6" * 64, nothing)
    with pytest.raises(InfrastructureError, match=r"load on far does not answer as one: EndOfStream: \(its last words"):
        await stranger.about()


async def test_strangers_who_say_nothing_keep_nobody_out(station: Station) -> None:
    """Fewer than it has room for, at least."""
    with_nothing_to_say = [socket.create_connection((station.host, station.port)) for _ in range(10)]
    try:
        assert (await station.about()).cpus >= 1
    finally:
        for one in with_nothing_to_say:
            one.close()


async def test_a_sender_ends_with_its_connection(
    station: Station, process: tuple[subprocess.Popen[bytes], int]
) -> None:
    def workers() -> list[str]:
        found = subprocess.run(["pgrep", "-P", str(process[0].pid)], capture_output=True, text=True)
        return found.stdout.split()

    async with station.sender("one"):
        await eventually(lambda: len(workers()) == 1)
    await eventually(lambda: not workers())


@pytest.mark.parametrize("reset", [False, True])
async def test_a_sender_whose_controller_is_gone_ends_without_complaint(reset: bool) -> None:
    """As when its machine was out of reach: the connection ends while it has much to tell."""
    async with serving(echo) as server:
        job = Job((target(server.port),), repeat=b"x", each=True)
        ours, theirs = await anyio.to_thread.run_sync(connected)
        with theirs:
            argv = [sys.executable, "-m", "harness.load.worker"]
            sender = await anyio.open_process(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
        with ours:
            ours.sendall(frame(Kind.JOB, job.to_json()))
            ours.sendall(frame(Kind.START, Start(time.monotonic(), constant(500, 60.0)).to_json()))
            await eventually(lambda: len(server.requests) > 100)
            if reset:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with sender:
            assert sender.stderr is not None
            said = b"".join([chunk async for chunk in sender.stderr])
            assert (await sender.wait(), said) == (0, b"")


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


async def test_a_sender_that_dies_is_an_error_that_names_the_machine(
    station: Station, process: tuple[subprocess.Popen[bytes], int]
) -> None:
    async with serving(echo) as server, senders(Job((target(server.port),), repeat=b"x"), [station.sender]) as those:
        await those.start(Start(soon(), constant(50, 60.0)))
        subprocess.run(["pkill", "-KILL", "-P", str(process[0].pid)], check=True)
        with anyio.fail_after(20), pytest.raises(BaseException) as caught:
            await those.listen(lambda _, r: None, lambda _, told: None)
    why = r"1 of 1 \(on far\) ended before it was done: a sender: killed by signal 9 \(SIGKILL\)"
    assert caught.group_contains(InfrastructureError, match=why)


async def test_a_station_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InfrastructureError, match="load on far cannot be reached"):
        await Station("far", "127.0.0.1", free_port(), SECRET, nothing).about()


# Clocks


def test_of_answers_the_one_counts_that_bounds_the_error_best_now() -> None:
    clock = Offset()
    assert clock.at(0.0) == (0.0, 0.0)
    clock.add(Asking(10.0, 1010.004, 10.010))  # ± 5 ms
    clock.add(Asking(20.0, 1020.001, 20.002))  # ± 1 ms
    clock.add(Asking(30.0, 1030.010, 30.020))  # ± 10 ms
    assert clock.at(31.0) == (pytest.approx(1000.0), pytest.approx(0.001 + 1e-4 * 10.998))
    clock.add(Asking(100.0, 1100.003, 100.006))  # by now better than what was better 80 s ago
    assert clock.at(101.0)[1] == pytest.approx(0.003 + 1e-4 * 0.994)
    assert clock.round_trip == pytest.approx(0.020)


def test_what_a_sender_says_is_in_our_time() -> None:
    result = Result(1, 1, 200, 0, 1005.0, 1005.1, 1005.2, 1, b"")  # type: ignore[arg-type]
    assert result.later(-1000.0)[4:7] == pytest.approx((5.0, 5.1, 5.2))
    assert result._replace(sent=0.0).later(-1000.0).sent == 0.0
    told = Told(1005.0, 1006.0, Heard().tally, 0, 0.0, 0)
    assert (told.later(-1000.0).since, told.later(-1000.0).until) == (5.0, 6.0)


async def test_a_clock_that_is_a_day_ahead_is_seen_through() -> None:
    from harness.load.peer import Line
    from harness.load.wire import Frames, Kind, frame

    ahead = 86_400.25
    said: list[tuple[Kind, bytes]] = []

    class Far(Line):
        elsewhere = True

        def __init__(self) -> None:
            self._to_say: list[bytes] = []
            self._frames = Frames()

        async def send(self, data: bytes) -> None:
            for kind, payload in ((each.kind, each.payload) for each in self._frames.feed(data)):
                said.append((kind, payload))
                if kind is Kind.JOB:
                    self._to_say.append(frame(Kind.READY))
                if kind is Kind.CLOCK:
                    self._to_say.append(frame(Kind.TIME, repr(time.monotonic() + ahead).encode()))
                if kind is Kind.START:
                    at = Start.from_json(payload).at
                    told = Told(at, at + 1, Heard().tally, 0, 0.0, 0)
                    self._to_say += [frame(Kind.TALLY, told.to_json()), frame(Kind.DONE)]

        async def receive(self) -> bytes:
            return self._to_say.pop(0)

        async def end(self) -> None: ...

        async def last_words(self) -> str:
            return ""

    @asynccontextmanager
    async def source(name: str) -> AsyncIterator[Peer]:
        yield Peer(name, Far(), "far")

    heard: list[Told] = []
    async with senders(Job((target(1),)), [source]) as those:
        ((_, offset, bound),) = those.clocks
        assert offset == pytest.approx(ahead, abs=bound)
        begin = soon()
        await those.start(Start(begin, constant(1, 1.0)))
        await those.listen(lambda _, results: None, lambda _, told: heard.append(told))
    start = Start.from_json(next(payload for kind, payload in said if kind is Kind.START))
    assert start.at == pytest.approx(begin + ahead, abs=0.01)
    assert heard[0].since == pytest.approx(begin, abs=0.01)


# h11, told as httptools tells


def test_h11_reads_one_answer_after_another_in_any_pieces() -> None:
    seen: list[bytes] = []

    class Reader:
        def on_body(self, body: bytes) -> None:
            seen.append(body)

        def on_message_complete(self) -> None:
            seen.append(b"|")

    parser = H11Parser(Reader())
    for number in range(3):
        parser.begin()
        for byte in b"HTTP/1.1 20%d X\r\nContent-Length: 2\r\n\r\nab" % number:
            parser.feed_data(bytes([byte]))
        assert parser.get_status_code() == 200 + number
        assert parser.should_keep_alive()
    assert b"".join(seen) == b"ab|ab|ab|"
    parser.begin()
    parser.feed_data(b"HTTP/1.0 404 X\r\nContent-Length: 0\r\n\r\n")
    assert parser.get_status_code() == 404
    assert not parser.should_keep_alive()
    broken = H11Parser(Reader())
    broken.begin()
    with pytest.raises(h11.RemoteProtocolError):
        broken.feed_data(b"220 mail.example ready\r\n\r\n")
