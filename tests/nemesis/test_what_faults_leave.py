"""What becomes of a run whose faults are not there, cannot be seen, or do not go: by the command, on real nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode

pytestmark = pytest.mark.real

PLUGIN = '''
from harness.api import Config, Fault, Proof, hookimpl

class OddConfig(Config):
    way: str = "well"

class Odd(Fault[OddConfig]):
    """Goes wrong in the way that it is told to."""
    name = "odd"
    Config = OddConfig
    def downs(self, targets, powers): return frozenset()
    async def inject(self, ctx):
        if self.config.way == "refused": raise OSError("no such thing here")
    async def prove(self, ctx):
        return Proof({"absent": False, "unseen": None}.get(self.config.way, True), {"looked": "hard"})
    async def heal(self, ctx):
        self.healings = getattr(self, "healings", 0) + 1
        if self.config.way == "stuck" and self.healings < 2: raise OSError("stuck")
    async def prove_healed(self, ctx):
        return Proof({"stays": False, "not seen to go": None}.get(self.config.way, True))

@hookimpl
def harness_faults(): return [Odd]
'''

PLAYBOOK = """
duration = "1500ms"
settle = "500ms"
chain = {{ use = "devnet", slot_duration = "100ms" }}
[topology]
validators = 2
[[steps]]
at = "200ms"
fault = "odd"
way = "{way}"
hold = "300ms"
[[expectations]]
use = "nodes-healthy"
"""


@pytest.fixture
def harness(tmp_path: Path) -> Any:
    (tmp_path / "harness.toml").write_text("")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(PLUGIN)

    def run(way: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        (tmp_path / "p.toml").write_text(PLAYBOOK.format(way=way))
        done = subprocess.run(
            [sys.executable, "-m", "harness", "run", "p.toml"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
        [folder] = (tmp_path / "runs").iterdir()
        journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        return done.returncode, json.loads((folder / "result.json").read_text()), journal

    return run


@pytest.mark.parametrize(
    ("way", "code", "told", "stages"),
    [
        ("well", ExitCode.PASS, "holds", ["injected", "proven", "healing", "healed"]),
        ("refused", ExitCode.INFRASTRUCTURE, "was not applied: OSError: no such", ["not-applied", "healing", "healed"]),
        (
            "absent",
            ExitCode.INFRASTRUCTURE,
            "was not applied: seen instead: looked: hard",
            ["injected", "not-applied", "healing", "healed"],
        ),
        ("unseen", ExitCode.UNKNOWN, "faults-proven", ["injected", "unproven", "healing", "healed"]),
        ("stays", ExitCode.INFRASTRUCTURE, "not healed", ["injected", "proven", *2 * ["healing", "not-healed"]]),
        (
            "stuck",
            ExitCode.INFRASTRUCTURE,
            "was not healed: OSError: stuck",
            ["injected", "proven", "healing", "not-healed", "healing", "healed"],
        ),
        ("not seen to go", ExitCode.UNKNOWN, "faults-proven", ["injected", "proven", "healing", "healing-unproven"]),
    ],
)
def test_the_exit_code_tells_the_run_from_the_network(
    harness: Any, way: str, code: ExitCode, told: str, stages: list[str]
) -> None:
    returned, result, journal = harness(way)
    assert returned == code, result
    assert told in result["reason"]
    assert [one["stage"] for one in journal if one["kind"] == "fault-staged"] == ["intended", *stages]
    order = [one["phase"] for one in journal if one["kind"] == "phase-started"]
    assert order[-3:] == ["settle", "evaluate", "teardown"], "it is judged in any case"
    last = max(n for n, one in enumerate(journal) if one["kind"] == "fault-staged")
    assert last < next(n for n, one in enumerate(journal) if one.get("phase") == "settle")
