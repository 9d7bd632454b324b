"""`--check`: the resolved plan, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import anyio
import click

from harness.engine.budget import budget_of
from harness.engine.plan import Plan
from harness.engine.target import Target
from harness.errors import ExitCode
from harness.plugin.contract.chain import NetworkSpec
from harness.plugin.contract.deployer import PlannedNode
from harness.record.text import block
from harness.spec.units import format_duration


def show_plans(plans: Sequence[Plan], target: Target) -> int:
    """Print every plan. Raises UsageError when the machines cannot do what a plan needs."""
    for number, plan in enumerate(plans, 1):
        planned = anyio.run(target.check, plan)
        if len(plans) > 1:
            click.echo(f"--- run {number} of {len(plans)} ---")
        for line in plan_lines(plan, target, planned):
            click.echo(block(line))
    return ExitCode.PASS


def plan_lines(plan: Plan, target: Target, planned: Sequence[PlannedNode]) -> Iterator[str]:
    """The plan, line by line."""
    playbook, timing = plan.playbook, plan.chain.timing
    yield f"playbook      {playbook.name}" + (f" ({playbook.source})" if playbook.source else "")
    if playbook.variables:
        yield "variables     " + ", ".join(f"{k} = {v}" for k, v in playbook.variables.items())
    yield f"seed          {plan.seed}"
    yield f"chain         {plan.chain.name}: a block every {format_duration(timing.block_interval)} on average, " + (
        f"final under {timing.finality_depth} more" if timing.finality_depth else "final at once"
    )
    yield f"deployer      {target.deployer.name} on {target.inventory.source}"
    yield f"duration      {format_duration(plan.duration)}, then settle for " + (
        format_duration(plan.settle) if plan.settle is not None else "as long as it takes until its blocks are final"
    )
    yield f"wallets       {playbook.wallets.count}, each funded with {playbook.wallets.balance}"
    network = plan.chain.network(NetworkSpec("check", plan.seed, plan.topology, playbook.wallets, genesis_time=0.0))
    yield f"fault budget  {budget_of(plan, network)}"
    yield ""
    yield f"nodes ({len(planned)}, layout {plan.topology.layout})"
    for node in planned:
        peers = ", ".join(sorted(plan.topology.peers_of(node.spec.name))) or "nobody"
        ports = ", ".join(node.ports)
        yield f"  {node.spec.name:<14} on {node.host.name:<12} ports {ports} (chosen at start); peers with {peers}"
    yield ""
    yield "workloads"
    for workload in plan.workloads:
        plugin = workload.make()
        yield f"  {workload.id:<22} {plugin.describe(plan.view)}"
        needs = [*plugin.requires(), *plugin.requires_machine()]
        yield f"  {'':<22} needs {', '.join(sorted(needs)) or 'nothing special'}: all there"
    yield from ["  none"] if not plan.workloads else []
    yield ""
    yield "expectations"
    for expectation in plan.expectations:
        options = ", ".join(f"{k} = {v}" for k, v in expectation.config.model_dump(mode="json").items())
        yield f"  {expectation.id:<22} {options}" + (
            f" (brought by {expectation.brought_by})" if expectation.brought_by else ""
        )
