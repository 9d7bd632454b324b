"""What every deployer and every chain must do, as tests to be inherited. Needs pytest.

    from harness.testing.contracts import DeployerContract


    class TestMyDeployer(DeployerContract):
        @pytest.fixture
        def deployer(self):
            return MyDeployer(MyConfig())

        async def leftovers(self, run_id, run_dir):
            return …  # whatever of this run can still be found, by looking past the deployer

`DeployerContract` says what else can be overridden, and `ChainContract` the same for chains."""

from __future__ import annotations

import pytest

_SUITES = ("commands", "files", "nodes", "links", "shapes", "endings", "deaths", "chains", "bench")
pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in _SUITES))

from harness.testing.contracts.chains import ChainContract  # noqa: E402 - after the registration
from harness.testing.contracts.deployer import DeployerContract  # noqa: E402

__all__ = ["ChainContract", "DeployerContract"]
