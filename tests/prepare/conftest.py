"""Tasks on this host as a machine, as the deployer `process` gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.api import Access, CommandRecord, Machine, Task, TaskContext
from harness.plugin.contract.deployer import HostSpec
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness_process.deployer import ProcessConfig, ProcessDeployer

Tree = dict[str, tuple[str, int, bytes]]


@pytest.fixture
def commands() -> list[CommandRecord]:
    """What was run on `machine` so far."""
    return []


@pytest.fixture
def machine(commands: list[CommandRecord]) -> Callable[[], Any]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Machine]:
        host = HostSpec("here", {"ansible_connection": "local"})
        async with ProcessDeployer(ProcessConfig()).connect([host], Access(audit=commands.append)) as machines:
            yield machines["here"]

    return connect


@pytest.fixture
def ctx() -> TaskContext:
    return TaskContext({"inventory_hostname": "here", "color": "red"})


@pytest.fixture
def task() -> Callable[..., Task[Any]]:
    """A task by its name and options, as a playbook in the current folder would have it."""
    registry = Registry()

    def make(use: str, **options: Any) -> Task[Any]:
        cls = registry.get(Kind.TASK, use)
        made: Task[Any] = cls(cls.Config.model_validate(options))
        return made

    return make


@pytest.fixture
def tree() -> Callable[[Path], Tree]:
    """All that there is in a folder: kind, mode, and content or target of each path."""

    def look(root: Path) -> Tree:
        found: Tree = {}
        for path in sorted(root.rglob("*")):
            kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
            content = str(path.readlink()).encode() if kind == "link" else path.read_bytes() if kind == "file" else b""
            found[str(path.relative_to(root))] = (kind, path.lstat().st_mode & 0o7777, content)
        return found

    return look
