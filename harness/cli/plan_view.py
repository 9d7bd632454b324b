"""`--check`: the resolved plan, as text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

import anyio
import click

from harness.cli.interrupts import Interrupted
from harness.cli.preparing import do_tasks
from harness.engine.adoption import allowed
from harness.engine.budget import budget_of
from harness.engine.components import PlannedStep
from harness.engine.placement import LOAD
from harness.engine.plan import Plan
from harness.engine.target import Target
from harness.errors import ExitCode, Unsupported
from harness.plugin.contract.chain import NetworkSpec
from harness.plugin.contract.deployer import PlannedNode
from harness.record.text import block
from harness.redact import redact
from harness.spec.durations import format_duration


def show_plans(plans: Sequence[Plan], target: Target) -> int:
    """Print every plan, and what its tasks would change on the machines. Raises UsageError when these cannot do what a
    plan needs."""
    code = ExitCode.PASS
    for number, plan in enumerate(plans, 1):
        checked = anyio.run(target.look, plan)
        planned = checked.nodes
        if len(plans) > 1:
            click.echo(f"--- run {number} of {len(plans)} ---")
        for line in plan_lines(plan, target, planned, checked.notes):
            click.echo(block(redact(line)))
        if plan.prepare:
            try:
                code = max(code, _check_tasks(plan, target, planned))
            except Interrupted:
                return ExitCode.INTERRUPTED
    return code


def _check_tasks(plan: Plan, target: Target, planned: Sequence[PlannedNode]) -> ExitCode:
    """Raises Interrupted."""
    click.echo("\nprepare, as it would go (nothing is touched)")
    try:
        report = do_tasks(target, anyio.run(target.steps, plan, (*planned, *target.senders(plan))), check=True)
    except Unsupported as error:
        click.echo(block(f"  cannot be seen: {error}"))
        return ExitCode.PASS
    return ExitCode.INFRASTRUCTURE if report.failed else ExitCode.PASS


def plan_lines(plan: Plan, target: Target, planned: Sequence[PlannedNode], notes: Sequence[str] = ()) -> Iterator[str]:
    """The plan, line by line; `notes` are on the machines."""
    playbook, timing = plan.playbook, plan.timing
    adopts = any(node.adoption is not None for node in planned)
    yield f"playbook      {playbook.name}" + (f" ({playbook.source})" if playbook.source else "")
    if playbook.variables:
        yield "variables     " + ", ".join(f"{k} = {v}" for k, v in playbook.variables.items())
    yield f"seed          {plan.seed}"
    yield f"chain         {plan.chain.name}: a block every {format_duration(timing.block_interval)} on average, " + (
        f"final under {timing.finality_depth} more" if timing.finality_depth else "final at once"
    )
    yield f"deployer      {target.deployer.name} on {target.inventory.source}"
    yield from (f"{'':<14}{note}" for note in notes)
    yield f"duration      {format_duration(plan.duration)}, then settle for " + (
        format_duration(plan.settle) if plan.settle is not None else "as long as it takes until its blocks are final"
    )
    yield f"wallets       {playbook.wallets.count}, each funded with {playbook.wallets.balance}"
    network = plan.chain.network(NetworkSpec("check", plan.seed, plan.topology, playbook.wallets, genesis_time=0.0))
    yield f"fault budget  {budget_of(plan, network)}"
    if adopts:
        yield "adopted       the network runs already: its own pace, powers and wallets will be in the place of these"
    yield ""
    yield f"nodes ({len(planned)}" + (")" if adopts else f", layout {plan.topology.layout})")
    for node in planned:
        yield f"  {node.spec.name:<14} on {node.host.name:<12} " + _node(plan, node)
    yield ""
    senders = [node.host.name for node in target.senders(plan)]
    yield from _load_lines(plan, target, senders)
    if plan.prepare:
        yield from _task_lines(plan)
        yield ""
    yield "workloads"
    for workload in plan.workloads:
        plugin = workload.make()
        yield f"  {workload.id:<22} {plugin.describe(plan.view)}"
        needs = [*plugin.requires(), *plugin.requires_machine()]
        yield f"  {'':<22} needs {', '.join(sorted(needs)) or 'nothing special'}: all there"
        if senders and plugin.by_clients(network):
            not_from = f"not from {', '.join(senders)}: {plan.chain.name} has no other way"
            yield f"  {'':<22} sent by clients on this machine, {not_from}"
    yield from ["  none"] if not plan.workloads else []
    yield ""
    if plan.steps:
        yield "steps, one after the other"
        yield from map(_step_line, plan.steps)
        yield ""
    yield "expectations"
    for expectation in plan.expectations:
        options = ", ".join(
            f"{k} = {v}" for k, v in expectation.config.model_dump(mode="json").items() if v is not None
        )
        yield f"  {expectation.id:<22} {options}" + (
            f" (brought by {expectation.brought_by})" if expectation.brought_by else ""
        )


def _load_lines(plan: Plan, target: Target, senders: Sequence[str]) -> Iterator[str]:
    """Where load comes from, if that was ever a question: it must not move here without a word."""
    if senders:
        yield f"load comes from {', '.join(senders)}"
    elif LOAD in target.inventory.groups and any(workload.cls.sends for workload in plan.workloads):
        left_out = target.limit and target.inventory.select(LOAD)
        why = f'has none within --limit "{target.limit}"' if left_out else "has no hosts"
        yield f"load comes from this machine: the group [{LOAD}] {why}"
    else:
        return
    yield ""


def _step_line(step: PlannedStep) -> str:
    use = step.use
    when = f"at {use.at}" if use.at else f"{use.after} after that" if use.after else "then"
    lasting = f", heal after {use.hold}" if use.hold else ", end the run if it fails" if use.abort else ""
    config = step.component.config if step.component is not None else None
    options = config.model_dump(mode="json", exclude_defaults=True) if config is not None else {}
    told = "".join(f", {key} = {json.dumps(value, ensure_ascii=False)}" for key, value in options.items())
    whom = f" on {use.targets}" if use.action in ("fault", "run") else ""
    return f"  {when:<22} {use.action} {shlex.join(use.argv) or use.what}{whom}{told}{lasting}"


def _node(plan: Plan, node: PlannedNode) -> str:
    if (adoption := node.adoption) is not None:
        known = adoption.unit or adoption.pid_file or "its endpoints alone"
        at = ", ".join(f"{port} at {address}" for port, address in adoption.endpoints.items())
        can = sorted(allowed(adoption))
        return f"adopted by {known}, {at}; " + (f"{' and '.join(can)} allowed" if can else "only looked at")
    peers = ", ".join(sorted(plan.topology.peers_of(node.spec.name))) or "nobody"
    late = "late: a fault starts it; " if node.spec.late else ""
    return f"{late}ports {', '.join(node.ports)} (chosen at start); peers with {peers}"


def _task_lines(plan: Plan) -> Iterator[str]:
    yield "prepare"
    for task in plan.prepare:
        as_whom = {True: ", as root", False: ", not as root", None: ""}
        yield f"  {task.label:<22} {task.use.use.use} on {task.use.hosts}{as_whom[task.use.become]}"
        options = {k: v for k, v in task.component.config.model_dump(mode="json").items() if v is not None}
        yield f"  {'':<22} {', '.join(f'{k} = {json.dumps(v, ensure_ascii=False)}' for k, v in options.items())}"
