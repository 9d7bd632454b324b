"""Journals that are full of hostile text, whatever it is and wherever it stands: every face shows it as data."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import re
import shlex
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.cli.data_stream import DataStream
from harness.cli.faces.plain import PlainFace
from harness.cli.main import group as cli
from harness.errors import HarnessError
from harness.record.codec import encode
from harness.record.events import (
    BlockObserved,
    CommandRan,
    Event,
    ExpectationJudged,
    FaultStaged,
    FeedChanged,
    NodeChanged,
    Note,
    PhaseEnded,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    TaskRan,
    ViolationSeen,
    WorkloadProgress,
)
from harness.record.junit import write_junit
from harness.record.reduce import reduce_all
from harness.record.render import console_for, render_summary
from harness.record.result import write_result
from harness.record.rundir import RunDirectory
from harness.record.summary import summarize
from harness.record.text import one_line
from harness.spec.file_names import file_name
from harness.spec.variables import parse_extras

NASTY = st.sampled_from(
    ["\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\x", "\x9b31m", "\x90q\x9c", "\r", "\n", "\t", "\b",
     "\x7f", "\x00", "\u202e", "\u2028", "\u2066", "\ufeff", "\ud800", "\uffff", "[red]x[/red]", "[/]", "[link=http://x]y[/link]",
     "[@click=app.quit]z[/]", ":boom:", "</testcase>", "]]>", "<!--", "<script>alert(1)</script>", "&amp;", "&#27;[2J",
     "'", '"', "\\", "\\x1b", "$(touch pwned)", "`touch pwned`", "; touch pwned", "-rf", "--", "../../pwned", "/", ".",
     "%2e", "{{ 7*7 }}", "%s", "{0}", "\n  +1.0s  drive done", "\nPASS  all hold", "\U0001f600", "e\u0301"]
)  # fmt: skip
TEXT = st.lists(NASTY | st.text(st.characters(), max_size=4), min_size=1, max_size=4).map("".join)
NAME = TEXT.filter(lambda text: 0 < len(text.encode(errors="surrogatepass")) < 60)  # a file can be called so
JSON = st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2), max_size=3)
RUN_ID = "2026-01-31T12-00-00-hostile-7f3a"
SGR = re.compile(r"\x1b\[[0-9;]*m")
"""A change of colour: the only sequence that we ourselves send to a terminal."""
MOMENT = re.compile(r"^ *\+\d[\d,]*\.\ds  .")


@dataclass(frozen=True)
class Texts:
    """What stands in a run, wherever text can stand."""

    run: str
    node: str
    host: str
    component: str
    message: str
    evidence: dict[str, Any]

    def timeline(self) -> list[Event]:
        """A run in which everything happens to the one node, and nothing goes well."""
        node, host, component, message, evidence = self.node, self.host, self.component, self.message, self.evidence
        fault = (component, component, (node, host))
        return [
            RunStarted(RUN_ID, self.run, 1, message, component, component, 1.0, 1.0, 1, message,
                       {node: {"role": component, "machine": host}}, (component,), (component,), evidence,
                       ("harness", "run", message)),
            PhaseStarted("deploy"), TaskRan(host, component, True, message, 1.0),
            TaskRan(host, component, False, "", 1.0, message), PhaseStarted(component, 1.0),
            PhaseEnded(component, False, 1.0, message),
            CommandRan(host, (message, component), None, 1.0, host, message), PhaseEnded("prepare", True, 1.0),
            PhaseEnded("deploy", False, 1.0, message),
            NodeChanged(node, "running", 1, message), FeedChanged(node, True),
            BlockObserved(node, 1, message, message, 0.0),
            FeedChanged(node, False, message), WorkloadProgress(component, evidence | {message: 1}),
            FaultStaged(*fault, "injected", component, evidence), FaultStaged(*fault, "proven", component, evidence),
            FaultStaged(*fault, "not-applied", component, evidence, message), FaultStaged(*fault, "healed", component),
            Note(component, "warning", message, evidence), Note(component, message, message, evidence),
            NodeChanged(node, "exited", 1, message, False), ViolationSeen(component, message, evidence),
            ExpectationJudged(component, "fail", message, message, evidence, message),
            ExpectationJudged(message, "unknown", component, host, evidence, node),
            PhaseStarted("teardown"), PhaseEnded("teardown", False, 1.0, message),
            RunFinished("fail", 1, component, message, 1.0),
        ]  # fmt: skip

    def recorded(self) -> list[Recorded]:
        return [Recorded(i, 1e9 + i, float(i * 3), event) for i, event in enumerate(self.timeline(), 1)]


TEXTS = st.builds(Texts, NAME, NAME, NAME, NAME, TEXT, JSON)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # examples say what is wrong unshrunk; shrinking takes minutes
hostile = settings(max_examples=25, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Screen(io.TextIOWrapper):
    """A terminal that takes bytes too."""

    def __init__(self) -> None:
        self.taken = io.BytesIO()
        super().__init__(self.taken, encoding="utf-8", errors="replace")

    def isatty(self) -> bool:
        return True


def is_inert(text: str) -> bool:
    """Nothing in it moves a cursor, colours, reverses, or is no character: a terminal shows it, and does nothing."""
    return all(char.isprintable() or char in "\n\u00a0\u202f" for char in text)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty current folder; whatever is in it afterwards is looked at by whoever asked for it."""
    with tempfile.TemporaryDirectory() as text, contextlib.chdir(text):
        yield Path(text).resolve()


def run_directory(root: Path, texts: Texts, log: bytes = b"") -> RunDirectory:
    """As a run leaves it."""
    directory = RunDirectory(root / "runs" / RUN_ID)
    directory.logs.mkdir(parents=True)
    directory.journal.write_bytes(b"".join(map(encode, texts.recorded())))
    directory.log(texts.node).write_bytes(log)
    return directory


def shown_by(*arguments: str) -> str:
    """What a command writes into pipes, before it ends with an error perhaps."""
    done = CliRunner().invoke(cli, arguments, prog_name="harness")
    if done.exception is not None and not isinstance(done.exception, HarnessError):
        raise done.exception
    return done.output


@hostile
@given(TEXTS)
def test_progress_has_a_line_for_each_event_and_nothing_forges_one(texts: Texts) -> None:
    recorded = texts.recorded()
    for stream in (io.StringIO(), Terminal()):
        out = type(stream)()
        face = PlainFace(out, stream)
        for one in recorded:
            face(one)
        face.finish()
        told = SGR.sub("", stream.getvalue())
        assert is_inert(told) and is_inert(SGR.sub("", out.getvalue()))
        assert SGR.search(stream.getvalue()) is None or stream.isatty()
        lines = told.splitlines()
        assert all(map(MOMENT.match, lines)), lines
        assert one_line(texts.message) in told and one_line(texts.host) in told


@hostile
@given(TEXTS, st.sampled_from([None, 30, 59, 80, 200]))
def test_summaries_say_it_and_do_nothing(texts: Texts, width: int | None) -> None:
    with folder() as root:
        directory = run_directory(root, texts)
        summary = summarize(reduce_all(texts.recorded()), directory)
        for stream in (io.StringIO(), Terminal()):
            console = console_for(stream)
            if width:
                console.width = width
            render_summary(summary, console)
            render_summary(summary, console, brief=True)
            assert is_inert(SGR.sub("", stream.getvalue()))
        # What is there to be copied into a shell is the words that it was started with, and nothing else.
        assert shlex.split(one_line(summary.again))[:3] == ["harness", "run", one_line(texts.message)]


@hostile
@given(TEXTS)
def test_junit_parses_and_has_every_word(texts: Texts) -> None:
    state = reduce_all(texts.recorded())
    with folder() as root:
        write_junit(root / "junit.xml", state)
        text = (root / "junit.xml").read_text()
        assert is_inert(text.replace("\t", "")) and [path.name for path in root.iterdir()] == ["junit.xml"]
        suite = next(ET.fromstring(text).iter("testsuite"))
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    expected = ["deploy", *map(one_line, state.expectations), "teardown", "run"]
    assert [case.get("name") for case in suite.iter("testcase")] == expected
    assert suite.get("name") == one_line(texts.run)
    assert {len(case) for case in suite.iter("testcase")} == {1}, "each has a problem and nothing else"
    problem = cases[one_line(texts.component)][0] if texts.component != texts.message else None
    assert problem is None or one_line(texts.message) in problem.get("message", "")
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert {one_line(key) for key in texts.evidence} <= properties.keys()


@hostile
@given(TEXTS)
def test_json_gives_back_what_came(texts: Texts) -> None:
    with folder() as root:
        write_result(root / "result.json", reduce_all(texts.recorded()))
        directory = run_directory(root, texts)
        for text in ((root / "result.json").read_text(), shown_by("runs", "show", "--runs", "runs", "--json")):
            assert text.isascii() and is_inert(text)
            content = json.loads(text)
            assert content["reason"] == texts.message
            assert content["run"]["name"] == texts.run
            assert content["run"]["variables"] == texts.evidence
            assert content["nodes"][texts.node]["machine"] == texts.host
            found = {one["id"]: one for one in content["expectations"]}
            assert found[texts.component]["evidence"] == texts.evidence
        assert directory.journal.read_bytes().isascii()


@hostile
@given(TEXTS, st.binary(max_size=60) | TEXT.map(lambda text: text.encode(errors="surrogatepass")))
def test_commands_on_a_run_show_it_and_write_nothing(texts: Texts, log: bytes) -> None:
    with folder() as root:
        directory = run_directory(root, texts, log)
        before = sorted(root.rglob("*"))
        for arguments in (("runs", "show"), ("runs", "list"), ("runs", "list", "--json"), ("logs", "last")):
            told = shown_by(*arguments, "--runs", "runs")
            assert is_inert(told), arguments
        listed = told.splitlines()
        assert len(listed) == 1 and one_line(texts.node) in listed[0], "a node, a line"
        assert f"logs/{file_name(texts.node)}.log" in listed[0]
        assert sorted(root.rglob("*")) == before
        assert directory.log(texts.node).read_bytes() == log


@hostile
@given(NAME, st.binary(max_size=80) | TEXT.map(lambda text: text.encode(errors="surrogatepass")))
def test_output_of_nodes_does_nothing_to_a_terminal_and_comes_whole_through_pipes(label: str, data: bytes) -> None:
    screen = Screen()
    stream = DataStream(screen, label)
    stream.write(data)
    stream.close()
    told = screen.taken.getvalue().decode()
    assert is_inert(told.replace("\t", ""))
    assert all(line.startswith(f"{one_line(label)}: ") for line in told.split("\n")[:-1])
    taken = io.BytesIO()
    pipe = io.TextIOWrapper(taken, encoding="utf-8")
    stream = DataStream(pipe)
    stream.write(data)
    stream.close()
    assert taken.getvalue() == data


@hostile
@given(st.lists(NAME, min_size=1, max_size=3, unique=True), NAME, NAME, TEXT)
def test_inventories_are_listed_as_they_are(hosts: list[str], group: str, name: str, value: str) -> None:
    """As an executable inventory prints it: its names are under nobody's rules."""
    listing = {
        "_meta": {"hostvars": {host: {name: value} for host in hosts}},
        f"g{group}": {"hosts": hosts, "vars": {name: value}},
    }
    with folder() as root:
        program = root / "inventory.sh"
        program.write_text("#!/bin/sh\ncat listing.json\n")
        program.chmod(0o755)
        (root / "listing.json").write_text(json.dumps(listing))
        before = sorted(root.rglob("*"))
        told = shown_by("inventory", "list", "-i", str(program))
        assert is_inert(told)
        assert len(told.splitlines()) == len(hosts), "a host, a line"
        assert is_inert(shown_by("inventory", "list", "-i", str(program), "--json"))
        graph = shown_by("inventory", "graph", "-i", str(program), "--vars")
        assert is_inert(graph)
        for host in hosts:
            told = shown_by("inventory", "host", "-i", str(program), "--", host)
            assert is_inert(told) and len(told.splitlines()) == 1
        assert sorted(root.rglob("*")) == before


def test_what_is_looked_for_would_be_found() -> None:
    assert not is_inert("\x1b[2J") and not is_inert("\x9b") and not is_inert("\u202e") and not is_inert("\r")
    assert not MOMENT.match("PASS  all hold")


@pytest.mark.parametrize("key", [("a", "b"), 1, None])
def test_evidence_of_any_kind_is_in_reports(key: Any, tmp_path: Path) -> None:
    texts = Texts("run", "node", "host", "component", "message", {"table": {key: object()}})
    write_junit(tmp_path / "junit.xml", reduce_all(texts.recorded()))
    assert ET.parse(tmp_path / "junit.xml").getroot() is not None


@pytest.mark.parametrize(
    "value",
    [datetime.date(2026, 1, 31), datetime.time(12, 0), {"a b": [1.5, "é\n", True]}, "2026-01-31", '"\U0001f600"'],
)
def test_a_variable_of_any_kind_is_shown_so_that_it_is_given_again(value: Any) -> None:
    run = RunStarted("id", "n", 1, "0", "c", "d", 1.0, 1.0, 1, "p.toml", {}, (), (), {"v": value})
    summary = summarize(reduce_all([Recorded(1, 1e9, 0.0, run)]))
    words = shlex.split(summary.again)
    assert parse_extras([words[words.index("-e") + 1]]) == {"v": value}
