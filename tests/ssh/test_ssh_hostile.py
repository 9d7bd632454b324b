"""Hostile names, variables, output and errors on a real sshd, from the inventory to every report: all of it is data."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.record.text import one_line
from harness.spec.template import verbatim
from harness.spec.toml_writer import dumps

pytestmark = pytest.mark.real

NASTY = st.sampled_from(
    ["\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\x9b31m", "\r", "\n", "\t", "\x7f", "\u202e", "\u2028", "\uffff",
     "[red]x[/red]", "[/]", "[link=http://x]y[/link]", "</testcase>", "]]>", "<script>alert(1)</script>", "&#27;[2J",
     "'", '"', "\\", "$(touch pwned)", "`touch pwned`", "; touch pwned #", "\ntouch pwned\n", "'; touch pwned; '",
     "|touch pwned", "-rf", "--", "-oProxyCommand=touch pwned", "../../pwned", "%h", "%s", "{{ 7*7 }}", "{% raw %}",
     "$HOME", "~root", "*", "\nPASS  all hold", "\U0001f600"]
)  # fmt: skip
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
TEXT = st.lists(NASTY | ANY, min_size=1, max_size=4).map("".join).filter(bool)
SGR = re.compile(r"\x1b\[[0-9;]*m")
"""A change of colour: the only sequence that we ourselves send to a terminal."""
SAY = 'printf %s "$1"; printf "%s\\n" "$1" >&2; exit 3'


@dataclass(frozen=True)
class Done:
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return (self.stdout + self.stderr).decode()


class Commands:
    """`harness` in an empty folder, into pipes or on a terminal."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self._out = folder, out
        script = Path(__file__).with_name("commands.py")
        environment = {**os.environ, "TERM": "xterm-256color", "HOME": str(out)}
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=environment
        )

    def __call__(self, *arguments: str) -> Done:
        files = self._out / "stdout", self._out / "stderr"
        for file in files:
            file.write_bytes(b"")
        code = self._ask(arguments, *files)
        return Done(code, *(file.read_bytes() for file in files))

    def on_terminal(self, *arguments: str) -> Done:
        """Both streams on one, as its user sees them; colours, which are ours, are taken off."""
        with _terminal() as (path, taken):
            code = self._ask(arguments, path, path)
        text = bytes(taken).decode().replace("\r\n", "\n")
        return Done(code, SGR.sub("", text).encode(), b"")

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def _ask(self, arguments: tuple[str, ...], stdout: Path, stderr: Path) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        command = {"arguments": arguments, "stdout": str(stdout), "stderr": str(stderr)}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def _terminal() -> Iterator[tuple[Path, bytearray]]:
    """A terminal's path, and all that was written to it, once it is left."""
    master, slave = pty.openpty()
    taken, end = bytearray(), b"\0the end\0"

    def read() -> None:
        while not taken.endswith(end):
            taken.extend(os.read(master, 4096))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield Path(os.ttyname(slave)), taken
    finally:
        os.write(slave, end)
        reader.join()
        del taken[-len(end) :]
        os.close(slave)
        os.close(master)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Commands]:
    folder, out = tmp_path / "cwd", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    commands = Commands(folder, out)
    yield commands
    commands.close()


def is_inert(text: str) -> bool:
    return all(char.isprintable() or char in "\n\u00a0\u202f" for char in text)


def write_inventory(folder: Path, sshd: Any, hosts: list[str], state: Path, **variables: str) -> str:
    """One that prints Ansible's JSON: its names are under nobody's rules."""
    deployer = {"harness_deployer": "ssh", "harness_deployer_config": {"state": str(state)}}
    own = {**sshd.variables(), **deployer, **variables}
    listing = {"_meta": {"hostvars": dict.fromkeys(hosts, own)}, "machines": {"hosts": hosts}}
    (folder / "listing.json").write_text(json.dumps(listing))
    program = folder / "inventory.sh"
    program.write_text("#!/bin/sh\ncat listing.json\n")
    program.chmod(0o755)
    return str(program)


def write_playbook(folder: Path, name: str, prepare: list[dict[str, Any]], **variables: str) -> None:
    playbook = {
        "name": verbatim(name),
        "description": verbatim(name),
        "chain": {"use": "devnet", "slot_duration": "100ms", "security_param": 2},
        "duration": "2s",
        "topology": {"validators": 2},
        "vars": {key: verbatim(value) for key, value in variables.items()},
        "prepare": prepare,
        "expectations": [{"use": "consensus-liveness"}, {"use": "no-forks"}],
    }
    (folder / "playbook.toml").write_text(dumps(playbook))


def test_from_a_hostile_host_through_a_run_into_every_report(sshd: Any, harness: Commands, tmp_path: Path) -> None:
    folder, state, far = harness.folder, tmp_path / "state", tmp_path / "far"

    # No shrinking: each example takes two seconds, and says itself what is wrong with it.
    phases = (Phase.explicit, Phase.generate)

    @settings(max_examples=8, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))
    @given(TEXT, TEXT, TEXT)
    def holds(host: str, value: str, name: str) -> None:
        shutil.rmtree(folder / "runs", ignore_errors=True)
        inventory = write_inventory(folder, sshd, [host], state, of_host=value)
        (folder / "template").write_text("<{{ of_host }}>")
        filled_in = {"use": "template", "src": "template", "dest": str(far)}
        fails = {"use": "run", "name": verbatim(name), "argv": ["sh", "-c", SAY, "sh", "{{ said }}"]}
        write_playbook(folder, name, [filled_in, fails], said=value)
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

        (answer,) = harness("inventory", "ping", "-i", inventory, "--output", "json").stdout.splitlines()
        assert json.loads(answer)["host"] == host and json.loads(answer)["reached"]

        asked = ("exec", "all", "-i", inventory)
        shown = harness.on_terminal(*asked, "--", "sh", "-c", SAY, "sh", value)
        assert shown.code == 1 and is_inert(shown.text.replace("\t", "")), shown
        (answer,) = harness(*asked, "--output", "json", "--", "sh", "-c", SAY, "sh", value).stdout.splitlines()
        told = json.loads(answer)
        assert (told["host"], told["returncode"], told["stdout"], told["stderr"]) == (host, 3, value, value + "\n")

        shown = harness.on_terminal("run", "playbook.toml", "-i", inventory, "--runs", "runs")
        assert shown.code == 3 and is_inert(shown.text), shown
        (run,) = (folder / "runs").iterdir()
        journal = [json.loads(line) for line in (run / "journal.jsonl").read_bytes().splitlines()]
        ran = [event["argv"] for event in journal if event["kind"] == "command-ran"]
        assert ["sh", "-c", SAY, "sh", value] in ran
        assert far.read_bytes() == f"<{value}>".encode()
        _, failed = [event for event in journal if event["kind"] == "task-ran"]
        assert failed["host"] == host and failed["task"] == name
        check_reports(run, failed["error"], name)
        shown = harness.on_terminal("runs", "show", "--runs", "runs")
        assert is_inert(shown.text) and shown.code == 0
        assert is_inert(harness("runs", "show", "--runs", "runs").text)

        # Nothing is written but the run, nothing has been run but what was asked for, nothing stays on the machine.
        assert {path for path in folder.iterdir() if path.is_file()} == set(before)
        assert all(path.read_bytes() == content for path, content in before.items())
        assert {path.name for path in folder.iterdir() if path.is_dir()} == {"runs"}
        assert list(tmp_path.rglob("pwned")) == []
        assert not (Path.home() / "pwned").exists() and not Path("pwned").exists()

    holds()


def check_reports(run: Path, error: str, name: str) -> None:
    result = (run / "result.json").read_text()
    assert result.isascii() and is_inert(result)
    content = json.loads(result)
    assert content["run"]["name"] == name and content["status"] == "infrastructure-failed"
    assert [host["error"] for host in content["prepare"]["hosts"].values()] == [f"{name}: {error}"]
    junit = (run / "junit.xml").read_text()
    assert is_inert(junit)
    suite = next(ET.fromstring(junit).iter("testsuite"))
    assert suite.get("name") == one_line(name)
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases.keys() == {"deploy", "consensus-liveness", "no-forks", "teardown", "run"}
    assert one_line(error) in cases["run"][0].get("message", "")


HOST = "-x\n[red]$(touch pwned)[/red]</a>\x1b[2J'\"\u202e"


def test_a_run_that_passes_on_a_hostile_host(sshd: Any, harness: Commands, tmp_path: Path) -> None:
    folder, state = harness.folder, tmp_path / "state"
    inventory = write_inventory(folder, sshd, [HOST], state)
    write_playbook(folder, HOST, [{"use": "run", "name": HOST, "argv": ["true"]}])
    shown = harness.on_terminal("inventory", "ping", "-i", inventory)
    assert shown.code == 0 and is_inert(shown.text), shown
    assert "\n[red]" not in shown.text, "a name forges no line"
    shown = harness.on_terminal("run", "playbook.toml", "-i", inventory, "--runs", "runs")
    assert shown.code == 0 and is_inert(shown.text), shown.text
    assert one_line(HOST) in shown.text
    (run,) = (folder / "runs").iterdir()
    content = json.loads((run / "result.json").read_text())
    assert {node["machine"] for node in content["nodes"].values()} == {HOST}
    assert ET.parse(run / "junit.xml").getroot() is not None
    for arguments in (("logs", "last"), ("logs", "last", "validators"), ("runs", "show")):
        shown = harness.on_terminal(*arguments, "--runs", "runs")
        assert shown.code == 0 and is_inert(shown.text.replace("\t", "")), arguments
    again = next(line for line in harness("runs", "show", "--runs", "runs").text.splitlines() if "run again" in line)
    assert shlex.split(again)[2:5] == ["harness", "run", "playbook.toml"]
    assert list(tmp_path.rglob("pwned")) == []
