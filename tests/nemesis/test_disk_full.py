"""A full disk, on a file system of the node's own and on others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from harness.api import Deployer, FaultContext, FaultError
from harness.testing.contracts.base import DeployerSuite
from harness.testing.contracts.bench import Bench, Net
from harness_nemesis.disk_full import DiskFull
from harness_process.deployer import ProcessConfig, ProcessDeployer

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")]

MIB = 2**20


class TestDiskFull(DeployerSuite):
    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        return ProcessDeployer(ProcessConfig())

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """A small file system."""
        folder = tmp_path / "disk"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={8 * MIB}", "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)

    @pytest.mark.parametrize("below", ["", "work/member-0"])
    @pytest.mark.parametrize("leave", [0, MIB])
    async def test_no_room_is_left_and_then_all_of_it(
        self, bench: Bench, fault_context: Callable[[Net], FaultContext], disk: Path, leave: int, below: str
    ) -> None:
        folder = disk / below
        folder.mkdir(parents=True, exist_ok=True)
        async with bench.up() as net:
            net.node.directory = PurePosixPath(folder)
            ctx, one = fault_context(net), DiskFull(DiskFull.Config(leave=leave))
            assert (await one.prove(ctx)).holds is False
            for _ in range(2):
                await one.inject(ctx)
                proof = await one.prove(ctx)
                assert proof.holds is True, proof.seen
                with pytest.raises(OSError, match="No space left"):
                    (folder / "more").write_bytes(bytes(leave + MIB))
                (folder / "more").unlink()
                assert (await one.prove_healed(ctx)).holds is False
            await net.node.kill()
            for _ in range(2):
                await one.heal(ctx)
                healed = await one.prove_healed(ctx)
                assert healed.holds is True, healed.seen
            assert not list(folder.iterdir())
            (folder / "more").write_bytes(bytes(4 * MIB))

    async def test_what_is_not_the_nodes_own_is_not_filled(
        self, bench: Bench, fault_context: Callable[[Net], FaultContext], disk: Path
    ) -> None:
        async with bench.up() as net:
            ctx, one = fault_context(net), DiskFull(DiskFull.Config())
            with pytest.raises(FaultError, match="root file system|shares the file system"):
                await one.inject(ctx)
            (disk / "member-0").mkdir()
            net.node.directory = PurePosixPath(disk / "member-0")
            (disk / "journal").touch()
            with pytest.raises(FaultError, match="shares the file system at .* with journal"):
                await one.inject(ctx)
            (disk / "journal").unlink()
            with pytest.raises(FaultError, match=rf"has {8 * MIB} bytes, more than the {MIB} that may be filled"):
                await DiskFull(DiskFull.Config(largest=MIB)).inject(ctx)
            assert not list((disk / "member-0").iterdir())
