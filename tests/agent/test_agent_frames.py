"""Frames, the bundle and the command line: pure."""

from __future__ import annotations

import ast
import json
import marshal
import shlex
import struct
import subprocess
import sys
import zlib
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness_agent.remote
from harness.api import UsageError
from harness_agent import bundle, command_line
from harness_agent.erasure import erased, type_names
from harness_agent.remote import boot, notation, prctl
from harness_agent.remote.frames import LONGEST, MAGIC, BrokenStream, Decoder, encode

headers = st.dictionaries(st.text(), st.text(st.characters(codec=None)) | st.integers() | st.lists(st.text()))


@given(st.lists(st.tuples(headers, st.binary())), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames: list[Any], piece: int) -> None:
    stream = b"".join(encode(header, body) for header, body in frames)
    decoder = Decoder()
    found = [frame for i in range(0, len(stream), piece) for frame in decoder.feed(stream[i : i + piece])]
    assert found == frames
    assert decoder.rest() == b""


def test_what_is_no_frame_is_refused_before_its_bytes_are_waited_for() -> None:
    with pytest.raises(BrokenStream):
        list(Decoder().feed(struct.pack(">II", LONGEST + 1, 0)))


def test_file_names_that_are_no_text_travel() -> None:
    assert list(Decoder().feed(encode({"path": "\udcff"}))) == [({"path": "\udcff"}, b"")]


def test_the_same_modules_are_the_same_program() -> None:
    assert boot.program({"b": "2", "a": "1"}, b"", {}) == boot.program({"a": "1", "b": "2"}, b"", {})
    bundle.program.cache_clear()
    first = bundle.program()
    bundle.program.cache_clear()
    assert bundle.program() == first


def test_the_program_is_kept_with_byte_code_while_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def program() -> bytes:
        bundle.program.cache_clear()
        return bundle.program()

    first = program()
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert kept.read_bytes().endswith(first)
    with monkeypatch.context() as no_longer_made:
        no_longer_made.delattr(bundle, "_made")
        assert program() == first
    kept.write_bytes(kept.read_bytes()[1:])  # another version's
    assert program() == first and kept.read_bytes().endswith(first)
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")  # a disk's mistake
    assert program() == first and kept.read_bytes().endswith(first)
    monkeypatch.setattr(sys, "pycache_prefix", "/proc/self")  # nobody can write there
    assert program() == first
    bundle.program.cache_clear()


def test_the_command_line_is_one_constant_line() -> None:
    line = command_line()
    assert line.isprintable() and line.count("'") == 2 and line.startswith("exec python3 -I -S ")
    assert shlex.split(line)[1:] == boot.argv("python3", boot.ATTACHED)
    assert command_line("/opt/python3.12/bin/python3").startswith("exec /opt/python3.12/bin/python3 -I")


@pytest.mark.parametrize("python", ["", "a b", "$(id)", "-c", "py;id", "/x'y", "a\nb", "~root/python", "é"])
def test_what_is_no_interpreter_reaches_no_shell(python: str) -> None:
    with pytest.raises(UsageError):
        command_line(python)


def remote_modules() -> list[Path]:
    return sorted(Path(harness_agent.remote.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", remote_modules(), ids=lambda path: path.stem)
def test_the_remote_program_is_python_3_8_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    allowed = sys.stdlib_module_names - {"asyncio", "pathlib", "tempfile", "urllib"}  # slow to load
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {name.name.partition(".")[0] for name in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").partition(".")[0] in allowed


def programs() -> dict[str, ast.Module]:
    return erased({path.stem: path.read_text() for path in remote_modules()})


@pytest.mark.parametrize("name", [path.stem for path in remote_modules()])
def test_what_is_sent_is_python_3_8_without_types_and_texts(name: str) -> None:
    tree = programs()[name]
    ast.parse(ast.unparse(tree), feature_version=(3, 8))
    types = type_names({path.stem: ast.parse(path.read_text()) for path in remote_modules()})[name]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not used & types, "types are used at run time, but are not sent"
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.FunctionDef) and (node.returns or ast.get_docstring(node)))


def test_what_is_erased_keeps_its_meaning_and_its_lines() -> None:
    source = '''"""Text."""
from __future__ import annotations
from typing import TYPE_CHECKING, Callable, NamedTuple
if TYPE_CHECKING:
    from nowhere import Thing
else:
    Thing = int
Call = Callable[[], int]
class Pair(NamedTuple):
    """Text."""
    left: int
    right: Call = len
class Empty(Exception):
    """Text."""
def make(left: int, *, right: Call) -> Pair:
    """Text."""
    both: Pair = Pair(left, right)
    later: int
    return both
'''
    tree = erased({"module": source})["module"]
    names: dict[str, Any] = {}
    exec(compile(tree, "module", "exec", dont_inherit=True), names)
    assert names["make"](1, right=max) == (1, max) and names["Pair"](2) == (2, len)
    assert names["Thing"] is int and names["Empty"].__doc__ is None and not {"Call", "Callable"} & names.keys()
    assert names["make"].__code__.co_firstlineno == 15 and not names["make"].__annotations__


def test_an_agent_loads_little_to_begin_with() -> None:
    python, *rest = boot.argv(sys.executable, boot.ATTACHED)
    argv = (python, "-X", "importtime", *rest)
    done = subprocess.run(argv, input=bundle.program(), capture_output=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert {"agent.main", "agent.agent", "os"} <= loaded
    slow = {"typing", "enum", "re", "json", "collections", "functools", "contextlib", "subprocess", "socket", "ctypes"}
    assert not loaded & slow
    assert not loaded & {"agent.keeper", "agent.services", "agent.become", "agent.ledger"}


def test_what_serves_commands_is_in_the_first_part_of_the_program() -> None:
    loader, _, modules = zlib.decompress(bundle.program()).partition(b"\0")
    magic, first, *others = marshal.loads(modules)
    assert magic == MAGIC_NUMBER and len(first) < sum(map(len, others)) / 2
    alone = boot.packed(loader + b"\0" + marshal.dumps((magic, first), 2))
    requests = [
        {"id": 1, "do": "put", "path": "/dev/null/none", "mode": 0o600},
        {"id": 2, "do": "run", "argv": ["true"], "timeout": 60},
    ]
    agent = subprocess.Popen(boot.argv(sys.executable, boot.ATTACHED), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with agent:
        assert agent.stdin is not None and agent.stdout is not None
        agent.stdin.write(alone + b"".join(map(encode, requests)))
        agent.stdin.flush()
        decoder, heard = Decoder(), list[Any]()
        assert agent.stdout.read(len(MAGIC)) == MAGIC
        while not any("returncode" in header for header, _ in heard):
            said = agent.stdout.read1()  # type: ignore[attr-defined]
            assert said
            heard += decoder.feed(said)
        agent.stdin.close()
    assert agent.returncode == 0 and {"returncode": 0}.items() <= heard[-1][0].items()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no prctl elsewhere")
def test_prctl_is_the_same_however_it_is_called() -> None:
    for make in (prctl._c, prctl._python):
        assert make()(3, 0, 0, 0, 0) in (0, 1)  # PR_GET_DUMPABLE
        assert make()(-1, 0, 0, 0, 0) == -1


@pytest.mark.parametrize("magic", [MAGIC_NUMBER, b"none"])
def test_a_program_runs_compiled_where_that_is_understood_and_from_its_source_elsewhere(magic: bytes) -> None:
    sources = {"agent": "", "agent.main": "def main(*_): print('source')"}
    code = compile(sources["agent.main"].replace("source", "compiled"), "agent.main", "exec")
    program = boot.packed(boot.program(sources, magic, {"agent.main": marshal.dumps(code)}))
    argv = boot.argv(sys.executable, boot.ATTACHED)
    said = subprocess.run(argv, input=program, capture_output=True, check=True).stdout
    assert said == (b"compiled\n" if magic == MAGIC_NUMBER else b"source\n")


@given(headers)
def test_its_json_is_json(header: Any) -> None:
    assert notation.loads(notation.dumps(header)) == header == json.loads(notation.dumps(header))


@pytest.mark.parametrize("text", ["", "{", "{} ", "{}{}", "nul", "[1,]", '{"a":}'])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        notation.loads(text)
