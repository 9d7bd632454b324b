"""Asking a machine by a program of ours that its own Python runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.api import InfrastructureError, Machine, MachineLost

WITHIN = 60.0
"""Seconds that a machine may take: names that nobody knows are asked for many times."""


async def ask(machine: Machine, program: str, question: Mapping[str, Any], what: str) -> dict[str, Any] | str:
    """What this Python program says there as root, asked and answered in JSON; or why one cannot become root there.
    `what` is looked for: for errors. Raises InfrastructureError."""
    try:
        done = await machine.run(
            (machine.python, "-I", "-S", "-X", "utf8", "-c", program),
            input=json.dumps(question).encode(),
            timeout=WITHIN,
            become=True,
        )
    except MachineLost:
        raise
    except InfrastructureError as error:  # one cannot become root there
        return str(error).removeprefix(f"{machine.name}: ")
    if done.returncode != 0:
        raise InfrastructureError(f"{machine.name}: looking for {what}: {done.stderr.decode(errors='replace')[-300:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told
