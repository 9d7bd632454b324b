"""Run directories: where everything that is recorded of one run lies, and how to find a run again."""

from __future__ import annotations

import json
import os
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import UsageError
from harness.record.owner import Owner
from harness.record.regular import NotRegularError, open_regular
from harness.spec.file_names import file_name

_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-[a-z0-9-]+-[0-9a-f]{4}")
_STAMP_LENGTH = len("2026-01-31T12-00-00")
_MAX_SLUG = 48
_LISTED = 12


def slug(name: str) -> str:
    """Letters, digits and single hyphens of any name; "run" when none of it is left."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only)[:_MAX_SLUG].strip("-") or "run"


def run_id(name: str, now: float) -> str:
    """A new one, for what is called `name` and begins at `now` (Unix seconds): that time in UTC, the name, four random
    digits."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H-%M-%S")
    return f"{stamp}-{slug(name)}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's directory. Its name is the run's id."""

    path: Path

    @classmethod
    def create(cls, root: Path, name: str, now: float) -> RunDirectory:
        """Make a new one under `root` for the playbook called `name`, controlled by this process.

        `now` in Unix seconds. Raises OSError when it cannot be made."""
        root.mkdir(parents=True, exist_ok=True)
        while True:
            directory = cls(root.absolute() / run_id(name, now))
            try:
                directory.path.mkdir()
            except FileExistsError:
                continue
            break
        write_atomically(directory.controller, json.dumps(asdict(Owner.current())) + "\n")
        directory.logs.mkdir()
        directory.nodes.mkdir()
        return directory

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def shown(self) -> str:
        """Its path as every command finds it from the current folder, whatever folder of runs it looks into."""
        return str(self.path.relative_to(Path.cwd())) if self.path.is_relative_to(Path.cwd()) else str(self.path)

    @property
    def run_toml(self) -> Path:
        return self.path / "run.toml"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.sqlite"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def controller(self) -> Path:
        """Which process runs it: an Owner as JSON."""
        return self.path / "controller.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    def log(self, node: str) -> Path:
        """Where this node's log is kept."""
        return self.logs / f"{file_name(node)}.log"

    def owner(self) -> Owner | None:
        """The process that runs it; None where that was never written, or is no text of ours. Raises OSError where it
        may not be read."""
        try:
            with open_regular(self.controller) as file:
                return Owner.from_json(json.load(file))
        except (FileNotFoundError, NotRegularError, ValueError, KeyError, TypeError):
            return None

    def is_alive(self) -> bool:
        """Whether its controller still runs. One on another host, or whose name may not be read, cannot be looked at:
        it is taken to be alive until its result is written, since nothing of a live run may be cleaned away."""
        try:
            owner = self.owner()
        except OSError:
            return self.result not in _files(self.path)
        if owner is None:
            return False
        return owner.is_alive() if owner.is_local else not self.result.exists()


def _files(folder: Path) -> list[Path]:
    """None where it may not be looked into."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see all of it or nothing, also after a crash. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def is_run(path: Path) -> bool:
    """Whether this is a run's folder, by its name."""
    return bool(_NAME.fullmatch(path.name)) and path.is_dir()


def list_runs(root: Path) -> list[RunDirectory]:
    """All runs under `root`, the oldest first; none where there is no such folder."""
    if not root.is_dir():
        return []
    runs = [RunDirectory(path) for path in root.iterdir() if is_run(path)]
    return sorted(runs, key=lambda run: (run.run_id[:_STAMP_LENGTH], _made_at(run), run.run_id))


def _made_at(run: RunDirectory) -> int:
    """Orders the runs of one second: when the controller's file was written, once, at the start."""
    try:
        return run.controller.stat().st_mtime_ns
    except OSError:  # there is none, or it is in somebody else's folder: the others are to be found all the same
        return 0


def find_run(root: Path, text: str) -> RunDirectory:
    """The run that `text` means: "latest" or "last", a run's directory, its id, or a beginning or part of it that no
    other has.

    Raises UsageError, listing what there is, when that is no run or more than one."""
    path = Path(text)
    if path.name != text and is_run(path):
        return RunDirectory(path.absolute())
    if path.name != text and path.exists():
        raise UsageError(f"{text} is no run's folder; runs are in {root}")
    runs = list_runs(root)
    if not runs:
        raise UsageError(f"there are no runs in {root}")
    if text in ("latest", "last"):
        return runs[-1]
    matches = (
        [run for run in runs if run.run_id == text]
        or [run for run in runs if run.run_id.startswith(text)]
        or [run for run in runs if text in run.run_id]
    )
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{text!r} could be {len(matches)} runs; write more of one of them:\n{_listing(matches)}")
    raise UsageError(f"no run in {root} is called like {text!r}; there are:\n{_listing(runs)}")


def _listing(runs: Sequence[RunDirectory]) -> str:
    lines = [f"  {run.run_id}" for run in reversed(runs[-_LISTED:])]
    if len(runs) > _LISTED:
        lines.append(f"  … and {len(runs) - _LISTED} older")
    return "\n".join(lines)
