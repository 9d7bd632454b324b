"""Asking nodes that run already what network they are of."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from harness.engine.plan import Plan
from harness.errors import NotReadyError, Unreachable
from harness.plugin.contract.chain import Network, NetworkSpec
from harness.plugin.contract.deployer import Adoption, Deployment, PlannedNode
from harness.plugin.contract.machine import Address


def on_machines(planned: Sequence[PlannedNode]) -> tuple[PlannedNode, ...]:
    """Those of the nodes that a deployer has to do with."""
    return tuple(node for node in planned if node.adoption is None or node.adoption.has_machine)


def endpoint_of(name: str, adoption: Adoption, port: str, deployment: Deployment) -> Address:
    """Where the controller reaches an adopted node's port."""
    return deployment.endpoint(name, port) if adoption.has_machine else adoption.endpoints[port]


async def adopt_network(
    plan: Plan, spec: NetworkSpec, planned: Sequence[PlannedNode], deployment: Deployment, timeout: float
) -> Network:
    """The network that these nodes are of. Raises NotReadyError when one does not answer within `timeout` seconds,
    UsageError when it is not the network that the plan means, Unsupported."""
    apis = {
        node.spec.name: endpoint_of(
            node.spec.name, node.adoption, plan.chain.roles[node.spec.role].api_port, deployment
        )
        for node in planned
        if node.adoption is not None
    }
    try:
        with anyio.fail_after(timeout):
            return await plan.chain.adopt(spec, apis)
    except Unreachable as error:
        raise NotReadyError(f"the network cannot be adopted: {error}") from error
    except TimeoutError:
        raise NotReadyError(f"the network did not say what it is within {timeout:g} s") from None
