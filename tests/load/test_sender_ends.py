"""Senders that are killed, hang or end by themselves: what is told of them, and what is counted."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path

import anyio
import pytest

from harness.errors import InfrastructureError
from harness.load import peer
from harness.load.arrivals import Arrivals, constant, moments
from harness.load.here import process_here
from harness.load.job import Job, Start
from harness.load.senders import senders
from harness.load.tally import Told
from tests.load.servers import Heard, Request, answer, at_once, balances, serving, soon, target

pytestmark = pytest.mark.anyio


async def test_a_killed_sender_is_an_error_that_names_it() -> None:
    async with serving(at_once) as server, senders(Job((target(server.port),), repeat=b"x")) as those:
        await those.start(Start(soon(), constant(10, 60.0)))
        name = those.names[0]  # "1 of 1 (process PID)"
        os.kill(int(name.split()[-1].strip(")")), signal.SIGKILL)
        with anyio.fail_after(10), pytest.raises(BaseException) as caught:
            await those.listen(lambda _, r: None, lambda _, told: None)
    assert caught.group_contains(
        InfrastructureError, match=r"\d+\) ended before it was done: killed by signal 9 \(SIGKILL\)"
    )


async def test_all_who_want_to_know_why_a_sender_ended_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends to it and who listens find out at the same moment, while its last words are on their way."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nread line\necho no such thing >&2\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    told: list[str] = []
    async with process_here("1 of 1") as peer:
        line = peer._line

        async def ask() -> None:
            told.append(await line.last_words())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                await line.send(b"\n")
    assert told == ["exit code 3: no such thing"] * 2


async def test_a_sender_that_ends_by_itself_tells_its_exit_code_and_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    for said, told in ((">&2 echo no such thing;", "exit code 3: no such thing"), ("", "exit code 3")):
        program.write_text(f"#!/bin/sh\nhead -c 5 >/dev/null\n{said} exit 3\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        with anyio.fail_after(10), pytest.raises(InfrastructureError) as caught:
            async with senders(Job((target(1),), repeat=b"x")):
                pass
        assert str(caught.value).endswith(f"ended before it was done: {told}")


@pytest.mark.parametrize("arrivals", ["uniform", "poisson"])
async def test_what_a_killed_sender_did_not_tell_is_counted_to_the_last_one(arrivals: Arrivals) -> None:
    """Also after a pause, in which nothing was due. What is in flight at its last word is nobody's failure."""
    never = asyncio.Event()
    told: dict[int, list[Told]] = defaultdict(list)

    async def silent(request: Request) -> bytes:
        await never.wait()
        return answer()

    async with serving(silent) as server:
        job = Job((target(server.port),), repeat=b"x", max_in_flight=5000, timeout=20.0)
        async with senders(job, 2) as those:
            begin = soon()
            await those.start(Start(begin, constant(500, 60.0), arrivals, seed=7))

            async def pause_and_kill() -> None:
                while not told[1]:
                    await anyio.sleep(0.02)
                await those.pause()
                await anyio.sleep(0.5)
                await those.resume()
                await anyio.sleep(0.3)
                os.kill(int(those.names[1].split()[-1].strip(")")), signal.SIGKILL)

            with anyio.fail_after(15), pytest.raises(BaseException) as caught:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pause_and_kill)
                    await those.listen(lambda _, r: None, lambda n, one: told[n].append(one))
            await those.last_words(lambda _, r: None, lambda n, one: told[n].append(one))
            await those.last_words(lambda _, r: None, lambda n, one: told[n].append(one))  # tells nothing twice
    assert caught.group_contains(InfrastructureError, match="killed by signal 9")
    living, dead = (Heard(told=told[number]) for number in (0, 1))
    balances(living)
    balances(dead)
    assert living.tally.untold == 0
    assert dead.tally.untold > 50
    assert dead.tally.cut_off == dead.told[0].in_flight > 0
    assert (dead.told[-1].in_flight, dead.told[-1].cpu) == (0, 0.0)
    whole = moments(constant(500, 60.0), arrivals, random.Random(7))
    due = [begin + moment for moment in itertools.islice(whole, 1, 3000, 2)]
    ended = dead.told[-1].until
    at_least, at_most = (sum(moment + pause <= ended for moment in due) for pause in (0.8, 0.49))  # a busy machine's
    assert at_least <= dead.tally.offered <= at_most


async def test_a_sender_that_hangs_is_an_error_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "SILENT", 2.5)
    async with serving(at_once) as server, senders(Job((target(server.port),), repeat=b"x")) as those:
        await those.start(Start(soon(), constant(10, 60.0)))
        os.kill(int(those.names[0].split()[-1].strip(")")), signal.SIGSTOP)
        told: list[Told] = []
        with anyio.fail_after(10), pytest.raises(BaseException) as caught:
            await those.listen(lambda _, r: None, lambda _, one: told.append(one))
        with anyio.move_on_after(0.1):
            await those.last_words(lambda _, r: None, lambda _, one: told.append(one))
    assert caught.group_contains(InfrastructureError, match="hangs: it has told nothing for 2.5 s")
    assert sum(one.tally.untold for one in told) >= 20
