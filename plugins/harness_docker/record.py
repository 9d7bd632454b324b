"""What the controller writes down of a deployment, in the run's folder, for whoever has to clean up after it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from harness_docker.reaper import LOG

NAME = "docker.json"
SPOOL = "spool"


def write(run_dir: Path, engine: str, id: str, deployment: str) -> None:
    """What is made, and where, before it is made: all that `clean` needs."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / NAME).open("w") as file:
        json.dump({"engine": engine, "id": id, "deployment": deployment}, file)
        file.flush()
        os.fsync(file.fileno())


def read(run_dir: Path) -> dict[str, str] | None:
    path = run_dir / NAME
    if not path.exists():
        return None
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except ValueError:
        return None  # torn: its writer died before it made anything
    return found


def forget(run_dir: Path) -> None:
    """Nothing of it is left on the engine: nor is here what a dead run had held for it."""
    shutil.rmtree(run_dir / SPOOL, ignore_errors=True)
    (run_dir / NAME).unlink(missing_ok=True)
    log = run_dir / LOG
    if log.exists() and log.stat().st_size == 0:
        log.unlink()
