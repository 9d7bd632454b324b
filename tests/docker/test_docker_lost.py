"""Engines that are lost in the middle, and removals beside somebody else's."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from docker import APIClient

from harness.api import DeployError, HarnessError, InfrastructureError, MachineLost, TeardownError
from harness_docker import deployer, record, sweep

pytestmark = [pytest.mark.anyio, pytest.mark.real]

LOST = r"docker: the Docker engine at unix://.*door\.sock does not answer"


class Door:
    """A way to the engine that can be shut for good: whoever is on it is cut off, and whoever comes is turned away. It
    goes on being there: of a socket that is refused the SDK leaks its own end."""

    def __init__(self, path: Path, engine: str) -> None:
        self.url = f"unix://{path}"
        self._engine = engine
        self._lock = threading.Lock()
        self._shut = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    if self._shut:
                        near.close()
                        continue
                    far = socket.socket(socket.AF_UNIX)
                    far.connect(self._engine)
                    self._open += [near, far]
                    for pair in ((near, far), (far, near)):
                        self._threads.append(threading.Thread(target=_pass_on, args=pair))
                        self._threads[-1].start()

    def shut(self) -> None:
        with self._lock:
            self._shut = True
            for each in self._open:
                with suppress(OSError):  # whoever was on it has left
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        self.shut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for each in (self._listener, *self._open):
            each.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # it is shut
        while content := source.recv(65536):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def door(docker_engine: Any) -> Iterator[Door]:
    folder = Path(tempfile.mkdtemp(prefix="door-"))  # tmp_path may be too long for a socket
    opened = Door(folder / "door.sock", docker_engine.host.removeprefix("unix://"))
    yield opened
    opened.close()
    shutil.rmtree(folder)


@pytest.fixture
def gone(kit: Any, docker_engine: Any) -> Iterator[None]:
    """What a lost engine keeps is removed past the deployer."""
    yield
    client = APIClient(base_url=docker_engine.host)
    for deployment in {t.labels[sweep.DEPLOYMENT] for t in sweep.find(client, f"{sweep.RUN}={kit.run_id}")}:
        sweep.remove(client, deployment)
    client.close()


@pytest.mark.usefixtures("gone")
async def test_an_engine_that_is_lost_while_nodes_run_is_an_incomplete_teardown(kit: Any, door: Door) -> None:
    with pytest.raises(TeardownError, match=LOST):
        async with kit.node(engine=door.url):
            await anyio.to_thread.run_sync(door.shut)
    assert kit.left()


@pytest.mark.usefixtures("gone")
async def test_clean_finds_an_engine_that_is_reached_another_way_by_now_and_no_other(kit: Any, door: Door) -> None:
    run_dir = kit.folder / "run"
    with pytest.raises(TeardownError, match=LOST):
        async with kit.node(engine=door.url):
            await anyio.to_thread.run_sync(door.shut)
    Path(door.url.removeprefix("unix://")).unlink()
    written = json.loads((run_dir / record.NAME).read_text())
    for id in ("", "another"):
        (run_dir / record.NAME).write_text(json.dumps({**written, "id": id}))
        with pytest.raises(TeardownError) as raised:
            await kit.deployer().clean("r", run_dir)
        told = str(raised.value)
        assert told.startswith(
            f"docker: what r left cannot be looked for: no Docker engine runs at {door.url} (No such"
        )
        assert f"and the engine at {os.environ['DOCKER_HOST']} is another one; start that engine and clean" in told
        assert told.endswith(f"if it is gone for good with all that it had, remove {run_dir / record.NAME}")
        assert "option engine" not in told, "that would not help: the run's is meant"
    (run_dir / record.NAME).write_text(json.dumps(written))
    assert len(await kit.deployer().clean("r", run_dir)) >= 3
    assert kit.left() == []
    assert await kit.deployer().clean("r", run_dir) == []


@pytest.mark.usefixtures("gone")
async def test_an_engine_that_is_lost_while_it_deploys_is_an_incomplete_teardown_after_that(
    kit: Any, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = deployer.make_network

    async def make_and_lose(*args: Any, **options: Any) -> Any:
        network = await make(*args, **options)
        await anyio.to_thread.run_sync(door.shut)
        await args[0].ask(args[0].client.ping)
        return network

    monkeypatch.setattr(deployer, "make_network", make_and_lose)
    with pytest.raises(TeardownError, match=LOST) as raised:
        async with kit.deploy("v-0", engine=door.url):
            pass
    assert isinstance(raised.value.__cause__, MachineLost)  # what came first is not lost with it
    assert kit.left()


async def test_a_deployment_that_fails_and_is_removed_fails_as_it_did(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: Any, **options: Any) -> Any:
        raise DeployError("no network today")

    monkeypatch.setattr(deployer, "make_network", refuse)
    with pytest.raises(DeployError, match="no network today"):
        async with kit.deploy("v-0"):
            pass
    assert kit.left() == []


async def test_many_may_remove_the_same_at_once(kit: Any, tmp_path: Path) -> None:
    """Teardown, `harness clean` and the reaper do so: whoever comes second finds a removal in progress."""
    run_dir = kit.folder / "run"
    names = [f"v-{number}" for number in range(4)]
    async with kit.deploy(*names) as deployment:
        for place in deployment.placements.values():
            await place.machine.spawn(kit.spec(place, "trap '' TERM; while :; do sleep 0.05; done"))
        for number in range(4):  # each forgets the record when it has done
            (tmp_path / str(number)).mkdir()
            shutil.copy(run_dir / "docker.json", tmp_path / str(number))
        failed: list[HarnessError] = []

        async def clean(folder: Path) -> None:
            try:
                await kit.deployer().clean(kit.run_id, folder)
            except (TeardownError, InfrastructureError) as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(partial(clean, tmp_path / str(number)))
        assert failed == []
    assert kit.left() == []
