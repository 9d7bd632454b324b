"""Steering a run from another process's place: its control socket, over a run of fakes."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.control.address import NAME, address
from harness.control.client import ControlClient, ControlError
from harness.control.protocol import BadRequest, FaultRequest, decode, encode
from harness.errors import ExitCode
from harness.record.events import FaultStaged, Note, PhaseStarted, Recorded, Steered
from harness.testing import Finished

pytestmark = pytest.mark.anyio

TICKING = '[[workloads]]\nuse = "do"\nwhat = "tick"\n[[expectations]]\nuse = "say"'
LONG = "60s"


class Watched:
    """A run that goes on, what it has told so far, and what came of it in the end."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self.told: list[Recorded] = []
        self.finished: Finished | None = None
        self._more = anyio.Event()

    def __call__(self, recorded: Recorded) -> None:
        self.told.append(recorded)
        self._more.set()
        self._more = anyio.Event()

    async def until(self, seen: Callable[[Any], bool], after: int = 0) -> Recorded:
        """Wait for such an event, `after` being how many there were before it."""
        with anyio.fail_after(20):
            while True:
                for recorded in self.told[after:]:
                    if seen(recorded.event):
                        return recorded
                await self._more.wait()

    @property
    def folder(self) -> Path:
        [folder] = self._runs.iterdir()
        return folder

    @property
    def client(self) -> ControlClient:
        return ControlClient(self.folder)


@asynccontextmanager
async def driving(run_fake: Callable[..., Awaitable[Finished]], tmp_path: Path, rest: str = TICKING, **options: Any):  # type: ignore[no-untyped-def]
    watched = Watched(tmp_path / "runs")

    async def run() -> None:
        watched.finished = await run_fake(rest, on_event=watched, **options)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await watched.until(lambda event: event == PhaseStarted("drive", pytest.approx(_seconds(options))))
        yield watched


def _seconds(options: dict[str, Any]) -> float:
    return float(options.get("duration", "200ms").removesuffix("s").removesuffix("m")) * (
        0.001 if options.get("duration", "200ms").endswith("ms") else 1
    )


def _ticked(event: Any) -> bool:
    return isinstance(event, Note) and event.message == "tick"


async def test_pausing_holds_the_workloads_until_they_are_resumed(run_fake: Any, tmp_path: Path) -> None:
    async with driving(run_fake, tmp_path, duration=LONG) as run:
        await run.until(_ticked)
        await run.client.pause()
        await run.until(lambda event: isinstance(event, Steered) and event.what == "pause")
        with pytest.raises(ControlError, match="paused already"):
            await run.client.pause()
        await anyio.sleep(0.1)  # that nothing happens can only be waited for: ten ticks
        count = len(run.told)
        await run.client.resume()
        tick = await run.until(_ticked, after=count)
        assert tick.event.data["held"] > 0
        with pytest.raises(ControlError, match="not paused"):
            await run.client.resume()
        await run.client.abort()
    paused = [one for one in run.told if isinstance(one.event, Steered)]
    assert [one.event.what for one in paused] == ["pause", "resume", "abort"]
    between = [one for one in run.told if paused[0].seq < one.seq < paused[1].seq and _ticked(one.event)]
    assert not between
    assert run.finished is not None
    assert run.finished.outcome.exit_code is ExitCode.INTERRUPTED
    assert run.finished.state.paused_for > 0


async def test_what_is_paused_at_the_end_of_the_drive_goes_on_to_its_end(run_fake: Any, tmp_path: Path) -> None:
    async with driving(run_fake, tmp_path, duration="500ms") as run:
        await run.client.pause()
    assert run.finished is not None and run.finished.outcome.exit_code is ExitCode.PASS
    resumed = [one.event for one in run.told if isinstance(one.event, Steered)][-1]
    assert (resumed.what, resumed.by) == ("resume", "the end of the drive")


async def test_a_fault_by_hand_is_proven_and_healed(run_fake: Any, tmp_path: Path) -> None:
    async with driving(run_fake, tmp_path, duration=LONG) as run:
        offered = {one["name"]: one for one in await run.client.faults()}
        assert offered["sticky"]["why"] == "" and "does as it is told" in offered["sticky"]["about"]
        assert "heal" in offered["sticky"]["options"]["properties"]
        await run.client.inject(FaultRequest("sticky", ("validator-0",), 0.05))
        await run.until(lambda event: isinstance(event, FaultStaged) and event.stage == "healed")
        await run.client.abort()
    stages = [one.event.stage for one in run.told if isinstance(one.event, FaultStaged)]
    assert stages == ["intended", "injected", "proven", "healing", "healed"]
    assert all(one.event.by == "by hand" for one in run.told if isinstance(one.event, FaultStaged))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (FaultRequest("stiky", ("validator-0",), 1), "did you mean"),
        (FaultRequest("sticky", ("validator-9",), 1), "there is no node validator-9"),
        (FaultRequest("sticky", ("validator-0",), 1, {"hael": "well"}), "hael"),
        (FaultRequest("sticky", ("validator-0",), -1), "0 to"),
        (FaultRequest("sticky", (), 1), "which nodes"),
    ],
)
async def test_a_fault_that_cannot_be_is_refused_and_the_run_goes_on(
    run_fake: Any, tmp_path: Path, request_: FaultRequest, why: str
) -> None:
    async with driving(run_fake, tmp_path, duration="1s") as run:
        with pytest.raises(ControlError, match=f"(?i){why}"):
            await run.client.inject(request_)
    assert run.finished is not None and run.finished.outcome.exit_code is ExitCode.PASS
    assert not [one for one in run.told if isinstance(one.event, Steered | FaultStaged)]


async def test_a_fault_by_hand_that_cannot_be_healed_fails_the_run(run_fake: Any, tmp_path: Path) -> None:
    async with driving(run_fake, tmp_path, duration=LONG) as run:
        await run.client.inject(FaultRequest("sticky", ("validator-0",), 0.0, {"heal": "crash"}))
    assert run.finished is not None
    assert run.finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "cannot heal" in run.finished.outcome.reason


async def test_nothing_is_steered_before_the_drive_or_after_the_run(run_fake: Any, tmp_path: Path) -> None:
    said: list[BaseException] = []
    async with driving(run_fake, tmp_path, duration="200ms") as run:
        folder, client = run.folder, run.client
        await run.until(lambda event: isinstance(event, PhaseStarted) and event.phase != "drive", after=len(run.told))
        try:
            await client.pause()
        except ControlError as error:
            said.append(error)
    assert said and ("not in its drive" in str(said[0]) or "has ended" in str(said[0]))
    assert not (folder / NAME).exists()
    with pytest.raises(ControlError, match="has ended"):
        await client.pause()


async def test_only_its_owner_may_ask_and_nonsense_is_answered(run_fake: Any, tmp_path: Path) -> None:
    async with driving(run_fake, tmp_path, duration=LONG) as run:
        assert (run.folder / NAME).stat().st_mode & 0o777 == 0o600
        with address(run.folder) as where:
            for line in (b"\xff\n", b"[]\n", b'{"do": "dance"}\n', b"[" * 100_000 + b"\n", b'{"do": "fault"}\n'):
                async with await anyio.connect_unix(where) as stream:
                    await stream.send(line)
                    reply = json.loads(await stream.receive())
                    assert reply["ok"] is False and reply["error"]
            async with await anyio.connect_unix(where) as stream:
                await stream.send(b'{"do": "abort"')  # and is gone in the middle of it
        await run.client.abort()
    assert run.finished is not None and run.finished.outcome.exit_code is ExitCode.INTERRUPTED


async def test_a_path_longer_than_addresses_may_be(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with address(folder) as where, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(where)
    assert (folder / NAME).is_socket()


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    )
)
def test_whatever_is_asked_is_a_request_or_refused(asked: dict[str, Any]) -> None:
    message = decode(encode({**asked, "fault": asked.get("fault", "kill")}))
    try:
        request = FaultRequest.parse(message)
    except BadRequest as error:
        assert str(error)
    else:
        assert request.targets and request.duration >= 0
