"""A run in one file."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from harness.record.bundle import bundle
from harness.record.rundir import RunDirectory


def test_a_bundle_has_what_is_recorded_and_nothing_else_and_overwrites_nothing(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "runs", "demo", 1_769_860_800.0)
    directory.journal.write_text("events\n")
    directory.log("validator-0").write_text("said\n")
    (tmp_path / "private").write_text("key")
    (directory.logs / "link.log").symlink_to(tmp_path / "private")
    (directory.nodes / "key").write_text("a node's own")
    first, second = bundle(directory, tmp_path).path, bundle(directory, tmp_path).path
    assert first.name == f"{directory.run_id}.tar.gz" and second.name == f"{directory.run_id}-2.tar.gz"
    with tarfile.open(first) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert names == {"README", "journal.jsonl", "logs/validator-0.log"}
        file = archive.extractfile(f"{directory.run_id}/logs/validator-0.log")
        assert file is not None and file.read() == b"said\n"


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "runs", "demo", 1_769_860_800.0)
    directory.journal.write_text("events\n")
    directory.result.mkdir()
    directory.logs.rmdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/id").write_text("private")
    directory.logs.symlink_to(tmp_path / "keys")
    with tarfile.open(bundle(directory, tmp_path).path) as archive:
        assert {name.partition("/")[2] for name in archive.getnames()} == {"README", "journal.jsonl"}


def test_of_nothing_there_is_no_bundle(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "2026-01-31T12-00-00-gone-7f3a")
    with pytest.raises(OSError, match="nothing was recorded"):
        bundle(directory, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory.create(tmp_path / "runs", "demo", 1_769_860_800.0)
    directory.journal.write_text("events\n")
    directory.log("validator-0").write_text("said\n")
    opened = os.open

    def refuse(path: Path, flags: int, *more: int) -> int:
        if Path(path) == directory.log("validator-0"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *more)

    monkeypatch.setattr("harness.record.bundle.os.open", refuse)
    made = bundle(directory, tmp_path)
    assert made.left_out == ("logs/validator-0.log: Permission denied",)
    with tarfile.open(made.path) as archive:
        assert {name.partition("/")[2] for name in archive.getnames()} == {"README", "journal.jsonl"}
        about = archive.extractfile(f"{directory.run_id}/README")
        assert about is not None and b"logs/validator-0.log: Permission denied" in about.read()
