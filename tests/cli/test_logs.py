"""`harness logs`: of runs that are over, and of one that goes on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.clock import SystemClock
from harness.record.events import ClockMeasured, NodePlaced, RunStarted
from harness.record.journal import Journal
from harness.record.logs import Tail
from harness.record.rundir import RunDirectory

Cli = Callable[..., subprocess.CompletedProcess[str]]
NODES = {"v/0": {"role": "validator"}, "v-1": {"role": "validator"}, "e-0": {"role": "executor"}}
PATIENCE = 20.0


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that this process controls, of three nodes, one of which has not been started."""
    run = RunDirectory.create(tmp_path / "cwd" / "runs", "r", time.time())
    journal = Journal(run.journal, SystemClock())
    journal.append(RunStarted(run.run_id, "r", 1, "0", "c", "d", 1, 1, 1, "", NODES, (), ()))
    journal.append(NodePlaced("v/0", "/srv/v 0", ("ssh", "-p", "22", "-o", "ProxyCommand=nc %h %p", "me@host")))
    journal.append(ClockMeasured("host", ("v/0", "e-0"), 2.5, 0.004))
    journal.append(ClockMeasured("other", ("v-1",), -0.001, 0.004))
    journal.close()
    run.log("v/0").write_bytes(b"one\ntwo\x1b[2J\xff\nthree")
    run.log("v-1").write_bytes(b"eins\n")
    return run


def harness(*args: str, cwd: Path) -> bytes:
    return subprocess.run([sys.executable, "-m", "harness", *args], stdout=subprocess.PIPE, cwd=cwd, check=True).stdout


def test_nodes_are_listed_with_sizes(cli: Cli, run: RunDirectory) -> None:
    listed = [line.split() for line in cli("logs", "last").stdout.splitlines()]
    assert [row[:3] for row in listed] == [["v/0", "18", "bytes"], ["v-1", "5", "bytes"], ["e-0", "no", "log"]]


def test_where_nodes_are_is_told_so_that_it_can_be_pasted(cli: Cli, run: RunDirectory) -> None:
    lines = cli("runs", "show", "last", "--nodes").stdout.splitlines()
    assert lines[:5] == [
        "v/0 · validator · created",
        "  reach   ssh -p 22 -o 'ProxyCommand=nc %h %p' me@host",
        "  folder  /srv/v 0",
        "  clock   +2.5s, ±4ms",
        f"  log     harness logs {run.path} v/0",
    ]
    assert "  clock   right, ±4ms" in lines
    told = json.loads(cli("runs", "show", "last", "--json").stdout)["nodes"]["v/0"]
    assert (told["directory"], told["reach"][-1], told["clock_ahead"]) == ("/srv/v 0", "me@host", 2.5)


def test_one_node_comes_byte_by_byte_several_with_their_names(cli: Cli, run: RunDirectory) -> None:
    cwd = run.path.parents[1]
    assert harness("logs", "last", "v/0", cwd=cwd) == b"one\ntwo\x1b[2J\xff\nthree"
    assert harness("logs", run.run_id[:-2], "v/0", "-n", "2", cwd=cwd) == b"two\x1b[2J\xff\nthree"
    both = harness("logs", "last", "validators", cwd=cwd).splitlines(keepends=True)
    assert [line for line in both if line.startswith(b"v/0")] == [
        b"v/0: one\n",
        b"v/0: two\x1b[2J\xff\n",
        b"v/0: three\n",
    ]
    assert [line for line in both if not line.startswith(b"v/0")] == [b"v-1: eins\n"]
    assert harness("logs", "last", "e-0", cwd=cwd) == b""
    done = cli("logs", "last", "w-9")
    assert (done.returncode, "matches no node" in done.stderr) == (4, True)


def test_a_terminal_gets_no_control_characters(run: RunDirectory) -> None:
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-m", "harness", "logs", "last", "v/0"], stdout=theirs, cwd=run.path.parents[1])
    assert os.read(ours, 65536) == b"one\r\ntwo\\x1b[2J\\xff\r\nthree\r\n"
    os.close(theirs)
    os.close(ours)


def test_following_goes_over_restarts_until_the_run_ends(run: RunDirectory) -> None:
    command = [sys.executable, "-m", "harness", "logs", "last", "v-1", "e-0", "-f", "-n", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=run.path.parents[1]) as following:
        assert following.stdout is not None
        first = write_until_read(run, following)
        assert first == "v-1: knock\n"
        with run.log("e-0").open("ab") as log:
            log.write(b"I am new\nhalf")
        assert line_that_is_not(first, following) == "e-0: I am new\n"
        with run.log("e-0").open("ab") as log:  # the node again, after a restart
            log.write(b" a line\nlast words")
        assert following.stdout.readline() == "e-0: half a line\n"
        owner = json.loads(run.controller.read_text())
        run.controller.write_text(json.dumps({**owner, "start": "0"}))
        assert following.stdout.read() == "e-0: last words\n"
    assert following.returncode == 0


def write_until_read(run: RunDirectory, following: subprocess.Popen[str]) -> str:
    """It begins at what is the end when it has started, which nobody knows but by its answering."""
    assert following.stdout is not None
    os.set_blocking(following.stdout.fileno(), False)
    give_up = time.monotonic() + PATIENCE
    line = ""
    while not line:
        assert time.monotonic() < give_up
        with run.log("v-1").open("ab") as log:
            log.write(b"knock\n")
        time.sleep(0.02)
        line = following.stdout.readline()
    os.set_blocking(following.stdout.fileno(), True)
    return line


def line_that_is_not(known: str, following: subprocess.Popen[str]) -> str:
    assert following.stdout is not None
    while (line := following.stdout.readline()) == known:
        pass
    return line


def test_following_ends_when_nobody_reads(run: RunDirectory) -> None:
    """`harness logs … -f | head`: the run goes on, and is written of."""
    command = [sys.executable, "-m", "harness", "logs", "last", "v-1", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=run.path.parents[1]) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"eins\n"
        following.stdout.close()
        give_up = time.monotonic() + PATIENCE
        while following.poll() is None:
            assert time.monotonic() < give_up
            with run.log("v-1").open("ab") as log:
                log.write(b"more\n")
            time.sleep(0.02)
    assert following.returncode == 0


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 99, 100, 101])
def test_the_last_lines_over_blocks(tmp_path: Path, count: int, ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.record.logs._BLOCK", 7)
    lines = [b"x" * (number % 11) + b"\n" for number in range(100)]
    if not ended:
        lines[-1] = b"the end"
    file = tmp_path / "log"
    file.write_bytes(b"".join(lines))
    tail = Tail(file, count)
    read = b"".join(iter(tail.read, b""))
    tail.close()
    assert read == b"".join(lines[len(lines) - min(count, 100) :])
