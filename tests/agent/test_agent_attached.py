"""An agent that ends with its connection: commands, files, services."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.api import CommandTimeout, InfrastructureError, MachineLost, ServiceSpec
from harness_agent import AgentClient, AgentMachine, Limits, SubprocessTransport
from harness_agent.remote import boot

pytestmark = pytest.mark.anyio

ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
ODD = [
    "-rf",
    "a b",
    "it's",
    'quo"te',
    "new\nline",
    "ünïcödé ☃",
    "$(id)",
    "a%nb %%",
    "$HOME ${X} $$",
    "b\\n\\",
    "\udcff",
    "",
]


async def test_a_command_says_all_that_there_is_to_know(kit: Any) -> None:
    machine = await kit.attach()
    source = "import sys; d = sys.stdin.read(); sys.stdout.write(d[::-1]); sys.stderr.write('e'); sys.exit(3)"
    done = await machine.run([sys.executable, "-c", source], input=b"abc" * 300_000)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"cba" * 300_000, b"e")
    assert done.argv == (sys.executable, "-c", source) and done.seconds > 0
    assert [(record.machine, record.returncode, record.error) for record in kit.audited] == [("here", 3, "")]


async def test_commands_run_at_the_same_time(kit: Any) -> None:
    machine = await kit.attach()
    fifo = kit.folder / "fifo"
    os.mkfifo(fifo)
    async with anyio.create_task_group() as tasks:  # each waits for the other one
        tasks.start_soon(machine.run, ["cat", str(fifo)])
        tasks.start_soon(machine.run, ["cp", "/dev/null", str(fifo)])


async def test_a_command_killed_by_a_signal_says_so(kit: Any) -> None:
    machine = await kit.attach()
    done = await machine.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert done.returncode == -9


async def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(kit: Any) -> None:
    machine = await kit.attach()
    marker = kit.folder / "escaped"
    source = ESCAPE.replace("print(os.getpid(), flush=True)", f"open({str(marker)!r}, 'w').write(str(os.getpid()))")
    with pytest.raises(CommandTimeout, match=r"here: .* took more than 1 s and was killed"):
        await machine.run([sys.executable, "-c", source], timeout=1)
    assert not kit.is_alive(int(marker.read_text()))
    assert kit.audited[-1].returncode is None and "took more than" in kit.audited[-1].error


async def test_a_cancelled_command_is_gone_when_the_call_returns(kit: Any) -> None:
    machine = await kit.attach()
    pids = kit.folder / "pids"
    script = f"sleep 1000 & echo $$ $! > {pids}; mv {pids} {pids}.there; wait"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(machine.run, ["sh", "-c", script])
        await kit.eventually(Path(f"{pids}.there").exists, "it has begun")
        tasks.cancel_scope.cancel()
    assert [pid for pid in Path(f"{pids}.there").read_text().split() if kit.is_alive(int(pid))] == []
    assert kit.audited[-1].error == "cancelled"
    assert (await machine.run(["true"])).returncode == 0


async def test_what_cannot_be_run_says_why(kit: Any) -> None:
    machine = await kit.attach()
    for argv, words in (
        (["/nowhere"], "No such file"),
        (["/"], "Permission denied"),
        (["a\0b"], "null byte"),
        ([], ""),
    ):
        with pytest.raises(InfrastructureError, match=f"cannot be run: .*{words}"):
            await machine.run(argv)
    with pytest.raises(InfrastructureError, match="nowhere"):
        await machine.run(["true"], cwd=PurePosixPath("/nowhere"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_arguments_and_environment_arrive_as_they_are(tmp_path: Path, words: list[str]) -> None:
    source = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['WORDS']]))"

    async def check() -> None:
        client = await AgentClient.attach(await SubprocessTransport.start(), "here")
        argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", source, *words]
        done = await AgentMachine(client).run(argv, env={"WORDS": "".join(words)})
        assert json.loads(done.stdout) == [words, "".join(words)]
        await client.aclose()

    anyio.run(check)


async def test_files_come_and_go_with_odd_names(kit: Any) -> None:
    machine = await kit.attach()
    for name in ODD[:-1]:
        path = PurePosixPath(kit.folder / "a folder" / name / "file")
        await machine.put(b"\0\xff" + name.encode(errors="surrogateescape"), path, 0o640)
        assert Path(path).stat().st_mode & 0o777 == 0o640
        assert await machine.get(path) == b"\0\xff" + name.encode(errors="surrogateescape")
    await machine.remove(PurePosixPath(kit.folder / "a folder"))
    await machine.remove(PurePosixPath(kit.folder / "a folder"))
    assert not (kit.folder / "a folder").exists()
    with pytest.raises(FileNotFoundError):
        await machine.get(PurePosixPath(kit.folder / "a folder"))
    with pytest.raises(FileNotFoundError):
        await machine.fetch(PurePosixPath(kit.folder / "a folder"), kit.folder / "copy")
    assert not (kit.folder / "copy").exists()
    with pytest.raises(InfrastructureError, match="directory"):
        await machine.get(PurePosixPath(kit.folder))


async def test_big_files(kit: Any) -> None:
    machine = await kit.attach()
    source = kit.folder / "source"
    source.write_bytes(os.urandom(5_000_001))
    there = PurePosixPath(kit.folder / "there")
    await machine.put(source, there, 0o700)
    assert Path(there).read_bytes() == source.read_bytes() and Path(there).stat().st_mode & 0o777 == 0o700
    assert await machine.get(there) == source.read_bytes()
    await machine.fetch(there, kit.folder / "new" / "copy")
    assert (kit.folder / "new" / "copy").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in kit.folder.iterdir()) == ["new", "source", "there"]


async def test_a_big_file_goes_on_where_it_was_left_off_and_not_at_all_when_it_is_there(kit: Any) -> None:
    machine = await kit.attach()
    ask = machine.client.request
    content = os.urandom(3_000_000)
    sha256 = hashlib.sha256(content).hexdigest()
    what = {"path": str(kit.folder / "file"), "upload": "mine"}
    await ask("append", content[:1_500_000], **what, offset=0)
    assert (await ask("have", **what, sha256=sha256)).header["offset"] == 1_500_000
    await ask("append", content[1_000_000:2_000_000], **what, offset=1_000_000)  # half of it was there
    with pytest.raises(InfrastructureError, match="only 2000000 bytes are there"):
        await ask("append", b"x", **what, offset=2_500_000)
    await ask("append", content[2_000_000:], **what, offset=2_000_000)
    for _ in range(2):  # an answer may have been lost
        await ask("finish", **what, sha256=sha256, mode=0o600)
    assert Path(what["path"]).read_bytes() == content
    assert (await ask("have", **what, sha256=sha256)).header["complete"]


async def test_what_arrives_broken_gets_no_name(kit: Any) -> None:
    machine = await kit.attach()
    what = {"path": str(kit.folder / "file"), "upload": "mine"}
    await machine.client.request("append", b"other", **what, offset=0)
    with pytest.raises(InfrastructureError, match="SHA-256"):
        await machine.client.request("finish", **what, sha256="0" * 64, mode=0o644)
    assert list(kit.folder.iterdir()) == []


async def test_what_has_come_of_a_file_goes_with_whoever_sent_it(kit: Any) -> None:
    machine = await kit.attach()
    await machine.client.request("append", b"x", path=str(kit.folder / "file"), upload="mine", offset=0)
    assert len(list(kit.folder.iterdir())) == 1
    with anyio.move_on_after(0.02):
        await machine.put(os.urandom(30_000_000), PurePosixPath(kit.folder / "other"))
    assert [path.name for path in kit.folder.iterdir() if path.name != "other"] == [".put-mine"]
    await machine.client.aclose()
    assert [path.name for path in kit.folder.iterdir() if path.name != "other"] == []


async def test_files_of_proc_are_read_to_their_end(kit: Any) -> None:
    machine = await kit.attach()
    assert await machine.get(PurePosixPath("/proc/sys/kernel/ostype")) == b"Linux\n"


async def test_facts(kit: Any) -> None:
    facts = await (await kit.attach()).facts()
    assert facts.hostname == os.uname().nodename and facts.architecture == os.uname().machine
    assert facts.cpus == len(os.sched_getaffinity(0)) and 0 < facts.free_disk_bytes < shutil.disk_usage("/").total


async def test_a_service_is_logged_here_and_known_to_its_end(kit: Any) -> None:
    machine = await kit.attach()
    source = (
        "import sys; print('out'); print('err', file=sys.stderr); sys.stdin.read(); print('x' * 3_000_000); sys.exit(4)"
    )
    service = await machine.spawn(kit.program(source))
    how = await service.wait()
    assert (how.code, how.signal) == (4, None) and service.exit is how and await service.state() == "gone"
    await service.sync_log()
    assert kit.log() == "out\nerr\n" + "x" * 3_000_000 + "\n"


async def test_a_log_is_synced_to_what_has_been_written(kit: Any) -> None:
    machine = await kit.attach()
    service = await machine.spawn(kit.program("import time; print(1); time.sleep(1000)"))
    await kit.eventually(lambda: kit.log() == "1\n", "it is passed on without being asked for")
    service = await machine.spawn(kit.program("print(2)"))
    await service.wait()
    await service.sync_log()
    assert kit.log() == "1\n2\n", "appended"


async def test_services_are_paused_and_resumed_with_those_that_left_them(kit: Any) -> None:
    machine = await kit.attach()
    service = await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    escaped = int(kit.log())
    states = f"/proc/{escaped}/stat"
    await service.pause()
    assert await service.state() == "paused"
    await kit.eventually(lambda: Path(states).read_text().rpartition(")")[2].split()[0] == "T", "that one stands still")
    await service.resume()
    await kit.eventually(lambda: Path(states).read_text().rpartition(")")[2].split()[0] == "S", "it sleeps")
    assert await service.state() == "running"
    await service.signal(signal.SIGTERM)
    assert (await service.wait()).signal == signal.SIGTERM
    assert not kit.is_alive(escaped)
    await service.signal(signal.SIGTERM)  # nothing happens


async def test_what_cannot_be_started_says_why(kit: Any) -> None:
    machine = await kit.attach()
    spec = ServiceSpec("node-x", ("/nowhere/binary",), PurePosixPath("/"), kit.folder / "log")
    with pytest.raises(InfrastructureError, match="^node-x cannot be started: .*No such file"):
        await machine.spawn(spec)
    with pytest.raises(InfrastructureError, match="limited under systemd only"):
        await machine.spawn(kit.program("pass"), Limits(cpus=1))


async def test_lines_pass_between_a_service_and_its_controller(kit: Any) -> None:
    machine = await kit.attach()
    heard: list[str] = []
    spec = kit.program("import sys\nfor line in sys.stdin: print(line.upper(), end='')\nprint('bye')")
    service = await machine.client.spawn(spec, hear=heard.append)
    await service.tell("hello")
    await kit.eventually(lambda: heard == ["HELLO"], "it was heard")
    await service.signal(signal.SIGTERM)
    await service.wait()
    with pytest.raises(InfrastructureError, match="not there"):
        await service.tell("hello")


async def test_at_the_end_of_the_connection_everything_ends(kit: Any) -> None:
    machine = await kit.attach()
    service = await machine.spawn(kit.program(ESCAPE))
    await kit.eventually(lambda: kit.log().endswith("\n"), "it has forked")
    await machine.client.aclose()
    for pid in (service.pid, int(kit.log()), machine.client.hello.pid):
        await kit.eventually(lambda pid=pid: not kit.is_alive(pid), "it has ended")
    how = await service.wait()
    assert (how.code, how.signal) == (None, None), "nobody is there who saw it"
    for call in (machine.run(["true"]), machine.facts(), service.state()):
        with pytest.raises(MachineLost, match="closed"):
            await call


async def test_a_killed_agent_takes_its_services_with_it_and_is_noticed(kit: Any) -> None:
    machine = await kit.attach()
    service = await machine.spawn(kit.program("import time; time.sleep(1000)"))
    async with anyio.create_task_group() as tasks:

        async def command() -> None:
            with pytest.raises(MachineLost, match="SIGKILL.*may have been done or not"):
                await machine.run(["sleep", "1000"])

        tasks.start_soon(command)
        await anyio.wait_all_tasks_blocked()
        os.kill(machine.client.hello.pid, signal.SIGKILL)
        assert "SIGKILL" in await machine.client.lost()
    assert (await service.wait()).signal is None
    await kit.eventually(lambda: not kit.is_alive(service.pid), "the service has ended")


async def test_an_agent_that_gives_no_sign_of_life_is_let_go(kit: Any) -> None:
    machine = await kit.attach(answer_within=1.0)
    os.kill(machine.client.hello.pid, signal.SIGSTOP)
    try:
        with pytest.raises(MachineLost, match="no answer within 1 s"):
            await machine.facts()
    finally:
        kit.transports[-1].kill()


@pytest.mark.parametrize(
    "argv, words",
    [
        (("/nowhere/python",), "no agent can be started"),
        (("sh", "-c", "echo python3: not found >&2; exit 127"), "status 127.*python3: not found"),
        (("sh", "-c", "echo no shell for you"), "no agent answers, but this: no shell for you"),
        (("sh", "-c", "cat >/dev/null & sleep 1000"), "no agent answers within 1 s"),
    ],
)
async def test_where_there_is_no_agent(argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(MachineLost, match=words):
        transport = await SubprocessTransport.start(argv)
        try:
            await AgentClient.attach(transport, "here", answer_within=1.0)
        finally:
            transport.kill()


async def test_what_a_login_shell_says_first_does_no_harm() -> None:
    line = f"printf 'Welcome\\n\\0harness'; exec {sys.executable} -I -S -X utf8 -c '{boot.argv('', boot.ATTACHED)[-1]}'"
    client = await AgentClient.attach(await SubprocessTransport.start(("sh", "-c", line)), "here")
    assert (await AgentMachine(client).run(["echo", "x"])).stdout == b"x\n"
    await client.aclose()


async def test_what_an_agent_has_inherited_its_commands_have_not(kit: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    python, *rest = boot.argv(sys.executable, boot.ATTACHED)
    line = f"exec 7<{tmp_path}/secret; exec {shlex.join([python, *rest])}"
    client = await AgentClient.attach(await SubprocessTransport.start(("bash", "-c", line)), "here")
    machine = AgentMachine(client)
    open_files = (await machine.run(["sh", "-c", "ls -l /dev/fd/"])).stdout.decode()
    await client.aclose()
    assert "pipe:" in open_files and "secret" not in open_files


async def test_a_command_begins_as_if_python_had_not_been_there(kit: Any) -> None:
    """No signal is ignored or blocked, it leads a session, and it is found by the PATH that it is given."""
    machine = await kit.attach()
    tool = kit.folder / "a-tool"
    tool.write_text("#!/bin/sh\ngrep -E '^Sig(Ign|Blk)' /proc/self/status\nps -o pid=,sid= -p $$\n")
    tool.chmod(0o755)
    path = f"/nowhere:{tool}:{kit.folder}:/usr/bin:/bin"
    said = (await machine.run(["a-tool"], env={"PATH": path})).stdout.decode().split()
    assert [int(mask, 16) & ~kit.OF_THE_C_LIBRARY for mask in (said[1], said[3])] == [0, 0]
    assert said[4] == said[5]


@pytest.mark.parametrize(
    "argv, cwd, words",
    [
        (["no-such-tool"], "/", "No such file or directory: 'no-such-tool'"),
        (["/etc/passwd"], "/", "Permission denied: '/etc/passwd'"),
        (["true"], "/no-such-folder", "No such file or directory: '/no-such-folder'"),
        (["a\0b"], "/", "embedded null byte"),
    ],
)
async def test_why_a_command_cannot_begin(kit: Any, argv: list[str], cwd: str, words: str) -> None:
    machine = await kit.attach()
    with pytest.raises(InfrastructureError, match=words):
        await machine.run(argv, cwd=PurePosixPath(cwd))


async def test_who_was_cancelled_as_the_machine_was_given_up_leaves_no_error_behind(kit: Any) -> None:
    machine = await kit.attach()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    asking = asyncio.create_task(machine.facts())
    await anyio.lowlevel.checkpoint()  # it is asked, and cannot have been answered yet
    asking.cancel()
    machine.client.abandon("its host was given up")
    await asyncio.wait({asking})
    assert asking.cancelled()
    del asking
    gc.collect()
    assert told == []
