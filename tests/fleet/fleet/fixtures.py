"""pytest fixtures. A plugin of its own: `-p fleet.fixtures`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from fleet.client import Fleet, HostPool
from fleet.engine import Docker
from fleet.errors import FleetUnavailable
from fleet.light import LightFleet
from fleet.other_kernel import run_in_other_kernel


def _skip(missing: FleetUnavailable) -> NoReturn:
    """A test never passes by skipping: in CI, what is missing is an error."""
    if os.environ.get("CI"):
        raise missing
    pytest.skip(str(missing))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """This process's part in the fleet; the workers of pytest-xdist share one session."""
    try:
        joined = Fleet(os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex)
    except FleetUnavailable as missing:
        _skip(missing)
    yield joined
    joined.close()


@pytest.fixture(scope="session")
def docker_engine(fleet: Fleet) -> Iterator[Docker]:
    """A Docker engine with debian:bookworm-slim; DOCKER_HOST names it. Called, it is the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", fleet.docker_host)
        yield Docker(fleet.docker_host)


@pytest.fixture(scope="session")
def ssh_hosts(fleet: Fleet) -> HostPool:
    """Hosts with systemd, to lease."""
    return HostPool(fleet, systemd=True)


@pytest.fixture(scope="session")
def ssh_hosts_plain(fleet: Fleet) -> HostPool:
    """Hosts whose first process is no systemd, to lease."""
    return HostPool(fleet, systemd=False)


@pytest.fixture
def light_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], LightFleet]]:
    """Starts so many light hosts, in a second; they are gone after the test."""
    with ExitStack() as stack:

        def start(count: int) -> LightFleet:
            try:
                return stack.enter_context(LightFleet(tmp_path_factory.mktemp("light"), count))
            except FleetUnavailable as missing:
                _skip(missing)

        yield start


@pytest.fixture
def other_kernel(tmp_path: Path) -> Callable[..., str]:
    """Runs a command as root of a kernel that has netem, in the test's folder; what it says."""

    def run(argv: list[str], *modules: str) -> str:
        try:
            return run_in_other_kernel(tmp_path, argv, *modules)
        except FleetUnavailable as missing:
            _skip(missing)

    return run
