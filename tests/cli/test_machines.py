"""`harness inventory ping`, `exec`, `heal`, `clean`: machines from the command line."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.clock import SystemClock
from harness.record.events import RunStarted
from harness.record.journal import Journal
from harness.record.rundir import RunDirectory
from harness.testing.waiting import wait_until

Cli = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = Path(__file__).with_name("lab_plugin.py")
PATIENCE = 20.0


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A project with machines of every kind."""
    folder = tmp_path / "lab"
    (folder / "plugins").mkdir(parents=True)
    shutil.copy(PLUGIN, folder / "plugins" / "lab.py")
    (folder / "harness.toml").write_text('inventory = "hosts.toml"\nforks = 3\n')
    (folder / "hosts.toml").write_text(
        '[all.vars]\nharness_deployer = "lab"\n'
        '[good.hosts]\n"g[1:4]" = {}\n'
        '[bad.hosts]\nlost = {like = "lost"}\nold = {like = "old"}\nrefused = {like = "refused"}\n'
        'rude = {like = "rude"}\nslow = {like = "slow"}\n'
    )
    return folder


def lines(text: str) -> dict[str, dict[str, object]]:
    """JSON lines by their hosts."""
    return {record["host"]: record for record in map(json.loads, text.splitlines())}


def test_exec_gives_arguments_as_they_are(cli: Cli, lab: Path) -> None:
    done = cli("exec", "g1", "--become", "--output", "json", "--", "a", "", "-b", "$(c)", "--", "d\ne", cwd=lab)
    told = lines(done.stdout)["g1"]
    assert told["stdout"] == repr((("a", "", "-b", "$(c)", "--", "d\ne"), b"", True)) + "\n"
    assert (done.returncode, told["returncode"], told["seconds"]) == (0, 0, 0.25)


def test_exec_sends_scripts_on_stdin(cli: Cli, lab: Path) -> None:
    (lab / "tidy.sh").write_bytes(b"echo\xff $1\n")
    done = cli("exec", "g1", "--script", "tidy.sh", "--output", "json", "--", "-x", cwd=lab)
    expected = repr((("sh", "-s", "--", "-x"), b"echo\xff $1\n", False)) + "\n"
    assert lines(done.stdout)["g1"]["stdout"] == expected


def test_exec_is_as_root_where_the_inventory_says_so(cli: Cli, lab: Path) -> None:
    args = ("exec", "good", "--output", "json", "-e", "ansible_become=true", "--", "id", "-u")
    assert {told["stdout"] for told in lines(cli(*args, cwd=lab).stdout).values()} == {"0\n"}
    assert lines(cli("exec", "g1", "--output", "json", "--", "id", "-u", cwd=lab).stdout)["g1"]["stdout"] == "1000\n"


def test_exec_exit_codes(cli: Cli, lab: Path) -> None:
    """0 all did well, 1 one failed or could not be begun, 3 one was not reached; usage is 4."""
    for pattern, become, code in (
        ("good", "", 0),
        ("good,rude", "", 1),
        ("refused", "--become", 1),
        ("rude,lost", "", 3),
    ):
        args = (pattern, *become.split(), "--output", "json", "--", "x")
        assert cli("exec", *args, cwd=lab).returncode == code, pattern
    for args, words in (
        (("good",), "say what to run"),
        (("nobody", "--", "x"), "nobody"),
        (("good:&bad", "--", "x"), 'no host matches "good:&bad"'),
    ):
        done = cli("exec", *args, cwd=lab)
        assert (done.returncode, words in done.stderr) == (4, True), done.stderr


def test_exec_prefixes_lines_and_leaves_bytes_alone_in_pipes(lab: Path) -> None:
    command = [sys.executable, "-m", "harness", "exec", "g1,lost,rude", "--", "x"]
    done = subprocess.run(command, capture_output=True, cwd=lab)
    assert sorted(done.stdout.splitlines()) == [
        b"g1: (('x',), b'', False)",
        b"rude: [red]\x1b[31m\xff",
        b"rude: \xe2\x80\xae",
    ]
    told = done.stderr.decode().splitlines()
    assert "g1: [b]the link is\\nslow" in told and "rude: no end" in told and "lost: no route to host" in told
    rows = [line.split() for line in told if line.startswith(("g1  ", "lost  ", "rude  "))]
    assert rows == [
        ["g1", "0", "250ms"],
        ["lost", "–", "–", "no", "route", "to", "host"],
        ["rude", "7", "250ms"],
    ]


def test_exec_tells_bytes_that_are_no_text_exactly(cli: Cli, lab: Path) -> None:
    told = lines(cli("exec", "rude", "--output", "json", "--", "x", cwd=lab).stdout)["rude"]
    assert base64.b64decode(str(told["stdout_base64"])) == b"[red]\x1b[31m\xff\n\xe2\x80\xae"
    assert "stderr_base64" not in told


def test_nothing_reaches_a_terminal_as_control(lab: Path) -> None:
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-m", "harness", "exec", "rude", "--", "x"], cwd=lab, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while chunk := read(ours):
        shown += chunk
    os.close(ours)
    assert b"rude: [red]\\x1b[31m\\xff\r\n" in shown and b"rude: \\u202e\r\n" in shown
    assert b"\x1b[31m\\xff" not in shown.replace(b"\\x1b[31m\\xff", b"")


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_forks_bound_what_is_done_at_once(cli: Cli, lab: Path) -> None:
    """The project's, and whoever asks for others."""
    for args, expected in (((), "3 of 3"), (("--forks", "2"), "2 of 2"), (("--forks", "20"), "4 of 20")):
        assert cli("exec", "good", *args, "--", "x", cwd=lab).returncode == 0
        assert (lab / "most").read_text() == expected


def test_timeouts_are_failures_of_commands(cli: Cli, lab: Path) -> None:
    done = cli("exec", "slow", "--timeout", "0.1", "--", "x", cwd=lab)
    assert done.returncode == 1
    assert done.stdout == "slow: so far\n"
    assert "slow: so bad\nslow: x took more than 0.1 s and was killed\n" in done.stderr
    told = lines(cli("exec", "slow", "--timeout", "0.1", "--output", "json", "--", "x", cwd=lab).stdout)["slow"]
    assert told == {
        "host": "slow",
        "reached": True,
        "error": "x took more than 0.1 s and was killed",
        "stdout": "so far\n",
        "stderr": "so bad",
    }


def test_ping_of_machines_of_every_kind(cli: Cli, lab: Path) -> None:
    done = cli("inventory", "ping", "--timeout", "1", "--output", "json", cwd=lab)
    assert done.returncode == 3
    told = lines(done.stdout)
    assert [host for host, seen in told.items() if not seen["reached"]] == ["lost", "slow"]
    assert told["lost"]["error"] == "no route to host"
    assert told["slow"]["error"] == "there was no answer within 1 s"
    for host in ("g1", "old"):
        offset, uncertainty = told[host]["clock"]["seconds"], told[host]["clock"]["uncertainty"]
        assert abs(offset - 100) <= uncertainty < 1
        assert told[host]["latency"] >= 0.01
    assert told["old"]["probe_error"] == "python3: python3: not found"
    assert told["refused"]["abilities"]["root"] == {"there": False, "why": "refused: sudo asks for a password"}
    assert cli("inventory", "ping", "good", cwd=lab).returncode == 0


def test_a_host_of_which_nonsense_is_said_stops_no_other(cli: Cli, lab: Path) -> None:
    with (lab / "hosts.toml").open("a") as hosts:
        hosts.write('[bad.hosts.wrong]\nlike = "wrong"\n')
    why = "hosts.toml:1:1: a: is wrong; hosts.toml:1:1: b: is wrong"
    done = cli("inventory", "ping", "g1,wrong", "--output", "json", cwd=lab)
    told = lines(done.stdout)
    assert (done.returncode, told["g1"]["reached"], told["wrong"]["error"]) == (3, True, why)
    done = cli("exec", "g1,wrong", "--output", "json", "--", "x", cwd=lab)
    told = lines(done.stdout)
    assert (done.returncode, told["g1"]["returncode"], told["wrong"]["error"]) == (3, 0, why)


def test_all_that_is_wrong_with_a_host_is_told_and_the_others_are_dealt_with(cli: Cli, lab: Path) -> None:
    with (lab / "hosts.toml").open("a") as hosts:
        hosts.write('[odd.hosts]\nodd = { ansible_port = "abc", manage = "adpot", endpoints = 5 }\n')
    file = lab / "hosts.toml"
    whole = (
        f'{file}:12:9: ansible_port: must be a port, from 1 to 65535, not "abc"',
        f'{file}:12:31: manage: must be "adopt" or "deploy", not "adpot"; did you mean "adopt"?',
        f"{file}:12:49: endpoints: must be a table, not 5;",
    )
    for words, end in ((("exec",), ("--", "x")), (("inventory", "ping"), ())):
        done = cli(*words, "g1,odd", "--output", "json", *end, cwd=lab)
        told = lines(done.stdout)
        assert (done.returncode, told["g1"]["error"]) == (3, "")
        assert [each for each in whole if each not in str(told["odd"]["error"])] == []
    done = cli("heal", "g1,odd", cwd=lab)
    assert (done.returncode, done.stdout) == (5, "g1: healed\n1 thing undone\n")
    assert [line[: len(each)] for line, each in zip(done.stderr.splitlines(), whole, strict=False)] == [*whole]
    assert done.stderr.endswith("not looked at: odd\n")
    (lab / "p.toml").write_text('chain = { use = "devnet" }\ntopology = { validators = 10 }\nduration = "2s"\n'
                                '[[expectations]]\nuse = "no-forks"\n')  # fmt: skip
    done = cli("run", "p.toml", "--check", cwd=lab)
    assert done.returncode == 4
    assert [line[: len(each)] for line, each in zip(done.stderr.splitlines(), whole, strict=True)] == [*whole]


def test_ping_shows_a_table_of_80_columns(lab: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "harness", "inventory", "ping", "--timeout", "1"]
    subprocess.run(command, cwd=lab, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = b""
    while chunk := read(ours):
        shown += chunk
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "7 of 9 hosts reached" in text and "no route to host" in text
    assert max(map(len, text.splitlines())) <= 80


def test_ping_and_exec_of_this_machine(cli: Cli) -> None:
    """The deployer process, for real: what the machine says of itself is so."""
    done = cli("inventory", "ping", "--output", "json")
    seen = lines(done.stdout)["localhost"]
    assert (done.returncode, seen["probe_error"]) == (0, "")
    assert seen["machine"]["kernel"] == os.uname().release
    assert seen["machine"]["cpus"] == len(os.sched_getaffinity(0))
    assert seen["machine"]["python_path"] == sys.executable
    assert abs(seen["clock"]["seconds"]) <= seen["clock"]["uncertainty"] < 5
    assert seen["abilities"]["systemd"]["there"] is Path("/run/systemd/system").is_dir()
    shown = cli("inventory", "ping").stdout
    for kind in ("nft", "tc", "netem", "htb", "tbf", "systemd"):
        ability = seen["abilities"][kind]
        assert (f" {kind}" in shown.partition("\n1 of 1 host")[0]) and (ability["there"] or ability["why"]), kind
        assert (f"no {kind} on localhost: " in shown) is (ability["there"] is False)
    done = cli("exec", "all", "--", "sh", "-c", 'printf %s "$1" >&2; exit 3', "sh", "a  b")
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (1, "", "localhost: a  b")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_what_was_begun(tmp_path: Path, number: int) -> None:
    script = "(sleep 1000) & echo $! > " + str(tmp_path / "child") + "; echo $$ > " + str(tmp_path / "shell") + "; wait"
    command = [sys.executable, "-m", "harness", "exec", "all", "--", "sh", "-c", script]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "shell").exists() and bool((tmp_path / "shell").read_text()), "it runs")
    pids = [int((tmp_path / name).read_text()) for name in ("child", "shell")]
    running.send_signal(number)
    _, told = running.communicate(timeout=PATIENCE)
    assert (running.returncode, told) == (130, "interrupted; 0 of 1 had ended\n")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_heal_tells_what_it_did_and_what_is_left(cli: Cli, lab: Path) -> None:
    done = cli("heal", "g1,g2", cwd=lab)
    assert (done.returncode, done.stdout) == (0, "g1: healed\ng2: healed\n2 things undone\n")
    done = cli("heal", "g1,g2", "-e", "like=held", cwd=lab)
    assert (done.returncode, done.stdout.count("[b]x\\n of me: left alone\n"), done.stdout.count("\n")) == (0, 2, 2)
    done = cli("heal", cwd=lab)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "harness: lab: the table harness_x is still there\n"


def test_clean_knows_the_options_of_each_run_and_goes_on_after_one_that_fails(cli: Cli, lab: Path) -> None:
    runs = [dead_run(lab / "runs", {}), dead_run(lab / "runs", {"stuck": "a container"}), dead_run(lab / "runs", {})]
    unknown = dead_run(lab / "runs", {"gone": 1})
    done = cli("clean", cwd=lab)
    assert done.returncode == 5
    assert done.stdout.splitlines() == [
        *(f"{run.run_id}: removed nothing of {run.run_id[-4:]}" for run in (runs[0], runs[2])),
        "2 things removed",
    ]
    told = done.stderr.splitlines()
    assert told[0] == f"harness: {runs[1].run_id}: lab: a container is still there"
    assert told[1].startswith(f"harness: {unknown.run_id}: the deployer lab no longer takes the options of that run")


def test_clean_does_not_take_what_holds_no_runs_for_runs_that_left_nothing(cli: Cli, lab: Path) -> None:
    run = dead_run(lab / "runs", {})
    (lab / "file").write_text("")
    for folder, why in (
        ("file", "is a file, no folder"),
        ("nowhere", "there is no such folder"),
        (str(run.path), "is the folder of one run; name the folder that it lies in"),
    ):
        done = cli("clean", "--runs", folder, cwd=lab)
        assert (done.returncode, done.stdout, done.stderr) == (4, "", f"harness: --runs {folder}: {why}\n")
    assert cli("clean", "--runs", "runs", cwd=lab).stdout.endswith("1 thing removed\n")
    shutil.rmtree(lab / "runs")
    assert cli("clean", cwd=lab).returncode == 0, "a project that has run nothing has left nothing behind"


def dead_run(folder: Path, options: dict[str, object]) -> RunDirectory:
    """A run whose controller is no more."""
    run = RunDirectory.create(folder, "r", time.time())
    owner = json.loads(run.controller.read_text())
    run.controller.write_text(json.dumps({**owner, "start": "0"}))
    journal = Journal(run.journal, SystemClock())
    journal.append(
        RunStarted(run.run_id, "r", 1, "0", "devnet", "lab", 1, 1, 1, "", {}, (), (), deployer_options=options)
    )
    journal.close()
    return run


@pytest.mark.parametrize("words", [("exec", "all"), ("inventory", "ping")])
def test_a_deployer_without_machines_of_its_own_is_bad_usage(tmp_path: Path, words: tuple[str, str]) -> None:
    (tmp_path / "i.toml").write_text('[all.hosts.h]\n[all.vars]\nharness_deployer = "docker"\n')
    command = [sys.executable, "-m", "harness", *words, "-i", "i.toml", *(["--", "true"] if words[0] == "exec" else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert done.stderr == "harness: the deployer docker has no machines but those that a run makes\n"
