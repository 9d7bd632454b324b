"""Scripts of this package, run on a node's machine by its Python."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from harness.api import FaultError, Node


@cache
def source(name: str) -> str:
    """The text of a script."""
    return (Path(__file__).parent / f"{name}.py").read_text()


async def ask(node: Node, script: str, *request: Any, timeout: float = 60.0, become: bool = False) -> Any:
    """What the script answers to this request, in JSON both. Raises FaultError with what it failed with, and
    InfrastructureError where it cannot be run."""
    argv = (node.machine.python, "-I", "-S", "-c", source(script), json.dumps(request))
    done = await node.machine.run(argv, timeout=timeout, become=become)
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise FaultError(f"{node.name}: {why or f'{script} ended with status {done.returncode}'}")
    return json.loads(done.stdout)
