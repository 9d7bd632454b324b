"""The deployer `process` with one thing wrong at a time, each under the test of the suite that has to see it.

Run by test_contract_can_fail.py in a pytest of its own: every test here must fail."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from harness.api import (
    Address,
    Artifact,
    CommandTimeout,
    Completed,
    Deployer,
    Deployment,
    DeployRequest,
    Exit,
    Facts,
    Flow,
    HostReport,
    Link,
    LinkShape,
    Machine,
    MachineCapability,
    Service,
    ServiceSpec,
)
from harness.testing.contracts import DeployerContract
from harness_process.deployer import ProcessConfig, ProcessDeployer


class AllRightMachine(Machine):
    """Another machine in its stead: to be made wrong by overriding."""

    def __init__(self, real: Machine) -> None:
        self.real = real
        self.name, self.capabilities, self.python = real.name, real.capabilities, real.python

    async def run(self, argv: Sequence[str], **options: Any) -> Completed:  # type: ignore[override]
        return await self.real.run(argv, **options)

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        await self.real.put(content, path, mode)

    async def get(self, path: PurePosixPath) -> bytes:
        return await self.real.get(path)

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await self.real.fetch(path, to)

    async def remove(self, path: PurePosixPath) -> None:
        await self.real.remove(path)

    async def spawn(self, spec: ServiceSpec) -> Service:
        return await self.real.spawn(spec)

    async def facts(self) -> Facts:
        return await self.real.facts()


class AllRightDeployment(Deployment):
    """The same for deployments."""

    def __init__(self, real: Deployment, machine: type[AllRightMachine]) -> None:
        self.real = real
        self._machines: dict[str, AllRightMachine] = {}
        for place in real.placements.values():
            self._machines.setdefault(place.machine.name, machine(place.machine))
        self.placements = {
            name: dataclasses.replace(place, machine=self._machines[place.machine.name])
            for name, place in real.placements.items()
        }

    def link_address(self, link: Link) -> Address:
        return self.real.link_address(link)

    def endpoint(self, node: str, port: str) -> Address:
        return self.real.endpoint(node, port)

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        return await self.real.provide(self._machines[machine.name].real, artifact)

    async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
        await self.real.shape_links(shapes)


class AllRightDeployer(ProcessDeployer):
    """And for deployers, which give these."""

    machine: type[AllRightMachine] = AllRightMachine
    deployment: type[AllRightDeployment] = AllRightDeployment

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        async with super().deploy(request) as real:
            yield self.deployment(real, self.machine)


class Broken(DeployerContract):
    """`machine`, `deployment` or `deployer_class` is what is wrong."""

    machine: type[AllRightMachine] = AllRightMachine
    deployment: type[AllRightDeployment] = AllRightDeployment
    deployer_class: type[AllRightDeployer] = AllRightDeployer

    @pytest.fixture(autouse=True)
    def _break(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(AllRightDeployer, "machine", self.machine)
        monkeypatch.setattr(AllRightDeployer, "deployment", self.deployment)

    @pytest.fixture(autouse=True)
    def _end_strays(self, bench: Any) -> Iterator[None]:
        STRAY.clear()
        yield
        for process in STRAY:
            process.kill()
            process.wait()
        ours = [run.run_id.encode() for run in bench.runs]
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if any(run in (entry / "cmdline").read_bytes() for run in ours):
                    os.kill(int(entry.name), signal.SIGKILL)

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return self.deployer_class(ProcessConfig())

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        folders = [str(path) for path in (run_dir / "artifacts", run_dir / "commands") if path.exists()]
        return [*folders, *(f"stray {process.pid}" for process in STRAY if process.poll() is None)]


STRAY: list[subprocess.Popen[bytes]] = []


def stray() -> subprocess.Popen[bytes]:
    """A process that nobody holds."""
    STRAY.append(process := subprocess.Popen(["sleep", "1000"]))
    return process


class TestShell(Broken):
    class machine(AllRightMachine):
        async def run(self, argv: Sequence[str], **options: Any) -> Completed:  # type: ignore[override]
            done = await self.real.run(("sh", "-c", " ".join(argv)), **options)
            return dataclasses.replace(done, argv=tuple(argv))


class TestQuotesButNotAll(Broken):
    class machine(AllRightMachine):
        async def run(self, argv: Sequence[str], **options: Any) -> Completed:  # type: ignore[override]
            words = [shlex.quote(word) if word else "" for word in argv]
            done = await self.real.run(("sh", "-c", " ".join(words)), **options)
            return dataclasses.replace(done, argv=tuple(argv))


class TestUnaudited(Broken):
    class deployer_class(AllRightDeployer):
        @asynccontextmanager
        async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
            access = dataclasses.replace(request.access, audit=lambda record: None)
            async with super().deploy(dataclasses.replace(request, access=access)) as deployment:
                yield deployment


class TestCommandsGoOn(Broken):
    """Only the command itself is killed."""

    class machine(AllRightMachine):
        async def run(  # type: ignore[override]
            self, argv: Sequence[str], input: bytes = b"", timeout: float = 60.0, **options: Any
        ) -> Completed:
            out = Path(tempfile.mkstemp()[1])
            with out.open("wb") as file:
                STRAY.append(process := subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file))
            assert process.stdin is not None
            process.stdin.write(input)
            process.stdin.close()
            try:
                with anyio.fail_after(timeout):
                    while process.poll() is None:
                        await anyio.sleep(0.01)
            except TimeoutError:
                raise CommandTimeout(argv[0]) from None
            finally:
                process.kill()
                process.wait()
            try:
                return Completed(tuple(argv), process.returncode, out.read_bytes(), b"", 0.1)
            finally:
                out.unlink()


class TestPutInPlace(Broken):
    class machine(AllRightMachine):
        async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
            data = content if isinstance(content, bytes) else content.read_bytes()
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with Path(path).open("wb", buffering=0) as file:
                for start in range(0, len(data), 4096):
                    file.write(data[start : start + 4096])
                    await checkpoint()
            Path(path).chmod(mode)


class TestModeless(Broken):
    class machine(AllRightMachine):
        async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
            await super().put(content, path)


class TestForgetfulLog(Broken):
    class machine(AllRightMachine):
        async def spawn(self, spec: ServiceSpec) -> Service:
            spec.log.unlink(missing_ok=True)
            return await super().spawn(spec)


class TestPausesInNameOnly(Broken):
    class machine(AllRightMachine):
        async def spawn(self, spec: ServiceSpec) -> Service:
            async def nothing() -> None: ...

            service = await super().spawn(spec)
            service.pause = service.resume = nothing  # type: ignore[method-assign]
            return service


class TestSaysGone(Broken):
    """Remembers states instead of asking."""

    class machine(AllRightMachine):
        async def spawn(self, spec: ServiceSpec) -> Service:
            async def remembered() -> str:
                return "running"

            service = await super().spawn(spec)
            service.state = remembered  # type: ignore[method-assign]
            return service


class TestLyingExits(Broken):
    class machine(AllRightMachine):
        async def spawn(self, spec: ServiceSpec) -> Service:
            service = await super().spawn(spec)
            real = service.wait

            async def zero() -> Exit:
                return Exit(0, None, (await real()).at)

            service.wait = zero  # type: ignore[method-assign]
            return service


class TestWrongNeighbour(Broken):
    class deployment(AllRightDeployment):
        def link_address(self, link: Link) -> Any:
            return super().link_address(Link(link.dst, link.src))


class TestMovingEndpoints(Broken):
    """After a while each is somewhere else."""

    class deployment(AllRightDeployment):
        asked = 0

        def endpoint(self, node: str, port: str) -> Any:
            self.asked += 1
            address = super().endpoint(node, port)
            return address if self.asked <= 6 else Address("localhost", address.port)


class TestCutsBothWays(Broken):
    class deployment(AllRightDeployment):
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            await super().shape_links({**shapes, **{Flow(flow.dst, flow.src): shape for flow, shape in shapes.items()}})


class TestCutsOthers(Broken):
    """All that the source of a flow says, to whomever."""

    class deployment(AllRightDeployment):
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            everybody = [*self.placements]
            await super().shape_links({Flow(flow.src, dst): shapes[flow] for flow in shapes for dst in everybody})


class TestNeverMends(Broken):
    class deployment(AllRightDeployment):
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            if shapes:
                await super().shape_links(shapes)


class TestShapesAddUp(Broken):
    class deployment(AllRightDeployment):
        known: Mapping[Flow, LinkShape] = MappingProxyType({})

        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            self.known = {**self.known, **shapes} if shapes else {}
            await super().shape_links(self.known)


class TestHalfTheDelay(Broken):
    class deployment(AllRightDeployment):
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            await super().shape_links({f: dataclasses.replace(s, delay=s.delay / 2) for f, s in shapes.items()})


class TestTwiceTheRate(Broken):
    class deployment(AllRightDeployment):
        async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
            await super().shape_links({f: dataclasses.replace(s, rate=s.rate * 2) for f, s in shapes.items()})


class TestTouches(Broken):
    class deployer_class(AllRightDeployer):
        async def inspect(self, *args: Any) -> Any:
            stray()
            return await super().inspect(*args)


class TestBoasts(Broken):
    class deployer_class(AllRightDeployer):
        capabilities = ProcessDeployer.capabilities - {MachineCapability.PAUSE}

        async def inspect(self, nodes: Any, chain: Any, access: Any) -> Any:
            return [HostReport("localhost", capabilities=ProcessDeployer.capabilities)]


class TestUnshielded(Broken):
    """What it makes is not removed when leaving is cancelled."""

    class deployer_class(AllRightDeployer):
        @asynccontextmanager
        async def deploy(self, request: Any) -> Any:
            process = stray()
            try:
                async with super().deploy(request) as deployment:
                    yield deployment
            finally:
                await anyio.sleep(0.01)
                process.kill()
                process.wait()


class TestLeavesAfterErrors(Broken):
    class deployer_class(AllRightDeployer):
        @asynccontextmanager
        async def deploy(self, request: Any) -> Any:
            process = stray()
            async with super().deploy(request) as deployment:
                yield deployment
            process.kill()
            process.wait()


class TestCleansNothing(Broken):
    class deployer_class(AllRightDeployer):
        async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
            return []


class TestCleansForEver(Broken):
    class deployer_class(AllRightDeployer):
        async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
            return [*await super().clean(run_id, run_dir), "something"]


class TestNotExclusive(Broken):
    exclusive = True
