"""Hosts as machines without a run, over a real sshd, and what hostile names do to them: nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.api import (
    Access,
    Adoption,
    CommandRecord,
    CommandTimeout,
    HostSpec,
    InfrastructureError,
    Machine,
    MachineLost,
    SourceRef,
    UsageError,
)
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@asynccontextmanager
async def connected(sshd: Any, access: Access | None = None, **variables: Any) -> AsyncIterator[Machine]:
    host = HostSpec("node01", sshd.variables(**variables))
    async with SshDeployer(SshConfig()).connect([host], access or Access()) as machines:
        yield machines["node01"]


async def test_nothing_is_connected_before_it_is_used(sshd: Any, free_port: int) -> None:
    async with connected(sshd, ansible_port=free_port) as machine:
        with pytest.raises(MachineLost, match=f"refuses connections to port {free_port}"):
            await machine.run(["true"])


async def test_commands_files_and_facts(sshd: Any, tmp_path: Path) -> None:
    seen: list[CommandRecord] = []
    async with connected(sshd, Access(audit=seen.append)) as machine:
        done = await machine.run(["sh", "-c", "cat; echo wrong >&2; exit 3"], input=b"in\0put")
        assert (done.returncode, done.stdout, done.stderr) == (3, b"in\0put", b"wrong\n")
        assert (seen[0].machine, seen[0].argv[0], seen[0].returncode) == ("node01", "sh", 3)
        content = os.urandom(3_000_000)
        path = PurePosixPath(tmp_path / "far" / "file")
        await machine.put(content, path, 0o755)
        assert Path(path).stat().st_mode & 0o777 == 0o755
        assert await machine.get(path) == content
        await machine.fetch(path, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content
        await machine.remove(path.parent)
        with pytest.raises(FileNotFoundError):
            await machine.get(path)
        assert (await machine.facts()).system == "Linux"
        with pytest.raises(CommandTimeout):
            await machine.run(["sleep", "1000"], timeout=0.3)
        with pytest.raises(InfrastructureError, match="no-such-program"):
            await machine.run(["no-such-program"])


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
HOSTILE = st.sampled_from(
    ["$(touch pwned)", "`touch pwned`", "; touch pwned", "a\ntouch pwned", "-rf", "--", "'", '"', "\\", "[red]x[/red]",
     "<script>", "{{ 7*7 }}", "%s", "é\u202e\U0001f600", " ", "*", "~root", "$HOME", "a|b>c", "\x1b[31m"]
)  # fmt: skip
ANY = TEXT | HOSTILE | st.builds("{}{}".format, HOSTILE, TEXT)
NAMES = ANY.filter(lambda name: name not in ("", ".", "..") and "/" not in name and len(name.encode()) < 200)


async def test_whatever_it_is_called_it_stays_what_it_is(sshd: Any, tmp_path: Path) -> None:
    """Arguments, environment, input, paths: no byte of them is anything but itself on the other side."""
    root = tmp_path / "far"
    root.mkdir()
    async with connected(sshd) as machine:

        async def check(words: list[str], value: str, name: str) -> None:
            script = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
            done = await machine.run([machine.python, "-c", script, *words])
            assert done.stdout == b"\0".join(word.encode() for word in words)
            done = await machine.run(["printenv", "VALUE"], env={"VALUE": value}, cwd=PurePosixPath(root))
            assert done.stdout == value.encode() + b"\n"
            path = PurePosixPath(root) / name / name
            await machine.put(value.encode(), path)
            assert [entry.name for entry in root.iterdir()] == [name]
            assert await machine.get(path) == value.encode()
            await machine.remove(path.parent)
            assert list(root.iterdir()) == []

        portal = anyio.from_thread.BlockingPortal()
        async with portal:

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.lists(ANY, max_size=4), ANY, NAMES)
            def property_holds(words: list[str], value: str, name: str) -> None:
                portal.call(check, words, value, name)

            await anyio.to_thread.run_sync(property_holds)
        assert not (Path.home() / "pwned").exists()


async def test_nobody_becomes_root_who_was_to_be_somebody_else(sshd: Any) -> None:
    host = HostSpec("node01", sshd.variables(ansible_become=True, ansible_become_user="postgres"))
    async with SshDeployer(SshConfig()).connect([host], Access()) as machines:
        with pytest.raises(UsageError, match="one can only become root there, not postgres"):
            await machines["node01"].run(["id"], become=True)


@pytest.mark.parametrize("name", ["-oProxyCommand=touch pwned", "a b", "$(touch pwned)", "x\ny", "[red]x", ""])
async def test_hostile_host_names_reach_no_shell(
    sshd: Any, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variables in ({"ansible_host": name}, {"ansible_user": name}):
        host = HostSpec(name or "empty", sshd.variables(**variables))
        (report,) = await SshDeployer(SshConfig()).inspect(
            [_planned(host)],
            None,
            Access(),  # type: ignore[arg-type]
        )
        if name:
            assert report.problems
    assert list(tmp_path.rglob("pwned")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own, of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_too_full_is_seen_where_runs_would_fill_it(sshd: Any, small_disk: Path) -> None:
    host = HostSpec("node01", sshd.variables())
    deployer = SshDeployer(SshConfig(state=str(small_disk / "not" / "there" / "yet")))
    async with deployer.connect([host], Access()) as machines:
        assert (await machines["node01"].facts()).free_disk_bytes == 16 << 20
    (report,) = await deployer.inspect([_planned(host)], None, Access())  # type: ignore[arg-type]
    assert len(report.problems) == 1
    assert report.problems[0].startswith(
        f"16 MiB of disk are free in {small_disk}/not/there/yet, and a run needs 256 MiB at least; make room there"
    )
    (small_disk / "filler").write_bytes(bytes(16 << 20))
    (report,) = await deployer.inspect([_planned(host)], None, Access())  # type: ignore[arg-type]
    assert report.problems[0].startswith("0 MiB of disk are free")
    adopted = replace(_planned(host), adoption=Adoption({}, unit="x.service"))
    (report,) = await deployer.inspect([adopted], None, Access())  # type: ignore[arg-type]
    assert report.problems == (), "nothing is brought to nodes that run already"
    assert not (small_disk / "not").exists()


def _planned(host: HostSpec) -> Any:
    from harness.api import NodeSpec, PlannedNode

    return PlannedNode(NodeSpec("a", "validator", 0, 0), host, ("p2p", "api"), "p2p")


async def test_cancelling_kills_what_was_run(sshd: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with connected(sshd) as machine:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(machine.run, ["sh", "-c", f"echo $$ > {pid_file}; sleep 1000"])
            with anyio.fail_after(10):
                while not (pid_file.exists() and pid_file.read_text()):
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert not Path(f"/proc/{pid_file.read_text().strip()}").exists()
        assert (await machine.run(["echo", "alive"])).stdout == b"alive\n"


async def test_a_lost_connection_is_made_again_for_the_next_command(sshd: Any) -> None:
    async with connected(sshd) as machine:
        async with anyio.create_task_group() as tasks:

            async def lost() -> None:
                with pytest.raises(MachineLost):
                    await machine.run(["sleep", "1000"])

            tasks.start_soon(lost)
            await machine.run(["true"])
            sshd.cut()
        assert (await machine.run(["echo", "back"])).stdout == b"back\n"


async def test_no_python_is_said_in_a_sentence(sshd: Any) -> None:
    async with connected(sshd, ansible_python_interpreter="/usr/bin/no-such-python") as machine:
        with pytest.raises(MachineLost, match="no Python 3 where one was looked for.*install python3"):
            await machine.run(["true"])


async def test_inspection_tells_each_hosts_problems(sshd: Any, make_sshd: Any, free_port: int) -> None:
    hosts = [
        HostSpec("good", sshd.variables()),
        HostSpec("silent", sshd.variables(ansible_port=free_port)),
        HostSpec("stranger", sshd.variables(ansible_user="nobody-knows-me")),
        HostSpec("wrong", sshd.variables(ansible_port="many"), {"ansible_port": SourceRef("lab.toml", 7, 16)}),
        HostSpec("local", sshd.variables(ansible_connection="local")),
        HostSpec("someone", sshd.variables(ansible_become=True, ansible_become_user="postgres")),
    ]
    nodes = [_planned(host) for host in hosts] * 2
    reports = await SshDeployer(SshConfig()).inspect(nodes, None, Access())  # type: ignore[arg-type]
    problems = {report.host: "; ".join(report.problems) for report in reports}
    assert sorted(problems) == sorted(host.name for host in hosts)
    assert problems["good"] == ""
    assert "refuses connections" in problems["silent"]
    assert "does not let us in" in problems["stranger"]
    assert problems["wrong"].startswith("lab.toml:7:16: ansible_port: ")
    assert "not ssh" in problems["local"]
    assert "not postgres" in problems["someone"]
    good = next(report for report in reports if report.host == "good")
    assert good.facts is not None and good.facts.free_disk_bytes > 0
    assert sum("Accepted" in line for line in (sshd.folder / "log").read_text().splitlines()) == 1
