"""`run`, `wait-for`, `service` and `package`: done once, told in the machine's own words when they fail."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.api import CommandRecord, CommandTimeout, InfrastructureError, TaskContext, TaskResult

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_a_script_is_run_to_its_end_whatever_in_it_reads_stdin(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    script = f"cat\nread line || true\necho \"$0 $#\" '{{}}' > {tmp_path}/end\n"
    async with machine() as here:
        assert (await task("run", script=script).apply(here, ctx)).changed
    assert (tmp_path / "end").read_text() == "sh 0 {}\n"


async def test_a_script_ends_at_the_first_failure_and_tells_it(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    script = f"echo going wrong >&2\nsh -c 'exit 7'\ntouch {tmp_path}/after\n"
    async with machine() as here:
        with pytest.raises(InfrastructureError) as caught:
            await task("run", script=script).apply(here, ctx)
    assert str(caught.value) == "exit status 7: going wrong"
    assert not (tmp_path / "after").exists()


async def test_neither_scripts_nor_arguments_are_quoted_into_a_shell(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path, commands: list[CommandRecord]
) -> None:
    name = "$(touch pwned) '\"`touch pwned`\n-x"
    async with machine() as here:
        await task("run", argv=["touch", "--", name], chdir=str(tmp_path)).apply(here, ctx)
        await task("run", script=f"echo canary-5512 > {tmp_path}/out").apply(here, ctx)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])
    assert "canary-5512" not in str(commands)


async def test_creates_and_unless_say_that_it_is_done(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    made = tmp_path / "made it"
    count = f"echo x >> {tmp_path}/count"
    creates = task("run", script=f"{count}; touch '{made}'", creates=str(made))
    unless = task("run", script=f"{count}; touch {tmp_path}/u", unless=f"cat; test -e {tmp_path}/u")
    async with machine() as here:
        for one in (creates, unless):
            assert (await one.check(here, ctx)).changed
            assert not (tmp_path / "count").exists()
            assert (await one.apply(here, ctx)).changed
            assert not (await one.check(here, ctx)).changed
            assert not (await one.apply(here, ctx)).changed
            assert (tmp_path / "count").read_text() == "x\n"
            (tmp_path / "count").unlink()


async def test_environment_folder_and_time_are_given(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    async with machine() as here:
        run = task("run", script='echo "$A $PWD" > out', env={"A": "a 'b'"}, chdir=str(tmp_path))
        await run.apply(here, ctx)
        with pytest.raises(CommandTimeout, match="took more than 0.2 s"):
            await task("run", argv=["sleep", "60"], timeout="200ms").apply(here, ctx)
    assert (tmp_path / "out").read_text() == f"a 'b' {tmp_path}\n"


async def test_what_cannot_be_started_is_told(machine: Any, task: Any, ctx: TaskContext) -> None:
    async with machine() as here:
        with pytest.raises(InfrastructureError, match="no-such-program"):
            await task("run", argv=["no-such-program"]).apply(here, ctx)


@pytest.mark.parametrize(
    ("use", "options", "said"),
    [
        ("run", {}, "write one of argv and script"),
        ("run", {"argv": ["x"], "script": "x"}, "write one of argv and script"),
        ("run", {"argv": []}, "must not be empty"),
        ("run", {"argv": ["a\0b"]}, "NUL"),
        ("wait-for", {}, "write one of port and path"),
        ("wait-for", {"port": 0}, "greater than or equal to 1"),
        ("service", {"unit": "x"}, "write state or enabled"),
        ("service", {"unit": "--now", "enabled": True}, "is no name of a systemd unit"),
        ("package", {"names": []}, "must not be empty"),
        ("package", {"names": ["-o=Dir::Etc=/tmp"]}, "is no name of a package"),
        ("package", {"names": ["sl-"]}, "is no name of a package"),
        ("package", {"names": ["a b"]}, "is no name of a package"),
    ],
)
def test_options_are_checked(task: Any, use: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        task(use, **options)


async def test_it_waits_until_a_port_is_open(machine: Any, task: Any, ctx: TaskContext) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        async with machine() as here:
            wait = task("wait-for", port=port, timeout="30s")
            assert (await wait.check(here, ctx)).detail == f"port {port} of 127.0.0.1 is not there now"
            with pytest.raises(
                InfrastructureError, match=f"port {port} .* is not there after 0.3 s: Connection refused"
            ):
                await task("wait-for", port=port, timeout="300ms").apply(here, ctx)
            opener = threading.Timer(0.5, server.listen)
            opener.start()
            assert not (await wait.apply(here, ctx)).changed
            assert (await wait.check(here, ctx)).detail == f"port {port} of 127.0.0.1 is there"
            opener.join()


async def test_it_waits_until_a_path_is_there(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    path = tmp_path / "-n $(x)\n"
    async with machine() as here:
        with pytest.raises(InfrastructureError, match="is not there after 0.2 s$"):
            await task("wait-for", path=str(path), timeout="200ms").apply(here, ctx)
        maker = threading.Timer(0.3, path.touch)
        maker.start()
        began = time.monotonic()
        await task("wait-for", path=str(path), timeout="30s").apply(here, ctx)
        assert time.monotonic() - began < 20
        maker.join()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that programs are looked for in first. Programs in it write their arguments to `calls` there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


SYSTEMCTL = """
cd "$(dirname "$0")"
case $1 in
  show) cat state; exit ;;
  start|restart|reload) sed -i s/ActiveState=.*/ActiveState=active/ state ;;
  stop) sed -i s/ActiveState=.*/ActiveState=inactive/ state ;;
  enable) sed -i s/UnitFileState=.*/UnitFileState=enabled/ state ;;
  disable) sed -i s/UnitFileState=.*/UnitFileState=disabled/ state ;;
  daemon-reload) sed -i s/NeedDaemonReload=.*/NeedDaemonReload=no/ state ;;
esac
echo "$*" >> calls
"""


def unit(
    folder: Path, load: str = "loaded", active: str = "inactive", file: str = "disabled", reload: str = "no"
) -> None:
    program(folder, "systemctl", SYSTEMCTL)
    text = f"LoadState={load}\nActiveState={active}\nUnitFileState={file}\nNeedDaemonReload={reload}\n"
    (folder / "state").write_text(text)


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


async def test_a_service_comes_to_be_as_it_is_asked_for_once(
    machine: Any, task: Any, ctx: TaskContext, path: Path
) -> None:
    unit(path, reload="yes")
    async with machine() as here:
        on = task("service", unit="chrony", state="started", enabled=True)
        assert (await on.check(here, ctx)) == TaskResult(True, "enable, start chrony")
        assert calls(path) == []
        assert (await on.apply(here, ctx)).changed
        assert calls(path) == ["daemon-reload", "enable -- chrony", "start -- chrony"]
        assert await on.apply(here, ctx) == await on.check(here, ctx) == TaskResult(changed=False)
        off = task("service", unit="chrony", state="stopped", enabled=False)
        assert (await off.apply(here, ctx)).changed
        assert calls(path) == ["disable -- chrony", "stop -- chrony"]
        assert not (await off.apply(here, ctx)).changed
        assert calls(path) == []


async def test_restarting_and_reloading_are_changes_each_time(
    machine: Any, task: Any, ctx: TaskContext, path: Path
) -> None:
    unit(path)
    async with machine() as here:
        assert (await task("service", unit="x", state="reloaded").apply(here, ctx)).changed
        assert (await task("service", unit="x", state="reloaded").apply(here, ctx)).changed
        assert (await task("service", unit="x", state="restarted").apply(here, ctx)).changed
    assert calls(path) == ["start -- x", "reload -- x", "restart -- x"]


async def test_a_unit_that_is_not_there_is_an_error_but_not_yet_in_check(
    machine: Any, task: Any, ctx: TaskContext, path: Path
) -> None:
    unit(path, load="not-found", file="")
    async with machine() as here:
        service = task("service", unit="x", state="started")
        assert (await service.check(here, ctx)).detail == "start x, which is not there yet"
        with pytest.raises(InfrastructureError, match="there is no unit x"):
            await service.apply(here, ctx)


APT = 'cd "$(dirname "$0")"; echo "$DEBIAN_FRONTEND: $*" >> calls; for last; do :; done; touch "installed-$last"'
DPKG = """for last; do :; done; [ -e "$(dirname "$0")/installed-$last" ] && printf installed"""


async def test_packages_are_installed_where_they_are_not(machine: Any, task: Any, ctx: TaskContext, path: Path) -> None:
    program(path, "apt-get", APT)
    program(path, "dpkg-query", DPKG)
    (path / "installed-nftables").touch()
    async with machine() as here:
        package = task("package", names=["nftables", "g++"], refresh=True)
        assert await package.check(here, ctx) == TaskResult(True, "install g++")
        assert calls(path) == []
        assert await package.apply(here, ctx) == TaskResult(True, "installed g++")
        update, install = calls(path)
        assert update.startswith("noninteractive: ") and update.endswith(" update")
        assert install.endswith(" install g++")
        assert not (await package.apply(here, ctx)).changed
        assert calls(path) == []
        assert (await task("package", names=["curl"], state="absent").apply(here, ctx)) == TaskResult(changed=False)
        assert (await task("package", names=["g++"], state="absent").apply(here, ctx)).changed
        assert calls(path)[0].endswith(" remove g++")


async def test_what_the_package_manager_says_is_told(machine: Any, task: Any, ctx: TaskContext, path: Path) -> None:
    program(path, "dpkg-query", "exit 1")
    program(path, "apt-get", "echo 'E: Unable to locate package zork' >&2; exit 100")
    async with machine() as here:
        with pytest.raises(InfrastructureError) as caught:
            await task("package", names=["zork"]).apply(here, ctx)
    assert str(caught.value) == "apt-get: exit status 100: E: Unable to locate package zork"
