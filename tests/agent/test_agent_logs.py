"""Logs are followed also where the kernel tells of no changes, as too many programs have asked it to."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness_agent.remote.logs import Watcher
from harness_agent.remote.loop import Loop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.mark.parametrize("lacks", ["nothing", "instances", "watches"])
def test_a_change_is_seen(tmp_path: Path, lacks: str) -> None:
    loop = Loop()
    watcher: Any = Watcher(loop)
    if lacks != "nothing":
        real = watcher._libc
        refused = lambda *_: -1  # noqa: E731
        init = refused if lacks == "instances" else real.inotify_init1
        watcher._libc = SimpleNamespace(inotify_init1=init, inotify_add_watch=refused)
    path = tmp_path / "log"
    seen: list[int] = []

    with path.open("wb", buffering=0) as log:

        def look() -> None:
            size = path.stat().st_size
            if size:
                seen.append(size)
                loop.stop()

        watcher.watch(log.fileno(), look)
        loop.after(0.05, lambda: log.write(b"a line\n") and None)
        loop.after(20.0, loop.stop)  # it fails then
        loop.run()
    if watcher._inotify is not None:
        os.close(watcher._inotify)
    assert seen == [7]
