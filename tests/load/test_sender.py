"""Senders in processes of their own against servers that behave and that do not."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict

import anyio
import pytest

from harness.load.arrivals import Profile, Segment, constant
from harness.load.job import Batching, Job, Start, Taken
from harness.load.senders import senders
from harness.load.tally import Distribution
from harness.load.wire import NO_LANE, Fate, Redirect, Shot
from tests.load.servers import Heard, Request, answer, at_once, balances, run, serving, shots, soon, target

pytestmark = pytest.mark.anyio


def burst(count: int) -> Profile:
    """So many at once, and time for them."""
    return Profile((Segment(count * 1e-6, 1e6, 1e6), Segment(1.0, 0.0, 0.0)))


def of(distribution: Distribution, share: float) -> float:
    """The quantile, in seconds."""
    rank, seen = share * sum(distribution.values()), 0
    for value in sorted(distribution):
        seen += distribution[value]
        if seen >= rank:
            return value / 1e6
    return 0.0


async def test_every_request_is_sent_at_its_moment_and_told() -> None:
    async with serving(at_once) as server:
        job = Job((target(server.port, path="/tx?x=1"),), each=True)
        heard = await run(job, Start(0.0, constant(100, 1.0)), shots(100))
    assert [request.body for request in server.requests] == [b"%d" % n for n in range(100)]
    assert {request.line for request in server.requests} == {"POST /tx?x=1 HTTP/1.1"}
    assert [result.serial for result in heard.results] == list(range(100))
    assert all(result.fate is Fate.TAKEN and result.status == 200 for result in heard.results)
    assert [result.intended for result in heard.results] == pytest.approx([heard.begin + n / 100 for n in range(100)])
    assert all(result.intended <= result.sent <= result.ended for result in heard.results)
    assert (heard.tally.offered, heard.tally.taken) == (100, 100)
    balances(heard)


async def test_one_connection_is_enough_for_requests_one_after_another() -> None:
    async with serving(at_once) as server:
        job = Job((target(server.port),), ordered=True)
        heard = await run(job, Start(0.0, constant(50, 0.5)), shots(25, lanes=1))
    assert heard.tally.taken > 0
    assert server.connections == 1
    assert heard.results == []  # not asked for


async def test_a_body_is_repeated_where_nothing_is_fed() -> None:
    async with serving(at_once) as server:
        heard = await run(Job((target(server.port),), repeat=b"again"), Start(0.0, constant(200, 0.5)))
    assert heard.tally.taken == 100
    assert {request.body for request in server.requests} == {b"again"}


async def test_a_stall_is_felt_by_all_who_would_have_come_meanwhile() -> None:
    """Coordinated omission: a closed loop would have one slow answer among many quick ones."""
    stall, goes_on = asyncio.Event(), asyncio.Event()

    async def stalls(request: Request) -> bytes:
        if request.body == b"100":  # of the open loop's, half a second after its begin
            stall.set()
            asyncio.get_running_loop().call_later(1.0, goes_on.set)
        if stall.is_set():
            await goes_on.wait()
        return answer()

    async with serving(stalls) as server:
        closed: list[float] = []
        ended = asyncio.Event()

        async def closed_loop() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            while not ended.is_set():
                began = time.monotonic()
                writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                await reader.readexactly(len(answer()))
                closed.append(time.monotonic() - began)
                await asyncio.sleep(0.001)  # a user's own pace, which waits for the answer
            writer.close()

        beside = asyncio.create_task(closed_loop())
        job = Job((target(server.port),), max_in_flight=1000)
        heard = await run(job, Start(0.0, constant(200, 2.0)), shots(400))
        ended.set()
        await beside
    assert heard.tally.taken == 400
    # A second of two: half of all requests came in it, and waited 0.5 s on average.
    assert of(heard.tally.response, 0.99) > 0.9
    assert 0.3 < of(heard.tally.response, 0.74) < 0.8
    slow = sum(seconds > 0.3 for seconds in closed)
    assert slow <= 2
    # A quick machine makes hundreds of requests beside, so that not even the 99th percentile knows of it.
    assert sorted(closed)[len(closed) // 2] < 0.1 and len(closed) > 20 * slow, "the closed loop knows of it"
    # The sender itself was not late: it is the server that was slow.
    assert of(heard.tally.lateness, 0.9) < 0.1


async def test_what_is_more_than_may_be_in_flight_is_dropped_and_counted() -> None:
    goes_on = asyncio.Event()

    async def holds(request: Request) -> bytes:
        if request.number == 4:
            asyncio.get_running_loop().call_later(0.5, goes_on.set)
        await goes_on.wait()
        return answer()

    async with serving(holds) as server:
        job = Job((target(server.port),), max_in_flight=5)
        heard = await run(job, Start(0.0, constant(100, 0.3)), shots(30))
    assert (heard.tally.started, heard.tally.dropped) == (5, 25)
    assert heard.tally.taken == 5
    balances(heard)


async def test_an_answer_that_does_not_come_times_out_alone() -> None:
    async def hangs_once(request: Request) -> bytes:
        if request.body == b"3":
            await anyio.sleep_forever()
        return answer()

    async with serving(hangs_once) as server:
        job = Job((target(server.port),), timeout=0.3, each=True)
        heard = await run(job, Start(0.0, constant(50, 0.4)), shots(20))
    fates = {result.serial: result.fate for result in heard.results}
    assert fates == {n: Fate.TIMED_OUT if n == 3 else Fate.TAKEN for n in range(20)}
    assert heard.tally.reasons == {"no answer in time": 1}
    balances(heard)


async def test_answers_that_mean_no_are_handed_back() -> None:
    async def refuses_odd(request: Request) -> bytes:
        odd = int(request.body) % 2
        return answer(400 if request.body == b"7" else 200, b'{"result": {"code": %d}}' % odd)

    async with serving(refuses_odd) as server:
        job = Job((target(server.port),), Taken((200,), ("result", "code"), 0), each=True)
        heard = await run(job, Start(0.0, constant(100, 0.1)), shots(10))
    read = [result for result in heard.results if result.fate is Fate.READ]
    assert sorted(result.serial for result in read) == [1, 3, 5, 7, 9]
    assert {result.status for result in read} == {200, 400}
    assert {result.reply for result in read} == {b'{"result": {"code": 1}}'}
    assert heard.tally.statuses == {"200": 4, "400": 1}


@pytest.mark.parametrize("wrong", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\nab", None])
async def test_a_server_that_breaks_off_loses_the_request(wrong: bytes | None) -> None:
    async def breaks(request: Request) -> bytes | None:
        return wrong if request.body == b"2" else answer()

    async def breaks_and_closes(request: Request) -> bytes | None:
        if request.body == b"2" and wrong:
            asyncio.get_running_loop().call_soon(server.hang_up, request.connection)
        return await breaks(request)

    async with serving(breaks_and_closes) as server:
        job = Job((target(server.port),), each=True, timeout=5)
        heard = await run(job, Start(0.0, constant(50, 0.2)), shots(10))
    fates = {result.serial: result.fate for result in heard.results}
    assert fates == {n: Fate.LOST if n == 2 else Fate.TAKEN for n in range(10)}
    balances(heard)


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
async def test_an_answer_may_be_as_long_as_its_connection(headers: str) -> None:
    async def no_length(request: Request) -> bytes:
        asyncio.get_running_loop().call_soon(server.hang_up, request.connection)
        return f"HTTP/1.1 400 X\r\n{headers}\r\nto the end".encode()

    async with serving(no_length) as server:
        heard = await run(Job((target(server.port),), each=True), Start(0.0, constant(50, 0.2)), shots(10))
    assert {(result.fate, result.status, result.reply) for result in heard.results} == {(Fate.READ, 400, b"to the end")}
    assert len(heard.results) == 10
    balances(heard)


async def test_who_waits_for_a_connection_gets_one_that_is_free_when_no_more_can_be_had() -> None:
    """A server that takes one connection and refuses all others: nothing fails as long as that one serves."""
    turn = asyncio.Lock()

    async def one_by_one(request: Request) -> bytes:
        async with turn:
            await asyncio.sleep(0.01)
        return answer()

    async with serving(one_by_one) as server, senders(Job((target(server.port),), each=True)) as those:
        heard = Heard()
        server.refuse()
        await those.feed(shots(20))
        await those.start(Start(soon(), burst(20)))
        await those.listen(lambda _, r: heard.results.extend(r), lambda _, told: heard.told.append(told))
    assert heard.tally.taken >= 1
    assert heard.tally.taken + heard.tally.failed == 20
    balances(heard)


async def test_a_server_that_is_not_there_fails_what_is_sent_to_it() -> None:
    async with serving(at_once) as server:
        port = server.port
    job = Job((target(port, "gone"),), each=True)
    async with senders(job) as those:
        heard = Heard()
        assert len(those.unreachable) == 1
        assert those.unreachable[0].startswith("gone: ConnectionRefusedError")
        await those.feed(shots(10))
        await those.start(Start(soon(), constant(100, 0.1)))
        await those.listen(lambda _, results: heard.results.extend(results), lambda _, told: heard.told.append(told))
    assert all(result.fate is Fate.FAILED and result.sent == 0 for result in heard.results)
    assert b"refused" in heard.results[0].reply.lower()
    assert heard.tally.failed == 10
    balances(heard)


async def test_the_next_server_is_asked_where_that_is_wanted() -> None:
    async def hangs_up(request: Request) -> bytes | None:
        return None

    async with serving(at_once) as gone:
        nowhere = gone.port
    async with serving(hangs_up) as rude, serving(at_once) as good:
        servers = (target(nowhere, "gone"), target(rude.port, "rude"), target(good.port, "good"))
        heard = await run(Job(servers, each=True, resend=True), Start(0.0, constant(100, 0.3)), shots(30))
    assert {(result.fate, result.target) for result in heard.results} == {(Fate.TAKEN, 2)}
    assert max(result.tried for result in heard.results) > 1
    assert len(good.requests) == 30
    balances(heard)


async def test_of_a_lane_one_is_under_way_at_a_time_and_in_order() -> None:
    under_way: defaultdict[int, int] = defaultdict(int)
    most: defaultdict[int, int] = defaultdict(int)

    async def slowly(request: Request) -> bytes:
        lane = int(request.body) % 4
        under_way[lane] += 1
        most[lane] = max(most[lane], under_way[lane])
        await asyncio.sleep(0.03)
        under_way[lane] -= 1
        return answer()

    async with serving(slowly) as server:
        job = Job((target(server.port), target(server.port, "same")), ordered=True, each=True, connections=4)
        heard = await run(job, Start(0.0, constant(80, 1.0)), shots(80, lanes=4), count=2)
    assert set(most.values()) == {1}
    for lane in range(4):
        sent = [int(request.body) for request in server.requests if int(request.body) % 4 == lane]
        assert sent == sorted(sent)
        assert len(sent) > 10
    assert heard.tally.offered == 80
    assert heard.tally.unready == heard.tally.blocked
    balances(heard)


async def test_what_is_behind_one_that_was_not_taken_is_void_until_a_later_epoch() -> None:
    async def refuses_first(request: Request) -> bytes:
        return answer(400 if request.body == b"0" else 200)

    async with serving(refuses_first) as server:
        job = Job((target(server.port),), ordered=True, each=True)
        fed = [*shots(5, lanes=1), Shot(5, 0, 1, b"5"), Shot(6, 1, 0, b"6")]
        heard = await run(job, Start(0.0, constant(20, 1.0)), fed)
    fates = {result.serial: result.fate for result in heard.results}
    assert fates == {0: Fate.READ, 5: Fate.TAKEN, 6: Fate.TAKEN}
    assert heard.tally.unready == 17
    balances(heard)


async def test_what_is_due_at_once_goes_in_one_request_and_each_gets_its_answer() -> None:
    async def by_number(request: Request) -> bytes:
        asked = json.loads(request.body)
        replies = [
            {"id": n["id"], "result": {"code": n["id"] % 3 == 0}} for n in (asked if type(asked) is list else [asked])
        ]
        return answer(body=json.dumps(list(reversed(replies)) if type(asked) is list else replies[0]).encode())

    async with serving(by_number) as server:
        job = Job(
            (target(server.port), target(server.port, "same")),
            Taken((200,), ("result", "code"), False),
            each=True,
            batching=Batching(4),
        )
        fed = [Shot(n, NO_LANE, 0, b'{"id": %d}' % n) for n in range(40)]
        heard = await run(job, Start(0.0, burst(40)), fed)
    fates = {result.serial: result.fate for result in heard.results}
    assert fates == {n: Fate.TAKEN if n % 3 else Fate.READ for n in range(40)}
    assert len(server.requests) < 40
    sizes = [len(asked) if type(asked := json.loads(request.body)) is list else 1 for request in server.requests]
    assert max(sizes) == 4
    assert sum(sizes) == 40
    assert json.loads(next(result.reply for result in heard.results if result.serial == 3))["id"] == 3
    balances(heard)


async def test_an_answer_that_fits_no_batch_is_everybodys() -> None:
    async def confused(request: Request) -> bytes:
        return answer(body=b'{"error": "too many"}')

    async with serving(confused) as server:
        job = Job((target(server.port),), Taken((200,), ("result",), 0), each=True, batching=Batching(50))
        fed = [Shot(n, NO_LANE, 0, b"{}") for n in range(20)]
        heard = await run(job, Start(0.0, burst(20)), fed)
    assert {(result.fate, result.reply) for result in heard.results} == {(Fate.READ, b'{"error": "too many"}')}
    assert len(heard.results) == 20


async def test_several_senders_share_the_moments() -> None:
    async with serving(at_once) as server:
        start, job = Start(0.0, constant(100, 1.0), "poisson", seed=3), Job((target(server.port),), each=True)
        three = await run(job, start, shots(200), count=3)
        one = await run(job, start, shots(200))
    assert three.tally.offered == one.tally.offered == len(three.results)
    intended = [sorted(result.intended - heard.begin for result in heard.results) for heard in (three, one)]
    assert intended[0] == pytest.approx(intended[1], abs=1e-6)


async def test_a_pause_moves_what_is_due_and_loses_nothing_but_time() -> None:
    async with serving(at_once) as server:
        heard, pauses = Heard(), []
        async with senders(Job((target(server.port),), each=True)) as those:
            await those.feed(shots(100))
            await those.start(Start(soon(), constant(50, 2.0)))

            async def pause() -> None:
                while len(server.requests) < 20:
                    await asyncio.sleep(0.01)
                await those.pause()
                await asyncio.sleep(0.3)
                pauses.append(len(server.requests))
                await asyncio.sleep(0.5)
                pauses.append(len(server.requests))
                await those.resume()

            task = asyncio.create_task(pause())
            await those.listen(lambda _, r: heard.results.extend(r), lambda _, told: heard.told.append(told))
            await task
    assert pauses[0] == pauses[1]
    assert 40 < heard.tally.offered < 75  # 0.8 s of two were lost
    balances(heard)


async def test_a_redirected_target_is_reached_at_its_new_address() -> None:
    async with serving(at_once) as old, serving(at_once) as new:
        heard = Heard()
        async with senders(Job((target(old.port),), each=True)) as those:
            await those.feed(shots(100))
            await those.start(Start(soon(), constant(100, 1.0)))

            async def redirect() -> None:
                while len(old.requests) < 20:
                    await asyncio.sleep(0.01)
                await those.redirect([Redirect("n", "127.0.0.1", new.port, True)])

            task = asyncio.create_task(redirect())
            await those.listen(lambda _, r: heard.results.extend(r), lambda _, told: heard.told.append(told))
            await task
    assert heard.tally.taken == 100
    assert len(old.requests) + len(new.requests) == 100
    assert len(new.requests) > 50


async def test_warm_up_counts_but_not_in_the_percentiles() -> None:
    async with serving(at_once) as server:
        start = Start(0.0, constant(100, 1.0), warm_up=0.5)
        heard = await run(Job((target(server.port),)), start, shots(100))
    assert heard.tally.taken == 100
    assert heard.tally.warming == 50
    assert sum(heard.tally.response.values()) == 50
    assert sum(heard.tally.lateness.values()) == 50


async def test_stopped_it_fires_no_more_and_ends() -> None:
    async with serving(at_once) as server:
        heard = Heard()
        async with senders(Job((target(server.port),), repeat=b"x")) as those:
            await those.start(Start(soon(), constant(100, 60.0)))

            async def stop() -> None:
                while len(server.requests) < 10:
                    await asyncio.sleep(0.01)
                await those.stop()

            task = asyncio.create_task(stop())
            with anyio.fail_after(10):
                await those.listen(lambda _, r: None, lambda _, told: heard.told.append(told))
            await task
    assert 10 <= heard.tally.taken < 1000
    balances(heard)
