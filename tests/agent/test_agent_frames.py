"""Frames, the bundle and the command line: pure."""

from __future__ import annotations

import ast
import shlex
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness_agent.remote
from harness.api import UsageError
from harness_agent import bundle, command_line
from harness_agent.remote import boot
from harness_agent.remote.frames import LONGEST, BrokenStream, Decoder, encode

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
