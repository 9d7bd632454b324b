"""Services: real processes, what the kernel says of them, and what becomes of their descendants."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import CUT, Exit, Flow, InfrastructureError, Link, ServiceSpec
from harness_agent.remote.processes import look

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SLEEP = "import time; print('up'); time.sleep(1000)"
ESCAPE = """
import os, sys, time
# fork twice and take a session of its own, as a daemon does
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b"escaped %d\\n" % os.getpid())
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
CHILDREN = """
import os, time
child = os.fork()
if child == 0:
    os.fork()
os.write(1, b"one %d\\n" % os.getpid())
time.sleep(1000)
"""


def pids(kit: Any, word: str) -> list[int]:
    return [int(line.split()[1]) for line in kit.log().splitlines() if line.startswith(word)]


async def test_the_exit_status_is_reported(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, "print('bye'); raise SystemExit(7)"))
        how = await service.wait()
        assert (how.code, how.signal) == (7, None)
        assert service.exit == how
        assert kit.log() == "bye\n"
        assert await service.state() == "gone"
        await service.signal(signal.SIGTERM)  # nothing happens


async def test_the_ending_signal_is_reported(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
            service = await place.machine.spawn(ServiceSpec("v", ("sleep", "1000"), place.directory, kit.folder / "l"))
            await service.signal(number)
            how = await service.wait()
            assert (how.code, how.signal) == (None, number)


async def test_pause_and_resume_are_seen_in_the_kernel(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, CHILDREN))
        await kit.eventually(lambda: len(pids(kit, "one")) == 3, "all three run")
        group = pids(kit, "one")
        assert service.pid in group
        assert await service.state() == "running"
        await service.signal(signal.SIGSTOP)
        await kit.eventually(lambda: all(look(pid).stopped for pid in group), "the whole group is stopped")
        assert await service.state() == "paused"
        await service.signal(signal.SIGCONT)
        await kit.eventually(lambda: not any(look(pid).stopped for pid in group), "the whole group goes on")
        assert await service.state() == "running"


async def test_a_paused_process_can_be_killed(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, SLEEP))
        await service.signal(signal.SIGSTOP)
        await service.signal(signal.SIGKILL)
        assert (await service.wait()).signal == signal.SIGKILL


async def test_identity_is_pid_and_kernel_start_time(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, SLEEP))
        assert service.start_time == look(service.pid).start
        lines = [json.loads(line) for line in (kit.folder / "processes.jsonl").read_text().splitlines()]
        assert {"pid": service.pid, "start": service.start_time, "name": "v"} in lines
        service.started(service.pid, service.start_time - 1)  # as if the pid had been given to another process
        assert await service.state() == "gone"


@pytest.mark.parametrize("source, count", [(CHILDREN, 3), (ESCAPE, 1)], ids=["group", "double fork, own session"])
async def test_when_a_service_ends_nothing_of_it_is_left(kit: Any, source: str, count: int) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, source))
        await kit.eventually(lambda: len(pids(kit, "")) == count, "it has forked")
        other = await place.machine.spawn(ServiceSpec("o", ("sleep", "1000"), place.directory, kit.folder / "o"))
        os.kill(service.pid, signal.SIGKILL)  # its leader alone
        await service.wait()
        assert not [pid for pid in pids(kit, "") if kit.is_alive(pid)]
        assert await other.state() == "running"


@pytest.mark.parametrize("source, count", [(CHILDREN, 3), (ESCAPE, 1)], ids=["group", "double fork, own session"])
async def test_teardown_ends_what_the_caller_did_not(kit: Any, source: str, count: int) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, source))
        await kit.eventually(lambda: len(pids(kit, "")) == count, "it has forked")
        await service.signal(signal.SIGSTOP)
    assert not [pid for pid in [service.pid, *pids(kit, "")] if kit.is_alive(pid)]
    assert service.exit is not None and service.exit.signal == signal.SIGKILL


async def test_a_process_that_cleared_its_environment_still_ends_with_the_run(kit: Any) -> None:
    escape = ESCAPE.replace(
        "        time.sleep(1000)\n    os._exit", "        os.execve('/bin/sleep', ['sleep', '1000'], {})\n    os._exit"
    )
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        await place.machine.spawn(kit.program(place, escape))
        await kit.eventually(lambda: bool(pids(kit, "escaped")), "it has forked")
        (escaped,) = pids(kit, "escaped")
        await kit.eventually(lambda: Path(f"/proc/{escaped}/environ").read_bytes() == b"", "it has no environment")
        assert kit.is_alive(escaped)
    assert not kit.is_alive(escaped)


async def test_a_node_gets_no_terminal_no_input_and_no_foreign_files(kit: Any) -> None:
    report = "import os, sys; print(sys.stdin.read() == '', os.getsid(0) == os.getpid(), sorted(os.listdir('/dev/fd')))"
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        await (await place.machine.spawn(kit.program(place, report))).wait()
    assert kit.log() == "True True ['0', '1', '2', '3']\n"  # 3 is the listing itself


async def test_a_node_gets_a_clean_environment(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("LC_TIME", "C")
    report = "import os, json; print(json.dumps(dict(os.environ)))"
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        await (await place.machine.spawn(kit.program(place, report, WORD="a\nb"))).wait()
    env = json.loads(kit.log())
    assert env["PATH"] == os.environ["PATH"] and env["LC_TIME"] == "C" and env["WORD"] == "a\nb"
    assert "HTTP_PROXY" not in env


async def test_ignored_signals_are_not_inherited(kit: Any) -> None:
    """A harness in the background of a script has SIGINT ignored: a node stopped by SIGINT must not have."""
    report = "import signal; print(signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with kit.deploy("v") as deployment:
            place = deployment.placements["v"]
            await (await place.machine.spawn(kit.program(place, report))).wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert kit.log() == "<built-in function default_int_handler> set()\n"


ODD = ["-rf", "a b", "it's", 'quo"te', "new\nline", "ünïcödé ☃", "$(id)", "..", ".", "a/b", "%2F", "\udcff"]


async def test_odd_names_in_paths_arguments_and_environment(kit: Any) -> None:
    report = "import os, sys, json; print(json.dumps([os.getcwd(), sys.argv[1:], os.environ['ODD']]))"
    async with kit.deploy(*ODD) as deployment:
        assert len({place.directory for place in deployment.placements.values()}) == len(ODD)
        for number, (name, place) in enumerate(deployment.placements.items()):
            argv = (sys.executable, "-I", "-S", "-X", "utf8", "-c", report, *ODD)
            log = kit.folder / f"log {number}"
            service = await place.machine.spawn(ServiceSpec(name, argv, place.directory, log, {"ODD": name}))
            assert (await service.wait()).code == 0
            assert json.loads(log.read_text()) == [str(place.directory), ODD, name]
            assert Path(place.directory).parent == kit.folder / "nodes"


@pytest.mark.parametrize(
    "argv, cwd, words",
    [
        (("/nowhere/binary",), "/", "No such file"),
        (("sleep", "1"), "/nowhere", "/nowhere"),
        (("/",), "/", "Permission denied"),
        (("sleep", "a\0b"), "/", "null byte"),
    ],
)
async def test_what_cannot_be_started_says_why(kit: Any, argv: tuple[str, ...], cwd: str, words: str) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        with pytest.raises(InfrastructureError, match=f"^node-x cannot be started: .*{words}"):
            await place.machine.spawn(ServiceSpec("node-x", argv, type(place.directory)(cwd), kit.folder / "log"))
        assert (await place.machine.run(["true"])).returncode == 0


async def test_two_hundred_at_once(kit: Any) -> None:
    services = []

    async def start(number: int) -> None:
        spec = ServiceSpec(f"n{number}", ("sleep", "1000"), place.directory, kit.folder / "logs" / f"{number}.log")
        services.append(await place.machine.spawn(spec))

    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(start, number)
        assert len({service.pid for service in services}) == 200
        assert {await service.state() for service in services} == {"running"}
        for service in services[:100]:
            await service.signal(signal.SIGTERM)
        assert {(await service.wait()).signal for service in services[:100]} == {signal.SIGTERM}
    assert {service.exit.signal for service in services[100:]} == {signal.SIGKILL}
    assert not [service.pid for service in services if kit.is_alive(service.pid)]


async def test_a_spawn_that_is_cancelled_leaves_nothing(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        with anyio.CancelScope() as scope:
            scope.cancel()
            await place.machine.spawn(kit.program(place, SLEEP))
    for line in (kit.folder / "processes.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert not kit.is_alive(entry.get("pid") or entry["agent"])


async def test_when_the_supervisor_is_killed_its_services_end_and_say_so(kit: Any) -> None:
    async with kit.deploy("v", links=[Link("v", "v")], relay="on") as deployment:
        place = deployment.placements["v"]
        plain = await place.machine.spawn(ServiceSpec("p", ("sleep", "1000"), place.directory, kit.folder / "p"))
        service = await place.machine.spawn(kit.program(place, ESCAPE))
        await kit.eventually(lambda: bool(pids(kit, "escaped")), "it has forked")
        supervisor = json.loads((kit.folder / "processes.jsonl").read_text().splitlines()[0])["agent"]
        os.kill(supervisor, signal.SIGKILL)
        with anyio.fail_after(2):
            for ended in (plain, service):
                how = await ended.wait()
                assert (how.code, how.signal) == (None, None) and isinstance(how, Exit)
        assert not [pid for pid in (plain.pid, service.pid, *pids(kit, "escaped")) if kit.is_alive(pid)]
        await service.signal(signal.SIGTERM)  # nothing happens
        with pytest.raises(InfrastructureError, match=r"agent has ended \(SIGKILL\)"):
            await place.machine.spawn(kit.program(place, SLEEP))
        with pytest.raises(InfrastructureError, match="agent has ended"):
            await place.machine.run(["true"])
        with pytest.raises(InfrastructureError, match="links are not as they were to be"):
            await deployment.shape_links({Flow("v", "v"): CUT})


async def test_a_supervisor_that_stands_still_holds_nobody_up(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        service = await place.machine.spawn(kit.program(place, SLEEP))
        monkeypatch.setattr(place.machine.client, "_answer_within", 0.5)  # only now: what came before may be slow
        monkeypatch.setattr("harness_agent.transport.PATIENCE", 0.5)
        os.kill(json.loads((kit.folder / "processes.jsonl").read_text().splitlines()[0])["agent"], signal.SIGSTOP)
        await service.signal(signal.SIGTERM)  # unanswered: the supervisor is ended, and what it held with it
        with anyio.fail_after(2):
            how = await service.wait()
        assert (how.code, how.signal) == (None, None)
        assert not kit.is_alive(service.pid)
