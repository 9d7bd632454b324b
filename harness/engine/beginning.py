"""What is told of a run at its beginning: what it is of, and where its nodes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness import __version__
from harness.engine.components import Component
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.target import Target
from harness.plugin.contract.deployer import Deployment, PlannedNode
from harness.plugin.contract.expectation import Expectation
from harness.record.events import NodePlaced, RunStarted


def run_started(plan: Plan, target: Target, recorder: Recorder, planned: Iterable[PlannedNode]) -> RunStarted:
    """The first line of its journal."""
    timing = plan.timing
    nodes = {
        node.spec.name: {
            "role": node.spec.role,
            "machine": node.host.name,
            # Whom adopted nodes dial is not known: the playbook's layout is not theirs.
            "links": [link.dst for link in plan.topology.links if link.src == node.spec.name and node.adoption is None],
        }
        for node in planned
    }
    return RunStarted(
        run_id=recorder.run_id,
        name=plan.playbook.name,
        seed=plan.seed,
        version=__version__,
        chain=plan.chain.name,
        deployer=target.deployer.name,
        duration=plan.duration,
        block_interval=timing.block_interval,
        finality_depth=timing.finality_depth,
        playbook=str(plan.playbook.source or ""),
        nodes=nodes,
        workloads=tuple(component.id for component in plan.workloads),
        expectations=tuple(component.id for component in plan.expectations),
        watched=tuple(component.id for component in plan.expectations if _is_watched(component)),
        sources={component.id: component.source for component in plan.expectations},
        variables=plan.playbook.variables,
        command=recorder.command,
        deployer_options=target.deployer.config.model_dump(mode="json"),
        matrix=recorder.matrix,
    )


def places(planned: Iterable[PlannedNode], deployment: Deployment) -> Iterator[NodePlaced]:
    """Where each node is that has a machine."""
    for node in planned:
        placement = deployment.placements.get(node.spec.name)
        if placement is not None:
            directory = str(placement.directory) if node.adoption is None else ""
            yield NodePlaced(node.spec.name, directory, tuple(placement.reach))


def _is_watched(component: Component[Expectation[Any]]) -> bool:
    """Whether it would see a violation while the run goes on."""
    looks_at_blocks = component.cls.observe_block is not Expectation.observe_block
    return component.cls.sees_violations and (component.continuous or looks_at_blocks)
