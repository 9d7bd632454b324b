"""The suite as a whole."""

from __future__ import annotations

from harness.testing.contracts.commands import CommandsSuite
from harness.testing.contracts.deaths import DeathsSuite
from harness.testing.contracts.endings import EndingsSuite
from harness.testing.contracts.files import FilesSuite
from harness.testing.contracts.links import LinksSuite
from harness.testing.contracts.nodes import NodesSuite
from harness.testing.contracts.senders import SendersSuite
from harness.testing.contracts.shapes import ShapesSuite


class DeployerContract(
    CommandsSuite, FilesSuite, NodesSuite, LinksSuite, ShapesSuite, SendersSuite, EndingsSuite, DeathsSuite
):
    """What every deployer must do. Inherit it, and override

    - the fixture `deployer`, and `hosts` unless it is this machine that it deploys to;
    - the method `leftovers`: whatever of a run can still be found, by looking past the deployer;
    - `exclusive = True` where a machine takes one run at a time; `dies_alone`, in seconds, where a run ends by itself
      when its controller is gone; the fixture `hopeless`, hosts of which the last cannot be deployed to;
      `contract_chain`, where the image of its nodes cannot be built."""
