"""A container as a machine: commands and files, before its node runs, while, and after."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import CommandTimeout, InfrastructureError

pytestmark = [pytest.mark.anyio, pytest.mark.real]

ODD_NAMES = ["a b", "$(touch pwned)", "-rf", "q'u\"o`te", "new\nline", "ünï☃", ".hidden", "a;b&c|d", "x" * 200]


async def test_commands(kit: Any) -> None:
    async with kit.node() as (place, _):
        run = place.machine.run
        done = await run(["sh", "-c", 'printf out; printf err >&2; exit 3; "$@"', "$(id)"])
        assert (done.returncode, done.stdout, done.stderr) == (3, b"out", b"err")
        assert (await run(["printf", "%s|", "$(id)", "a b", "'\"`", "-n", "new\nline"])).stdout == (
            b"$(id)|a b|'\"`|-n|new\nline|"
        )
        assert (await run(["pwd"])).stdout.decode().strip() == str(place.directory)
        assert (await run(["pwd"], cwd=PurePosixPath("/etc"))).stdout == b"/etc\n"
        assert (await run(["sh", "-c", 'printf %s "$X"'], env={"X": "$(id)\n="})).stdout == b"$(id)\n="
        assert (await run(["cat"])).stdout == b""
        assert (await run(["true"])).seconds > 0
        with pytest.raises(InfrastructureError, match="nosuch cannot be started"):
            await run(["nosuch"])
        with pytest.raises(InfrastructureError, match="cannot"):
            await run(["pwd"], cwd=PurePosixPath("/no/such/folder"))
    assert [record.returncode for record in kit.audited][:2] == [3, 0]
    assert kit.audited[0].argv[0] == "sh"
    assert kit.audited[0].machine == "v-0"
    assert kit.audited[-1].returncode is None
    assert "cannot" in kit.audited[-1].error


async def test_input_and_output_of_any_size_flow_at_the_same_time(kit: Any) -> None:
    data = bytes(range(256)) * (16 << 10)
    async with kit.node() as (place, _):
        assert (await place.machine.run(["cat"], input=data)).stdout == data
        ended = await place.machine.run(["sh", "-c", "head -c 5; exec 0<&-; exit 1"], input=data)  # reads no more
        assert (ended.returncode, ended.stdout) == (1, data[:5])


async def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(kit: Any) -> None:
    async with kit.node() as (place, _):
        script = "setsid sleep 4321 & sleep 4321 & echo up; sleep 4321"
        with pytest.raises(CommandTimeout, match="took more than 2 s and was killed"):
            await place.machine.run(["sh", "-c", script], timeout=2)
        assert b"4321" not in await processes(place)
        with pytest.raises(CommandTimeout):
            await place.machine.run(["sh", "-c", "exec >/dev/null 2>&1; sleep 4321"], timeout=2)
        assert b"4321" not in await processes(place)
    assert kit.warned == []


async def processes(place: Any) -> bytes:
    command = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    return bytes((await place.machine.run(["sh", "-c", command])).stdout)


async def test_a_cancelled_command_is_killed_whenever_that_is(kit: Any) -> None:
    async with kit.node() as (place, service):
        for delay in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4):
            with anyio.move_on_after(delay) as scope:
                await place.machine.run(["sh", "-c", "sleep 4321 & sleep 4321"], become=True)
            assert scope.cancelled_caught
            assert b"4321" not in await processes(place)
        assert await service.state() == "running"
    assert kit.warned == []
    cancelled = [record for record in kit.audited if record.error == "cancelled"]
    assert [(record.returncode, record.user) for record in cancelled] == [(None, "root")] * 7


async def test_commands_need_the_container_to_run(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        with pytest.raises(InfrastructureError, match="its container is made with its node"):
            await place.machine.run(["true"])
        service = await place.machine.spawn(kit.spec(place))
        await service.pause()
        with pytest.raises(InfrastructureError, match="does not run, or is paused"):
            await place.machine.run(["true"])
        await service.signal(signal.SIGKILL)
        await service.wait()
        with pytest.raises(InfrastructureError, match="does not run, or is paused"):
            await place.machine.run(["true"])


async def test_a_command_ends_with_its_container(kit: Any) -> None:
    async with kit.node() as (place, service):
        ended = []

        async def command() -> None:
            ended.append(await place.machine.run(["sh", "-c", "echo up >/proc/1/fd/1; sleep 4321"], timeout=50))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(command)
            await kit.eventually(lambda: kit.log().count("up") == 2, "the command runs")
            await service.signal(signal.SIGKILL)
        assert ended[0].returncode == 137


async def test_pauses_among_commands_that_are_being_started_leave_the_engine_in_peace(kit: Any) -> None:
    """A process that joins a freezer of cgroup v1 while that freezes can keep it from ever coming to rest."""
    async with kit.node() as (place, service):
        over = anyio.Event()

        async def commands() -> None:
            while not over.is_set():
                with contextlib.suppress(InfrastructureError):  # it is paused now and then
                    await place.machine.run(["true"], timeout=20)

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(commands)
            for number in range(12):
                with anyio.fail_after(60):
                    await anyio.sleep(0.01 * (number % 7))  # any moment of their starts
                    await service.pause()
                    assert await service.state() == "paused"
                    await service.resume()
            over.set()
        assert await service.state() == "running"


@pytest.mark.parametrize("when", ["before", "running", "paused", "after"])
async def test_files_at_any_time(kit: Any, tmp_path: Path, when: str) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        machine = place.machine
        if when != "before":
            service = await machine.spawn(kit.spec(place))
            if when == "paused":
                await service.pause()
            if when == "after":
                await service.signal(signal.SIGKILL)
                await service.wait()
        paths = [place.directory / "odd" / name / name for name in ODD_NAMES]
        for number, path in enumerate(paths):
            await machine.put(str(number).encode(), path)
            await machine.put(b"now " + str(number).encode(), path, 0o751)
        source = tmp_path / "source"
        source.write_bytes(b"from a file")
        await machine.put(source, PurePosixPath("/srv/else where"))
        with pytest.raises(FileNotFoundError):
            await machine.put(tmp_path / "none", place.directory / "never")
        for number, path in enumerate(paths):
            assert await machine.get(path) == b"now " + str(number).encode()
        await machine.fetch(PurePosixPath("/srv/else where"), tmp_path / "to" / "fetched")
        assert (tmp_path / "to" / "fetched").read_bytes() == b"from a file"
        for missing in (place.directory / "never", place.directory / "odd" / "none"):
            with pytest.raises(FileNotFoundError):
                await machine.get(missing)
            with pytest.raises(FileNotFoundError):
                await machine.fetch(missing, tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()
        with pytest.raises(IsADirectoryError):
            await machine.get(place.directory / "odd")
        await machine.remove(paths[0])
        await machine.remove(paths[1].parent)
        await machine.remove(paths[0])  # nothing happens
        await machine.remove(place.directory / "odd" / "none")
        for gone in paths[:2]:
            with pytest.raises(FileNotFoundError):
                await machine.get(gone)
        if when == "running":
            await service.signal(signal.SIGKILL)
        if when == "paused":
            await service.resume()
            await service.signal(signal.SIGKILL)
        if when != "before":
            await service.wait()
        await machine.spawn(kit.spec(place))
        seen = await machine.run(["sh", "-c", 'cat "$1"; stat -c " %a %u" "$1"', "sh", str(paths[4])])
        assert seen.stdout == b"now 4 751 0\n"
        left = await machine.run(["find", "/", "/harness", "-xdev", "-name", ".put-*", "-o", "-name", "pwned"])
        assert left.stdout == b""
    assert kit.left() == []


async def test_what_is_put_over_a_folder_is_refused_and_links_are_followed_or_replaced(kit: Any) -> None:
    async with kit.node("mkdir folder; ln -s /etc/passwd link; echo up; sleep 1000") as (place, _):
        await kit.logged("up")
        machine, folder = place.machine, place.directory
        with pytest.raises(InfrastructureError, match="is a folder"):
            await machine.put(b"", folder / "folder")
        passwd = await machine.get(folder / "link")
        assert passwd.startswith(b"root:")
        await machine.put(b"mine", folder / "link")
        assert await machine.get(folder / "link") == b"mine"
        assert await machine.get(PurePosixPath("/etc/passwd")) == passwd
        with pytest.raises(OSError, match="no file"):
            await machine.get(PurePosixPath("/dev/null"))


async def test_while_its_node_is_down_files_elsewhere_cannot_be_removed(kit: Any) -> None:
    async with kit.node("true") as (place, service):
        await service.wait()
        with pytest.raises(InfrastructureError, match="can be removed while its node runs only"):
            await place.machine.remove(PurePosixPath("/etc/passwd"))
        assert await place.machine.get(PurePosixPath("/etc/passwd"))


@pytest.mark.parametrize("when", ["before", "running"])
async def test_a_big_file_goes_through_in_pieces(kit: Any, tmp_path: Path, when: str) -> None:
    source = tmp_path / "big"
    chunk = bytes(range(256)) * 4096
    with source.open("wb") as file:
        for number in range(150):
            file.write(number.to_bytes(2, "big") + chunk[2:])
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        if when == "running":
            await place.machine.spawn(kit.spec(place))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await place.machine.put(source, place.directory / "big")
        if when == "before":
            await place.machine.spawn(kit.spec(place))
        await place.machine.fetch(place.directory / "big", tmp_path / "back")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        seen = await place.machine.run(["sha256sum", str(place.directory / "big")])
        assert seen.stdout.decode().split()[0] == digest
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == digest
    assert grown < 40 << 10  # KiB, of a file of 150 MiB


@pytest.mark.parametrize("running", [True, False])
async def test_a_put_that_is_cancelled_changes_nothing(kit: Any, tmp_path: Path, running: bool) -> None:
    source = tmp_path / "big"
    with source.open("wb") as file:
        file.truncate(400 << 20)
    async with kit.node() as (place, service):
        target = place.directory / "file"
        await place.machine.put(b"before", target)
        if not running:
            await service.signal(signal.SIGKILL)
            await service.wait()
        with anyio.move_on_after(0.1) as scope:
            await place.machine.put(source, target)
        assert scope.cancelled_caught
        assert await place.machine.get(target) == b"before"
        with anyio.move_on_after(0.1) as scope:
            await place.machine.put(b"after", target)
        assert await place.machine.get(target) in (b"before", b"after")
        if running:
            assert (await place.machine.run(["find", "/", "/harness", "-xdev", "-name", ".put-*"])).stdout == b""


async def test_facts_are_those_of_the_engines_machine(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        facts = await deployment.placements["v-0"].machine.facts()
        kernel = Path("/proc/sys/kernel/osrelease").read_text().strip()
        assert (facts.system, facts.kernel) == ("Linux", kernel)
        assert facts.cpus > 0
        assert facts.memory_bytes > 1 << 20
