"""This host as a machine: commands and files."""

from __future__ import annotations

import json
import os
import random
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import CommandTimeout, InfrastructureError, MachineCapability

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SPAWNER = "import os, time, sys; print(os.fork() and os.getpid(), flush=True); time.sleep(1000)"


async def test_a_command_runs_to_its_end(kit: Any) -> None:
    source = "import sys, os; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write(os.getcwd()); sys.exit(3)"
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        done = await machine.run([machine.python, "-c", source], input=b"hello", cwd=PurePosixPath("/"))
        assert (done.returncode, done.stdout, done.stderr) == (3, b"HELLO", b"/")
        assert done.seconds > 0
        assert (await machine.run(["sh", "-c", "kill -9 $$"])).returncode == -9
        assert (await machine.run(["sh", "-c", 'printf %s "$A"'], env={"A": "$(id)"})).stdout == b"$(id)"


async def test_input_and_output_of_any_size_and_content(kit: Any) -> None:
    content = random.Random(1).randbytes(8 * 1024 * 1024)
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        assert (await machine.run(["cat"], input=content)).stdout == content


async def test_a_command_is_killed_with_all_it_started_at_its_timeout(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        with pytest.raises(CommandTimeout, match=r"took more than 0\.2 s"):
            await machine.run([machine.python, "-c", SPAWNER], timeout=0.2)
        assert not [entry for entry in record(kit) if "pid" in entry and kit.is_alive(entry["pid"])]


async def test_a_cancelled_command_is_killed(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(machine.run, ["sleep", "1000"])
                await kit.eventually(lambda: len(record(kit)) == 2, "it was spawned")
                scope.cancel()
        assert not kit.is_alive(record(kit)[1]["pid"])


async def test_a_daemon_that_a_command_leaves_behind_does_not_stay(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        done = await machine.run(["sh", "-c", "sleep 1000 & echo $!"], timeout=30)
        assert not kit.is_alive(int(done.stdout))


async def test_a_command_that_is_not_there(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        with pytest.raises(InfrastructureError, match="no-such-command cannot be run"):
            await deployment.placements["v"].machine.run(["no-such-command"])


async def test_files_come_and_go(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        machine, path = place.machine, place.directory / "deep" / "er" / "-f ☃\n"
        old_umask = os.umask(0o077)
        try:
            await machine.put(b"one", path, 0o755)
        finally:
            os.umask(old_umask)
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o755
        assert await machine.get(path) == b"one"
        await machine.put(b"two", path)
        assert await machine.get(path) == b"two"
        assert [entry.name for entry in Path(path.parent).iterdir()] == ["-f ☃\n"]
        await machine.remove(path)
        await machine.remove(path)
        with pytest.raises(FileNotFoundError):
            await machine.get(path)
        await machine.remove(place.directory)
        assert not Path(place.directory).exists()


async def test_removing_a_link_to_a_folder_keeps_the_folder(kit: Any) -> None:
    kept = kit.folder / "kept"
    kept.mkdir()
    (kit.folder / "link").symlink_to(kept)
    async with kit.deploy("v") as deployment:
        await deployment.placements["v"].machine.remove(PurePosixPath(kit.folder / "link"))
    assert kept.is_dir() and not (kit.folder / "link").is_symlink()


async def test_a_failed_put_leaves_the_old_file_and_nothing_else(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        await place.machine.put(b"old", place.directory / "f")
        with pytest.raises(FileNotFoundError):
            await place.machine.put(kit.folder / "missing", place.directory / "f")
        assert [entry.name for entry in Path(place.directory).iterdir()] == ["f"]
        assert await place.machine.get(place.directory / "f") == b"old"


async def test_a_big_file_of_the_controller(kit: Any) -> None:
    source = kit.folder / "source"
    source.write_bytes(random.Random(2).randbytes(1024 * 1024) * 64)
    async with kit.deploy("v") as deployment:
        place = deployment.placements["v"]
        await place.machine.put(source, place.directory / "big")
        assert await place.machine.get(place.directory / "big") == source.read_bytes()


async def test_facts_and_capabilities(kit: Any) -> None:
    async with kit.deploy("v") as deployment:
        machine = deployment.placements["v"].machine
        facts = await machine.facts()
        assert facts.cpus >= 1 and facts.memory_bytes > 2**26 and facts.free_disk_bytes > 0
        assert facts.system in ("Linux", "Darwin") and facts.hostname
        assert machine.python == sys.executable and machine.name == "here"
        assert machine.capabilities == {
            MachineCapability.NODE_CONTROL,
            MachineCapability.PAUSE,
            MachineCapability.COMMANDS,
        }


def record(kit: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (kit.folder / "processes.jsonl").read_text().splitlines()]
