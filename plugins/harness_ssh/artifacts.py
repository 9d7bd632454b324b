"""Artifacts on machines: each content is sent to each machine once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from harness.api import Artifact, Machine, file_name

ARTIFACTS = "artifacts"


class ArtifactStore:
    """They go into the run's folder of each machine, and with it: machines end as they were found, so nothing is kept
    for the next run."""

    def __init__(self, folders: Mapping[str, PurePosixPath], forks: int) -> None:
        """`folders` are the run's, by the machines' names; at most `forks` machines are sent to at once."""
        self._folders = folders
        self._slots = anyio.CapacityLimiter(forks)
        self._hashes: dict[tuple[Path, int, int], str] = {}
        self._hashing = anyio.Lock()
        self._sending: dict[tuple[str, PurePosixPath], anyio.Lock] = {}
        self._sent: set[tuple[str, PurePosixPath]] = set()

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        content = artifact.content
        digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else await self._hash(content)
        path = self._folders[machine.name] / ARTIFACTS / digest / file_name(artifact.name)
        key = machine.name, path
        async with self._sending.setdefault(key, anyio.Lock()):
            if key not in self._sent:
                async with self._slots:
                    await machine.put(content, path, 0o755 if artifact.executable else 0o644)
                self._sent.add(key)
        return path

    async def _hash(self, path: Path) -> str:
        """A file's SHA-256, worked out once for all machines as long as nobody replaces the file."""
        async with self._hashing:
            seen = await anyio.to_thread.run_sync(path.stat)
            key = path, seen.st_mtime_ns, seen.st_size
            if key not in self._hashes:
                self._hashes[key] = await anyio.to_thread.run_sync(_sha256, path)
            return self._hashes[key]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
