"""This host as a machine. Everything that runs on it for a run is held by the run's supervisor, commands too."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from harness.api import (
    CommandRecord,
    CommandTimeout,
    Completed,
    Facts,
    InfrastructureError,
    Machine,
    MachineCapability,
    Service,
    ServiceSpec,
)
from harness_process.supervision import Pipes, Supervision

COMMANDS = "commands"
"""The folder in the run's one where commands have their input and output while they run."""
INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""What processes get of the controller's environment, with LC_*. No more, as with a login over SSH: neither proxies,
nor PYTHONPATH, nor secrets of the controller are to make a node behave otherwise here than elsewhere."""


SUDO = ("sudo", "-n", "--")


def base_environment() -> dict[str, str]:
    """The environment that every process starts from."""
    return {key: value for key, value in os.environ.items() if key in INHERITED or key.startswith("LC_")}


class LocalMachine(Machine):
    """This host, as the user that runs the harness."""

    capabilities = frozenset({MachineCapability.NODE_CONTROL, MachineCapability.PAUSE})
    python = sys.executable

    def __init__(
        self, name: str, run_dir: Path, supervision: Supervision, audit: Callable[[CommandRecord], None]
    ) -> None:
        self.name = name
        self._run_dir = run_dir
        self._supervision = supervision
        self._audit = audit

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: PurePosixPath | None = None,
        timeout: float = 60.0,
        become: bool = False,
    ) -> Completed:
        """See Machine.run. Without `cwd` it runs in the run's folder. When it ends, or is cancelled, the processes
        that it started end too. `become` asks sudo, which must not need a password here."""
        if become and os.geteuid() != 0:
            argv = (*SUDO, *(f"{key}={value}" for key, value in (env or {}).items()), *argv)
        began = time.monotonic()
        status: int | None = None
        error = "cancelled"
        try:
            done = await self._run(argv, input, env, cwd, timeout)
            status, error = done.returncode, ""
            return done
        except InfrastructureError as raised:
            error = str(raised)
            raise
        finally:
            user = "root" if become else ""
            self._audit(CommandRecord(self.name, tuple(argv), status, time.monotonic() - began, user, error))

    async def _run(
        self,
        argv: Sequence[str],
        input: bytes,
        env: Mapping[str, str] | None,
        cwd: PurePosixPath | None,
        timeout: float,
    ) -> Completed:
        folder = await anyio.to_thread.run_sync(self._make_command_folder, input)
        try:
            spec = ServiceSpec(
                f"command {argv[0]}", tuple(argv), cwd or PurePosixPath(self._run_dir), folder / "stdout"
            )
            began = time.monotonic()
            service = await self._supervision.spawn(
                spec, {**base_environment(), **(env or {})}, Pipes(folder / "stdin", folder / "stderr")
            )
            try:
                with anyio.fail_after(timeout):
                    how = await service.wait()
            except TimeoutError:
                raise CommandTimeout(f"{self.name}: {argv[0]} took more than {timeout:g} s and was killed") from None
            finally:
                with anyio.CancelScope(shield=True):
                    await service.signal(signal.SIGKILL)
                    await service.wait()
            seconds = time.monotonic() - began
            if how.code is None and how.signal is None:
                raise InfrastructureError(f"{self.name}: nobody saw how {argv[0]} ended: its supervisor is gone")
            returncode = how.code if how.code is not None else -(how.signal or 0)
            stdout, stderr = await anyio.to_thread.run_sync(_read_both, folder / "stdout", folder / "stderr")
            return Completed(tuple(argv), returncode, stdout, stderr, seconds)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(shutil.rmtree, folder)

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        await anyio.to_thread.run_sync(_put, content, Path(path), mode)

    async def get(self, path: PurePosixPath) -> bytes:
        return await anyio.to_thread.run_sync(Path(path).read_bytes)

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        await anyio.to_thread.run_sync(_put, Path(path), to, 0o644)

    async def remove(self, path: PurePosixPath) -> None:
        await anyio.to_thread.run_sync(remove_tree, Path(path))

    async def spawn(self, spec: ServiceSpec) -> Service:
        return await self._supervision.spawn(spec, {**base_environment(), **spec.env})

    async def facts(self) -> Facts:
        return await anyio.to_thread.run_sync(partial(_facts, self._run_dir))

    def _make_command_folder(self, input: bytes) -> Path:
        parent = self._run_dir / COMMANDS
        parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        (folder / "stdin").write_bytes(input)
        return folder


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _put(content: bytes | Path, path: Path, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".put-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1024 * 1024)
            os.fchmod(file.fileno(), mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read_both(stdout: Path, stderr: Path) -> tuple[bytes, bytes]:
    return stdout.read_bytes(), stderr.read_bytes()


def _facts(folder: Path) -> Facts:
    return Facts(
        hostname=socket.gethostname(),
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        python=platform.python_version(),
        cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        free_disk_bytes=shutil.disk_usage(folder).free,
    )
