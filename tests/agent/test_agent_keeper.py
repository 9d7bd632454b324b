"""Keepers: locks, leases, ledgers and services beyond the loss of connections, and beyond their own death."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import InfrastructureError, MachineLost
from harness_agent import AgentClient, KeeperGone, KeeperSpec, LedgerEntry, MachineLocked, Undo, sweep
from harness_agent.remote.keeper import guard_until
from harness_agent.remote.processes import boot_id, look
from harness_agent.remote.runs import Run
from harness_agent.remote.state import Holder, Place, boottime
from harness_agent.remote.users import User

pytestmark = pytest.mark.anyio

COUNT = """
import itertools, time
for number in itertools.count():
    print(number)
    time.sleep(0.02)
"""
ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
SLEEP = "import time; time.sleep(1000)"


def note(path: Path, word: str) -> Undo:
    return Undo(("sh", "-c", f"echo {word} >> '{path}'"))


async def test_a_run_begins_and_ends_and_leaves_nothing(kit: Any) -> None:
    machine = await kit.keep()
    client = machine.client
    assert Path(client.folder).stat().st_mode & 0o777 == 0o700
    assert (await machine.run(["pwd"])).stdout.decode().strip() == str(client.folder)
    service = await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    assert await client.end() == ()
    assert not kit.is_alive(service.pid) and not kit.is_alive(int(kit.log()))
    assert not kit.home.exists() and list(kit.base.iterdir()) == []
    how = await service.wait()
    assert how.signal == signal.SIGKILL


async def test_what_starts_have_left_whose_agents_were_killed_is_removed(kit: Any) -> None:
    kit.home.mkdir(mode=0o700, parents=True)
    abandoned, of_another = kit.home / ".start-0123.program", kit.home / ".start-4567.program"
    for path in (abandoned, of_another):
        path.write_bytes(b"")
    long_ago = path.stat().st_mtime - 3600
    os.utime(abandoned, (long_ago, long_ago))
    machine = await kit.keep()
    assert not abandoned.exists() and of_another.exists()
    of_another.unlink()
    assert await machine.client.end() == ()
    assert not kit.home.exists()


async def test_what_is_in_the_ledger_is_undone_newest_first(kit: Any) -> None:
    machine = await kit.keep()
    undone = kit.folder / "undone"
    first, second, third = (LedgerEntry(word, (note(undone, word), note(undone, word + "!")), word) for word in "abc")
    for entry in (first, second, third):
        await machine.client.ledger_add(entry.entry, entry.undo, entry.what)
    await machine.client.ledger_remove("b")
    assert await machine.client.ledger() == (first, third)
    kit.audited.clear()
    assert await machine.client.end() == ()
    assert undone.read_text().split() == ["c", "c!", "a", "a!"]
    assert [record.argv for record in kit.audited] == [step.argv for step in (*third.undo, *first.undo)]


async def test_the_ledger_is_on_the_disk_when_it_is_said_to_be(kit: Any) -> None:
    machine = await kit.keep()
    await machine.client.ledger_add("x", [Undo(("true", "odd\nword"), become=False)], "what")
    (line,) = (kit.home / "runs" / "run-1" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["undo"] == [{"argv": ["true", "odd\nword"], "become": False}]


async def test_what_cannot_be_undone_is_told_and_tried_again(kit: Any) -> None:
    machine = await kit.keep()
    wanted = kit.folder / "wanted"
    await machine.client.ledger_add("x", [Undo(("cat", str(wanted)))], "a cut")
    (left,) = await machine.client.end()
    assert left.startswith("a cut: not undone: cat ended with status 1: ") and "No such file" in left
    with pytest.raises(InfrastructureError, match="a cut: not undone"):
        await kit.keep("run-2")
    attached = await kit.attach()
    report = await sweep(attached.client, str(kit.base))
    assert report.done == () and "run run-1: a cut: not undone" in report.left[0]
    wanted.touch()
    report = await sweep(attached.client, str(kit.base))
    assert (report.done, report.left) == (("run run-1: undone: a cut", "run run-1: removed its folder"), ())


async def test_a_machine_is_one_runs_at_a_time(kit: Any) -> None:
    await kit.keep("run-1", owner="alice@desk", lease=20)
    with pytest.raises(MachineLocked) as refused:
        await kit.keep("run-2")
    error = refused.value
    assert (error.run_id, error.owner) == ("run-1", "alice@desk") and 0 < error.expires_in <= 20
    assert "in use by run run-1 of alice@desk" in str(error)
    report = await sweep((await kit.attach()).client, str(kit.base))
    assert report.done == report.left == () and "run-1 of alice@desk" in report.alive[0]


async def test_of_many_that_want_a_machine_one_gets_it(kit: Any) -> None:
    got: list[str] = []

    async def want(run: str) -> None:
        try:
            await kit.keep(run)
            got.append(run)
        except InfrastructureError:
            return

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(want, f"run-{number}")
    assert len(got) == 1
    assert json.loads((kit.home / "lock").read_bytes())["run"] == got[0]


async def test_folders_that_are_somebody_elses_are_refused(kit: Any) -> None:
    kit.base.mkdir()
    kit.home.symlink_to(kit.folder)
    with pytest.raises(InfrastructureError, match="not what it should be"):
        await kit.keep()
    kit.home.unlink()
    kit.home.mkdir(mode=0o700)
    kit.home.chmod(0o777)
    with pytest.raises(InfrastructureError, match="nobody else may write"):
        await kit.keep()
    kit.home.rmdir()


@pytest.mark.parametrize("run", ["", "..", "a/b", "-x", "a\nb", "x" * 200])
async def test_what_is_no_name_of_a_run_becomes_no_folder(kit: Any, run: str) -> None:
    with pytest.raises(InfrastructureError, match="cannot be the name of a run"):
        await kit.keep(run)
    assert not kit.home.exists()


async def test_a_lost_connection_is_taken_up_again(kit: Any) -> None:
    machine = await kit.keep()
    client = machine.client
    counting = await machine.spawn(kit.program(COUNT, name="counting"))
    fifo = kit.folder / "fifo"
    os.mkfifo(fifo)
    ending = await machine.spawn(
        kit.program(f"open({str(fifo)!r}).read(); print('last words'); raise SystemExit(4)", name="ending")
    )
    await kit.eventually(lambda: len(kit.log("counting")) > 20, "it counts")
    async with anyio.create_task_group() as tasks:

        async def command() -> None:
            with pytest.raises(MachineLost, match="may have been done or not"):
                await machine.run(["sh", "-c", f"echo $$ > '{kit.folder}/command'; sleep 1000"])

        tasks.start_soon(command)
        await kit.eventually(lambda: (kit.folder / "command").exists(), "the command runs")
        kit.transports[0].kill()
        await client.lost()
        await anyio.to_thread.run_sync(fifo.write_text, "")  # it ends while nobody looks
        await kit.eventually(lambda: not kit.is_alive(ending.pid), "it has ended")
        assert ending.exit is None
        facts: list[object] = []

        async def ask() -> None:
            facts.append(await machine.facts())

        tasks.start_soon(ask)  # waits for the connection
        await anyio.wait_all_tasks_blocked()
        assert facts == []
        await client.reattach(await kit.transport())
    assert len(facts) == 1
    assert (await ending.wait()).code == 4
    await ending.sync_log()
    assert kit.log("ending") == "last words\n"
    assert await counting.state() == "running"
    await counting.signal(signal.SIGTERM)
    await counting.wait()
    await counting.sync_log()
    numbers = kit.log("counting").split()
    assert numbers == [str(number) for number in range(len(numbers))], "nothing twice, nothing left out"
    assert not kit.is_alive(int((kit.folder / "command").read_text()))
    assert await client.end() == ()


async def test_requests_in_flight_are_repeated_and_done_once(kit: Any) -> None:
    machine = await kit.keep()
    client = machine.client
    keeper = kit.keeper()
    os.kill(keeper, signal.SIGSTOP)  # it gets them, and does not answer before the connection is lost
    source = "import os; print(os.getpid(), flush=True); os.kill(os.getpid(), 19); open('/dev/null').read()"
    async with anyio.create_task_group() as tasks:
        spawned: list[Any] = []

        async def spawn() -> None:
            spawned.append(await machine.spawn(kit.program(source)))

        tasks.start_soon(spawn)
        tasks.start_soon(client.ledger_add, "x", [note(kit.folder / "undone", "x")])
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.1)
        kit.transports[0].kill()
        await client.lost()
        os.kill(keeper, signal.SIGCONT)
        await client.reattach(await kit.transport())
    assert kit.held() == ["n"]
    assert [entry.entry for entry in await client.ledger()] == ["x"]
    assert spawned[0].pid > 0
    await client.end()
    assert (kit.folder / "undone").read_text() == "x\n"


async def test_requests_that_wait_for_a_connection_end_when_there_will_be_none(kit: Any) -> None:
    machine = await kit.keep(lease=2)
    service = await machine.spawn(kit.program(SLEEP))
    kit.transports[0].kill()
    await machine.client.lost()
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(MachineLost, match="given up"):
                await machine.facts()

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        machine.client.abandon("given up")
    assert (await service.wait()).signal is None
    with pytest.raises(MachineLost, match="given up"):
        await service.sync_log()


async def test_a_big_file_survives_a_lost_connection(kit: Any) -> None:
    machine = await kit.keep()
    content = os.urandom(8_000_000)
    path = PurePosixPath(kit.folder / "file")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(machine.put, content, path)
        await kit.eventually(lambda: list(kit.folder.glob(".put-*")) != [], "it has begun")
        kit.transports[0].kill()
        await machine.client.lost()
        await machine.client.reattach(await kit.transport())
    assert Path(path).read_bytes() == content


async def test_what_a_killed_keeper_held_is_ended_and_undone_at_once(kit: Any) -> None:
    machine = await kit.keep()
    undone = kit.folder / "undone"
    await machine.client.ledger_add("x", [note(undone, "x")])
    service = await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    os.kill(kit.keeper(), signal.SIGKILL)
    await kit.eventually(lambda: not kit.home.exists(), "its guardian has cleared it away", patience=10)
    assert undone.read_text() == "x\n"
    assert not kit.is_alive(service.pid) and not kit.is_alive(int(kit.log()))
    await machine.client.lost()
    with pytest.raises(KeeperGone):
        await machine.client.reattach(await kit.transport())
    assert (await service.wait()).signal is None
    with pytest.raises(MachineLost):
        await machine.facts()


def kill_with_its_guardian(kit: Any) -> None:
    """The guardian is who has the run's other processes' memory: the same program, in a session of its own."""
    keeper = kit.keeper()
    line = Path(f"/proc/{keeper}/cmdline").read_bytes()
    lock = kit.home / "lock"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == keeper:
            continue
        try:
            if (entry / "cmdline").read_bytes() == line and os.getsid(int(entry.name)) != os.getsid(keeper):
                environ = (entry / "environ").read_bytes()
                if environ == Path(f"/proc/{keeper}/environ").read_bytes() and _listens_to(entry, keeper):
                    os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert lock.exists()
    os.kill(keeper, signal.SIGKILL)


def _listens_to(entry: Path, keeper: int) -> bool:
    """Whether it has an end of a pipe of which the keeper has the other."""

    def pipes(folder: Path) -> set[str]:
        found = {str(fd.readlink()) for fd in (folder / "fd").iterdir()}
        return {name for name in found if name.startswith("pipe:")}

    return bool(pipes(entry) & pipes(Path(f"/proc/{keeper}")))


async def test_what_is_left_when_all_were_killed_is_swept(kit: Any) -> None:
    machine = await kit.keep()
    undone = kit.folder / "undone"
    await machine.client.ledger_add("x", [note(undone, "x")], "a cut")
    await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        kill_with_its_guardian(kit)
        await machine.client.lost()
        assert kit.is_alive(int(kit.log())) and not undone.exists()
        report = await sweep((await kit.attach()).client, str(kit.base))
        assert "run run-1: undone: a cut" in report.done and report.left == report.alive == ()
        assert not kit.is_alive(int(kit.log())) and undone.exists() and not kit.home.exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert (await sweep((await kit.attach()).client, str(kit.base))).done == ()


async def test_the_next_run_clears_away_what_the_last_one_left(kit: Any) -> None:
    machine = await kit.keep()
    undone = kit.folder / "undone"
    await machine.client.ledger_add("x", [note(undone, "x")])
    await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    kill_with_its_guardian(kit)
    await machine.client.lost()
    await kit.keep("run-2")
    assert undone.read_text() == "x\n" and not kit.is_alive(int(kit.log()))
    assert [path.name for path in (kit.home / "runs").iterdir()] == ["run-2"]


async def test_a_run_is_swept_by_name_though_it_lives(kit: Any) -> None:
    machine = await kit.keep()
    service = await machine.spawn(kit.program(SLEEP))
    attached = await kit.attach()
    report = await sweep(attached.client, str(kit.base), "run-2")
    assert report.done == () and len(report.alive) == 1 and kit.is_alive(service.pid)
    report = await sweep(attached.client, str(kit.base), "run-1")
    assert "killed its keeper" in report.done[0] and report.left == ()
    assert not kit.is_alive(service.pid) and not kit.home.exists()


async def test_ports_are_free_and_no_other_runs(kit: Any) -> None:
    machine = await kit.keep()
    first = await machine.client.ports(20)
    spec = KeeperSpec("run-2", "me@here", 30, str(kit.folder / "other"), "child")
    other = await AgentClient.keep(await kit.transport(), "here", spec)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        low, high = first[0], first[0] + 200
        assert not set(await other.ports(2, low, high)) & set(first)
        with pytest.raises(InfrastructureError, match="here: 1 ports are needed, only 0 are free"):
            await other.ports(1, port, port)
        with pytest.raises(InfrastructureError, match="only 0 are free"):
            await other.ports(1, low, low)
        assert await machine.client.end() == ()
        assert await other.ports(1, low, low) == (low,)
    await other.end()
    await other.aclose()


def test_a_guardian_waits_for_who_dies_slowly(tmp_path: Path) -> None:
    """The kernel closes a dead keeper's files one by one: the pipe to its guardian may go before the lock does."""
    place = Place.of(str(tmp_path), os.geteuid(), os.getegid())
    Run.make(place, "run-1", {"user": "", "env": {}, "mechanism": "child"}, User())
    hold = "import fcntl, sys; lock = open(sys.argv[1]); fcntl.flock(lock, 2); print(flush=True); sys.stdin.read()"
    Path(place.lock).touch()
    keeper = subprocess.Popen([sys.executable, "-c", hold, place.lock], stdin=-1, stdout=-1, text=True)
    assert keeper.stdout is not None and keeper.stdout.readline() == "\n"
    process = look(keeper.pid)
    assert process is not None
    holder = Holder("run-1", "me@here", 0.0, process.pid, process.start, boot_id(), boottime() + 30)
    Path(place.lock).write_text(json.dumps(vars(holder)))
    listening, telling = os.pipe()
    os.close(telling)
    guardian = threading.Thread(target=guard_until, args=(place, "run-1", listening, process))
    guardian.start()
    guardian.join(0.2)
    assert guardian.is_alive() and place.runs() == ["run-1"]
    keeper.communicate("")
    guardian.join(30)
    assert not Path(place.home).exists()


@pytest.mark.parametrize("then", [0.0, 0.02, 0.05, 0.1])
async def test_a_keeper_whose_agent_died_while_it_was_starting_does_not_stay(kit: Any, then: float) -> None:
    """Nobody has heard of it, so it has no lease yet: it must not wait for somebody to tell."""
    transport = await kit.transport()
    spec = KeeperSpec("run-1", "me@here", 2.0, str(kit.base), "child")
    begun = kit.home / ".start-*.program"

    async def keep() -> None:
        with contextlib.suppress(InfrastructureError):
            await AgentClient.keep(transport, "here", spec)

    def keepers() -> list[str]:
        found = subprocess.run(["pgrep", "-f", 'fd,mode=0,"keeper"'], capture_output=True, text=True)
        return [pid for pid in found.stdout.split() if str(kit.base) in _files_of(pid)]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        await kit.eventually(lambda: list(kit.home.glob(begun.name)), "a keeper is being started")
        await anyio.sleep(then)  # the moment itself
        os.kill(transport.pid, signal.SIGKILL)
    await kit.eventually(lambda: not keepers(), "no keeper is there", patience=20.0)
    await kit.eventually(lambda: not kit.home.exists(), "nothing is left of it", patience=20.0)


def _files_of(pid: str) -> str:
    """What it has open."""
    try:
        return " ".join(str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return ""
