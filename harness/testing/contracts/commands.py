"""Commands: arguments arrive as they are, what is started ends, and everything is told to the audit."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath

import anyio
import pytest

from harness.errors import CommandTimeout, InfrastructureError, MachineLost
from harness.plugin.contract.machine import Completed
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, Net
from harness.testing.contracts.chain import ODD
from harness.testing.waiting import eventually

ARGUMENTS = (
    ODD,
    "",
    " ",
    "-",
    "--",
    "-n",
    "--help",
    "\n",
    "a\nb\n",
    "'",
    '"',
    "\\",
    "$HOME",
    "*",
    "~",
    "a;b",
    "é☃𝄞",
    "=",
    "%s",
    "x" * 20_000,
)
REPORT = "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"
TREE = """
import os, subprocess, sys, time
code, marker, apart = "import time\\nwhile True: time.sleep(1000)", sys.argv[1], sys.argv[2] == "apart"
subprocess.Popen([sys.executable, "-c", code, marker], start_new_session=apart)
time.sleep(1000)
"""
"""A program that starts another, in a session of its own or not, and hangs with it."""


def python(net: Net, code: str, *arguments: str) -> tuple[str, ...]:
    """The program's argv."""
    return (net.machine.python, "-I", "-S", "-X", "utf8", "-c", code, *arguments)


class CommandsSuite(DeployerSuite):
    async def test_arguments_and_stdin_arrive_as_they_are(self, bench: Bench) -> None:
        async with bench.up() as net:
            done = await net.machine.run(python(net, REPORT, *ARGUMENTS), input=ODD.encode() * 10_000)
            assert done.returncode == 0, done.stderr
            arguments, stdin = json.loads(done.stdout)
            assert arguments == list(ARGUMENTS)
            assert stdin == ODD * 10_000
            assert done.argv == python(net, REPORT, *ARGUMENTS)

    async def test_the_programs_name_is_no_shell_either(self, bench: Bench) -> None:
        """A program in a folder with an odd name, called by its path."""
        async with bench.up() as net:
            program = net.folder / ODD.replace("\n", " ") / "-rf;x"
            await net.machine.put(b'#!/bin/sh\nprintf "%s|" "$0" "$@"\n', program, 0o755)
            done = await net.machine.run((str(program), "$1"))
            assert done.stdout.decode() == f"{program}|$1|"

    async def test_environment_and_folder(self, bench: Bench) -> None:
        code = "import json, os; print(json.dumps([os.environ['ODD'], os.environ.get('PATH'), os.getcwd()]))"
        async with bench.up() as net:
            folder = net.folder / "some where"
            await net.machine.put(b"", folder / "file")
            done = await net.machine.run(python(net, code), env={"ODD": ODD}, cwd=folder)
            value, path, where = json.loads(done.stdout)
            assert (value, where) == (ODD, str(folder))
            assert path, "a command has no PATH"

    @pytest.mark.parametrize("status", [0, 1, 77, 255])
    async def test_exit_statuses_and_streams(self, bench: Bench, status: int) -> None:
        async with bench.up() as net:
            done = await net.machine.run(("sh", "-c", f"printf out; printf err >&2; exit {status}"))
            assert (done.returncode, done.stdout, done.stderr) == (status, b"out", b"err")
            assert 0 < done.seconds < 60

    async def test_much_output_on_both_streams_at_once(self, bench: Bench) -> None:
        """8 MiB each, of every byte there is."""
        code = (
            "import os, threading\n"
            "data = bytes(range(256)) * 4096 * 8\n"
            "def out(number):\n"
            "    rest = data\n"
            "    while rest: rest = rest[os.write(number, rest):]\n"
            "threads = [threading.Thread(target=out, args=(number,)) for number in (1, 2)]\n"
            "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        )
        expected = hashlib.sha256(bytes(range(256)) * 4096 * 8).hexdigest()
        async with bench.up() as net:
            done = await net.machine.run(python(net, code))
            assert [hashlib.sha256(data).hexdigest() for data in (done.stdout, done.stderr)] == [expected, expected]

    async def test_what_cannot_be_started_is_an_error_and_no_exit_status(self, bench: Bench) -> None:
        async with bench.up() as net:
            for argv, cwd in (
                (("/nowhere/program",), None),
                (("harness-no-such-program",), None),
                (("true",), PurePosixPath("/nowhere")),
            ):
                with pytest.raises(InfrastructureError) as raised:
                    await net.machine.run(argv, cwd=cwd)
                assert not isinstance(raised.value, CommandTimeout | MachineLost)
                assert str(raised.value), "it does not say why"
            assert (await net.machine.run(("true",))).returncode == 0

    async def test_many_at_once(self, bench: Bench) -> None:
        results: dict[int, Completed] = {}

        async def one(number: int) -> None:
            results[number] = await net.machine.run(("sh", "-c", 'cat; printf "$1"', "sh", str(number)), input=b"x")

        async with bench.up() as net:
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(one, number)
            assert {number: done.stdout for number, done in results.items()} == {
                number: f"x{number}".encode() for number in range(20)
            }

    @pytest.mark.parametrize("how", ["together", "apart"])
    async def test_what_takes_too_long_is_killed_with_all_that_it_started(self, bench: Bench, how: str) -> None:
        async with bench.up() as net:
            marker = f"{bench.runs[-1].run_id}-tree"
            began = anyio.current_time()
            with pytest.raises(CommandTimeout):
                await net.machine.run(python(net, TREE, marker, how), timeout=1.5)
            assert 1.4 < anyio.current_time() - began < 20
            assert not await net.find(marker)
            assert (await net.node.process_state()) == "running", "the node was killed too"

    async def test_what_was_killed_had_written_is_told(self, bench: Bench) -> None:
        async with bench.up() as net:
            with pytest.raises(CommandTimeout) as raised:
                await net.machine.run(("sh", "-c", "echo out; echo err >&2; exec sleep 100"), timeout=1.5)
            assert (raised.value.stdout, raised.value.stderr) == (b"out\n", b"err\n")

    @pytest.mark.parametrize("how", ["together", "apart"])
    async def test_what_is_cancelled_is_killed_with_all_that_it_started(self, bench: Bench, how: str) -> None:
        async with bench.up() as net:
            marker = f"{bench.runs[-1].run_id}-tree"

            async def both() -> bool:
                return len(await net.find(marker)) == 2

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(net.machine.run, python(net, TREE, marker, how))
                await eventually(both, "the command and its child run")
                tasks.cancel_scope.cancel()
            assert not await net.find(marker)

    async def test_cancelled_at_any_moment_commands_leave_nothing(self, bench: Bench) -> None:
        async with bench.up() as net:
            marker = f"{bench.runs[-1].run_id}-tree"
            for delay in (0.0, 0.002, 0.01, 0.03, 0.1, 0.3):
                with anyio.move_on_after(delay):
                    await net.machine.run(python(net, TREE, marker, "together"))
            assert not await net.find(marker)

    async def test_every_command_is_told_to_the_audit(self, bench: Bench) -> None:
        async with bench.up() as net:
            bench.audit.clear()
            argv = ("sh", "-c", "exit 3", ODD, "")
            await net.machine.run(argv)
            with pytest.raises(CommandTimeout):
                await net.machine.run(("sleep", "100"), timeout=0.5)
            with pytest.raises(InfrastructureError):
                await net.machine.run(("/nowhere/program",))
            with anyio.move_on_after(0.5):
                await net.machine.run(("sleep", "101"))
            told = {record.argv: record for record in bench.audit}
            assert told[argv].returncode == 3 and told[argv].seconds > 0 and told[argv].error == ""
            for failed in (("sleep", "100"), ("/nowhere/program",), ("sleep", "101")):
                assert told[failed].returncode is None and told[failed].error, failed
            assert {record.machine for record in bench.audit} == {net.machine.name}

    async def test_becoming_root_works_or_says_why_not(self, bench: Bench) -> None:
        async with bench.up() as net:
            try:
                done = await net.machine.run(("sh", "-c", 'id -u; printf %s "$ODD"'), become=True, env={"ODD": ODD})
            except MachineLost:
                raise
            except InfrastructureError as error:
                assert str(error)
            else:
                assert done.stdout.decode() == f"0\n{ODD}"
                assert bench.audit[-1].user == "root"

    async def test_facts(self, bench: Bench) -> None:
        async with bench.up() as net:
            facts = await net.machine.facts()
            done = await net.machine.run(("uname", "-srm"))
            assert done.stdout.decode().split() == [facts.system, facts.kernel, facts.architecture]
            assert facts.cpus >= 1 and facts.memory_bytes > 2**24 and facts.free_disk_bytes > 0
            if facts.python:  # a container says nothing of it before it runs
                assert tuple(map(int, facts.python.split(".")[:2])) >= (3, 11)
