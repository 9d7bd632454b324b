from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from harness.api import Judgement, Verdict
from harness_probes.command import Command, CommandConfig
from tests.observe.world import World

pytestmark = pytest.mark.anyio


async def judged(world: World, *code: str, argv: list[str] | None = None, **options: Any) -> Judgement:
    argv = argv or [sys.executable, "-S", "-c", *code]
    return await Command(CommandConfig.model_validate({"argv": argv, **options})).evaluate(world)


async def test_the_exit_status_decides(world: World) -> None:
    judgement = await judged(world, "print('all [bold]well[/bold]')")
    assert (judgement.verdict, judgement.measured) == (Verdict.PASS, "controller: exit status 0")
    assert judgement.evidence["controller"]["stdout"] == "all [bold]well[/bold]\n"
    judgement = await judged(world, "import sys; print('x', file=sys.stderr); sys.exit('too few peers')")
    assert (judgement.verdict, judgement.measured) == (Verdict.FAIL, "controller: exit status 1: too few peers")
    assert (await judged(world, "raise SystemExit(2)")).verdict is Verdict.FAIL
    judgement = await judged(world, "import os; os.kill(os.getpid(), 9)")
    assert (judgement.verdict, judgement.measured) == (Verdict.FAIL, "controller: killed by signal 9")


async def test_what_cannot_be_started_or_does_not_end_is_unknown(world: World, tmp_path: Path) -> None:
    assert (await judged(world, argv=["no-such-command-anywhere"])).verdict is Verdict.UNKNOWN
    (tmp_path / "plain").write_text("")
    assert (await judged(world, argv=[str(tmp_path / "plain")])).verdict is Verdict.UNKNOWN
    pid = tmp_path / "pid"
    child = f"open({str(pid)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    judgement = await judged(world, code, timeout="2s")
    assert (judgement.verdict, "did not end within 2 s" in judgement.measured) == (Verdict.UNKNOWN, True)
    with anyio.fail_after(10):  # what it has started is gone as well
        while Path(f"/proc/{pid.read_text()}").exists():
            if Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2] == "Z":
                break
            await anyio.sleep(0.01)


async def test_its_output_may_have_to_match(world: World) -> None:
    assert (await judged(world, "print('peers: 12')", stdout=r"peers: \d{2}")).verdict is Verdict.PASS
    judgement = await judged(world, "print('peers: 3')", stdout=r"peers: \d{2}")
    assert (judgement.verdict, "does not match" in judgement.measured) == (Verdict.FAIL, True)


async def test_a_search_without_end_is_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness_probes.command.SEARCH_WITHIN", 1.0)
    judgement = await judged(world, "print('a' * 60 + '!')", stdout="(a+)+$")
    assert (judgement.verdict, "backtracks" in judgement.measured) == (Verdict.UNKNOWN, True)


async def test_much_output_and_bytes_that_are_no_text(world: World) -> None:
    code = "import sys; b = sys.stdout.buffer; [b.write(b'\\xff' * 65536) for _ in range(64)]"
    judgement = await judged(world, code)
    assert (judgement.verdict, len(judgement.evidence["controller"]["stdout"])) == (Verdict.PASS, 2000)


async def test_its_environment(world: World) -> None:
    code = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('HARNESS_')}))"
    told = json.loads((await judged(world, code)).evidence["controller"]["stdout"])
    assert (told["HARNESS_RUN_ID"], told["HARNESS_RUN_DIR"]) == (world.run_id, str(world.run_dir))
    assert json.loads(told["HARNESS_ENDPOINTS"]) == dict.fromkeys(world.nodes, "127.0.0.1:1")


async def test_machines_that_run_no_commands_are_unknown(world: World) -> None:
    judgement = await judged(world, on="nodes", argv=["true"])
    assert (judgement.verdict, len(judgement.evidence)) == (Verdict.UNKNOWN, 3)


async def test_watching(world: World, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import os, sys; sys.exit(os.path.exists({str(flag)!r}))"
    check = Command(CommandConfig.model_validate({"argv": [sys.executable, "-S", "-c", code]}))
    assert await check.watch(world) is None
    flag.touch()
    violation = await check.watch(world)
    assert violation is not None and violation.message == "controller: exit status 1"
    assert await Command(CommandConfig(argv=["no-such-command-anywhere"])).watch(world) is None


def test_a_path_is_relative_to_the_playbook(tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("")
    config = CommandConfig.model_validate({"argv": ["./check.sh", "-x"]}, context={"folder": tmp_path})
    assert config.argv == [os.path.join(tmp_path, "check.sh"), "-x"]  # noqa: PTH118 - as text
    for options in ({"argv": ["./nothing.sh"]}, {"argv": []}, {"argv": ["a\0b"]}, {"stdout": "("}):
        with pytest.raises(ValidationError):
            CommandConfig.model_validate(options, context={"folder": tmp_path})
    assert CommandConfig.model_validate({"on": "nodes", "argv": ["/opt/check"]}).argv == ["/opt/check"]
