"""Files: exact bytes under any name, all of them or none."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path, PurePosixPath

import anyio
import pytest

from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, Net
from harness.testing.contracts.chain import ODD

NAMES = (
    ODD,
    "-rf",
    "--",
    "a b",
    "'",
    '"',
    "$(x)",
    "a\nb",
    "\\",
    "é☃𝄞",
    "*",
    "..x",
    "x" * 200,
    ".hidden",
    "%41",
    "a:b",
    "[b]",
)
BIG = 40 * 1024 * 1024


async def listed(net: Net, folder: PurePosixPath) -> list[str]:
    """The names in a folder."""
    code = "import json, os, sys; print(json.dumps(sorted(os.listdir(sys.argv[1]))))"
    done = await net.machine.run((net.machine.python, "-X", "utf8", "-c", code, str(folder)))
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout)
    return names


class FilesSuite(DeployerSuite):
    async def test_names_and_contents(self, bench: Bench) -> None:
        content = bytes(range(256)) * 3
        async with bench.up() as net:
            folder = net.folder / "files"
            for name in NAMES:
                await net.machine.put(content + name.encode(), folder / name / name)
            assert await listed(net, folder) == sorted(NAMES)
            for name in NAMES:
                assert await listed(net, folder / name) == [name]
                assert await net.machine.get(folder / name / name) == content + name.encode()
            await net.machine.put(b"", folder / "empty")
            assert await net.machine.get(folder / "empty") == b""

    async def test_files_before_a_node_runs_and_after(self, bench: Bench) -> None:
        """Machines take files at any time, containers too."""
        async with bench.deploy() as deployment:
            place = next(iter(deployment.placements.values()))
            path = place.directory / "deep" / "before"
            await place.machine.put(b"here", path)
            assert await place.machine.get(path) == b"here"
            await place.machine.remove(path)
            with pytest.raises(FileNotFoundError):
                await place.machine.get(path)
        async with bench.up() as net:
            await net.node.kill()
            await net.machine.put(b"after", net.folder / "after")
            assert await net.machine.get(net.folder / "after") == b"after"
            await net.node.start()
            await net.node.wait_ready(60)
            assert await net.machine.get(net.folder / "after") == b"after", "a restart has lost a file"

    async def test_modes(self, bench: Bench) -> None:
        async with bench.up() as net:
            path = net.folder / "file"
            for mode in (0o644, 0o755, 0o600, 0o444):
                await net.machine.put(b"%o" % mode, path, mode)
                done = await net.machine.run(("stat", "-c", "%a %s", "--", str(path)))
                assert done.stdout.split() == [b"%o" % mode, b"3"]

    async def test_big_files_from_disk_and_back(self, bench: Bench, tmp_path: Path) -> None:
        block = random.Random(7).randbytes(1024 * 1024)
        source, back = tmp_path / "source", tmp_path / "there" / "back"
        back.parent.mkdir()
        with source.open("wb") as file:
            for number in range(BIG // len(block)):
                file.write(number.to_bytes(8) + block[8:])
        expected = hashlib.sha256(source.read_bytes()).hexdigest()
        async with bench.up() as net:
            await net.machine.put(source, net.folder / "big")
            done = await net.machine.run(("sha256sum", str(net.folder / "big")))
            assert done.stdout.split()[0].decode() == expected
            await net.machine.fetch(net.folder / "big", back)
            assert hashlib.sha256(back.read_bytes()).hexdigest() == expected
            assert [path.name for path in back.parent.iterdir()] == ["back"]

    async def test_what_is_not_there(self, bench: Bench, tmp_path: Path) -> None:
        async with bench.up() as net:
            nowhere = net.folder / "no where" / ODD
            with pytest.raises(FileNotFoundError):
                await net.machine.get(nowhere)
            (tmp_path / "old").write_text("old")
            with pytest.raises(FileNotFoundError):
                await net.machine.fetch(nowhere, tmp_path / "old")
            assert (tmp_path / "old").read_text() == "old"
            await net.machine.remove(nowhere)
            await net.machine.remove(nowhere.parent)

    async def test_removing(self, bench: Bench) -> None:
        """A folder with all that is in it, and of a link the link alone."""
        async with bench.up() as net:
            folder, kept = net.folder / ODD, net.folder / "kept"
            await net.machine.put(b"x", folder / "a" / "b" / "-c")
            await net.machine.put(b"x", kept / "file")
            for link, target in ((folder / "link", kept), (net.folder / "second", kept)):
                assert (await net.machine.run(("ln", "-s", "--", str(target), str(link)))).returncode == 0
            await net.machine.remove(folder)
            await net.machine.remove(net.folder / "second")
            names = await listed(net, net.folder)
            assert ODD not in names and "second" not in names
            assert await net.machine.get(kept / "file") == b"x"

    async def test_readers_see_all_of_a_file_or_what_was_there_before(self, bench: Bench) -> None:
        versions = [bytes([number]) * 300_000 for number in range(12)]
        seen: set[bytes] = set()
        async with bench.up() as net:
            path = net.folder / "file"
            await net.machine.put(versions[0], path)

            async def read() -> None:
                while True:
                    seen.add(await net.machine.get(path))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                for version in versions:
                    await net.machine.put(version, path)
                tasks.cancel_scope.cancel()
            assert seen <= set(versions)
            assert await net.machine.get(path) == versions[-1]

    async def test_a_put_that_is_cancelled_leaves_the_old_file_and_nothing_else(self, bench: Bench) -> None:
        new = random.Random(7).randbytes(8 * 1024 * 1024)
        async with bench.up() as net:
            folder = net.folder / "files"
            await net.machine.put(b"old", folder / "file")
            for delay in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2):
                with anyio.move_on_after(delay):
                    await net.machine.put(new, folder / "file")
                assert await net.machine.get(folder / "file") in (b"old", new)
            assert await listed(net, folder) == ["file"]
