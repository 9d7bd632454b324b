"""The deployer `process` with one thing wrong at a time, each under the test of the suite that has to see it.

Run by test_contract_can_fail.py in a pytest of its own: every test here must fail."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from harness.api import Address, CommandTimeout, Completed, Deployer, Exit, HostReport, Link, MachineCapability
from harness.testing.contracts import DeployerContract
from harness_process import deployer as module
from harness_process.deployer import ProcessConfig, ProcessDeployer, ProcessDeployment
from harness_process.machine import LocalMachine
from harness_process.supervision import LocalService


class Broken(DeployerContract):
    """`machine` and `deployment` are what is wrong, or `deployer_class` is."""

    machine: type[LocalMachine] = LocalMachine
    deployment: type[ProcessDeployment] = ProcessDeployment
    deployer_class: type[ProcessDeployer] = ProcessDeployer

    @pytest.fixture(autouse=True)
    def _break(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LocalMachine", self.machine)
        monkeypatch.setattr(module, "ProcessDeployment", self.deployment)

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
    class machine(LocalMachine):
        async def _run(self, argv: Sequence[str], *rest: Any) -> Completed:
            done = await super()._run(("sh", "-c", " ".join(argv)), *rest)
            return Completed(tuple(argv), done.returncode, done.stdout, done.stderr, done.seconds)


class TestQuotesButNotAll(Broken):
    class machine(LocalMachine):
        async def _run(self, argv: Sequence[str], *rest: Any) -> Completed:
            words = [shlex.quote(word) if word else "" for word in argv]
            done = await super()._run(("sh", "-c", " ".join(words)), *rest)
            return Completed(tuple(argv), done.returncode, done.stdout, done.stderr, done.seconds)


class TestUnaudited(Broken):
    class machine(LocalMachine):
        async def run(self, *args: Any, **options: Any) -> Completed:
            self._audit = lambda record: None
            return await super().run(*args, **options)


class TestCommandsGoOn(Broken):
    """Only the command itself is killed."""

    class machine(LocalMachine):
        async def _run(self, argv: Sequence[str], input: bytes, env: Any, cwd: Any, timeout: float) -> Completed:
            out = Path(tempfile.mkstemp(dir=self._run_dir)[1])
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
            return Completed(tuple(argv), process.returncode, out.read_bytes(), b"", 0.1)


class TestPutInPlace(Broken):
    class machine(LocalMachine):
        async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
            data = content if isinstance(content, bytes) else content.read_bytes()
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with Path(path).open("wb", buffering=0) as file:
                for start in range(0, len(data), 4096):
                    file.write(data[start : start + 4096])
                    await checkpoint()
            Path(path).chmod(mode)


class TestModeless(Broken):
    class machine(LocalMachine):
        async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
            await super().put(content, path)


class TestForgetfulLog(Broken):
    class machine(LocalMachine):
        async def spawn(self, spec: Any) -> Any:
            Path(spec.log).unlink(missing_ok=True)
            return await super().spawn(spec)


class TestPausesInNameOnly(Broken):
    class machine(LocalMachine):
        async def spawn(self, spec: Any) -> Any:
            service = await super().spawn(spec)

            async def nothing(number: int, real: Any = service.signal) -> None:
                if number not in (signal.SIGSTOP, signal.SIGCONT):
                    await real(number)

            service.signal = nothing  # type: ignore[method-assign]
            return service


class TestSaysGone(Broken):
    """Remembers states instead of asking."""

    class machine(LocalMachine):
        async def spawn(self, spec: Any) -> Any:
            service = await super().spawn(spec)

            async def remembered() -> str:
                return "running"

            service.state = remembered  # type: ignore[method-assign]
            return service


class TestLyingExits(Broken):
    class machine(LocalMachine):
        async def spawn(self, spec: Any) -> Any:
            service = await super().spawn(spec)

            async def zero(real: LocalService = service) -> Exit:
                how = await LocalService.wait(real)
                return Exit(0, None, how.at)

            service.wait = zero  # type: ignore[method-assign]
            return service


class TestWrongNeighbour(Broken):
    class deployment(ProcessDeployment):
        def link_address(self, link: Link) -> Any:
            return super().link_address(Link(link.dst, link.src))


class TestMovingEndpoints(Broken):
    """After a while each is somewhere else."""

    class deployment(ProcessDeployment):
        asked = 0

        def endpoint(self, node: str, port: str) -> Any:
            self.asked += 1
            address = super().endpoint(node, port)
            return address if self.asked <= 6 else Address("localhost", address.port)


class TestTouches(Broken):
    class deployer_class(ProcessDeployer):
        async def inspect(self, *args: Any) -> Any:
            stray()
            return await super().inspect(*args)


class TestBoasts(Broken):
    class deployer_class(ProcessDeployer):
        capabilities = ProcessDeployer.capabilities - {MachineCapability.PAUSE}

        async def inspect(self, nodes: Any, chain: Any, access: Any) -> Any:
            return [HostReport("localhost", capabilities=ProcessDeployer.capabilities)]


class TestUnshielded(Broken):
    """What it makes is not removed when leaving is cancelled."""

    class deployer_class(ProcessDeployer):
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
    class deployer_class(ProcessDeployer):
        @asynccontextmanager
        async def deploy(self, request: Any) -> Any:
            process = stray()
            async with super().deploy(request) as deployment:
                yield deployment
            process.kill()
            process.wait()


class TestCleansNothing(Broken):
    class deployer_class(ProcessDeployer):
        async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
            return []


class TestCleansForEver(Broken):
    class deployer_class(ProcessDeployer):
        async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
            return [*await super().clean(run_id, run_dir), "something"]


class TestNotExclusive(Broken):
    exclusive = True
