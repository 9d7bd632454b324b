"""What an author of a deployer tells the suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from harness.plugin.contract.chain import Chain
from harness.plugin.contract.deployer import Deployer, HostSpec
from harness.record.rundir import RunDirectory
from harness.testing.contracts.bench import Bench
from harness.testing.contracts.chain import ContractChain


@pytest.mark.anyio
class DeployerSuite:
    """Fixtures and facts to be overridden. `deployer` and `leftovers` have to be."""

    exclusive: ClassVar[bool] = False
    """Whether a machine takes one run at a time, and refuses a second one."""

    dies_alone: ClassVar[float | None] = None
    """Seconds within which all of a run ends by itself when its controller was killed; None where `clean` has to be
    called for that."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def deployer(self) -> Deployer[Any]:
        """The deployer. It is made again from its class and its `config` in another process, which is killed."""
        raise NotImplementedError("override the fixture `deployer`")

    @pytest.fixture
    def hosts(self) -> Sequence[HostSpec]:
        """Where nodes may go, one after the other. Variables are plain values: they are passed on as JSON."""
        return (HostSpec("localhost", {"ansible_connection": "local"}),)

    @pytest.fixture
    def contract_chain(self) -> Chain[Any]:
        """The chain of the nodes. To be replaced by a subclass where its `image` cannot be built."""
        return ContractChain(ContractChain.Config())

    @pytest.fixture
    def hopeless(self) -> tuple[Deployer[Any], Sequence[HostSpec]] | None:
        """A deployer and hosts of which the last cannot be deployed to, which `inspect` can tell. None: untried."""
        return None

    async def leftovers(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Whatever of a run can still be found on its machines, a line each; nothing of it has been left in peace.
        Looks past the deployer: at processes, containers, networks, units, folders, ports, tables, locks."""
        raise NotImplementedError("override the method `leftovers`")

    async def active(self, run_id: str, run_dir: Path) -> Sequence[str]:
        """Those of the leftovers that do something or are in somebody's way: all but files. It is these that end by
        themselves, where a run does."""
        return await self.leftovers(run_id, run_dir)

    @pytest.fixture
    def bench(
        self, deployer: Deployer[Any], hosts: Sequence[HostSpec], contract_chain: Chain[Any], tmp_path: Path
    ) -> Bench:
        return Bench(deployer, hosts, contract_chain, tmp_path)

    async def assert_nothing_left(self, bench: Bench, patience: float = 0.0) -> None:
        """Of any run of this test, in so many seconds."""
        for run in bench.runs:
            await self.assert_ended(run, patience)

    async def assert_ended(self, run: RunDirectory, patience: float = 0.0) -> None:
        """Nothing is left of this run, in so many seconds."""
        give_up = anyio.current_time() + patience
        while left := await self.leftovers(run.run_id, run.path):
            assert anyio.current_time() < give_up, f"of the run {run.run_id} there still is: {', '.join(left)}"
            await anyio.sleep(0.05)
