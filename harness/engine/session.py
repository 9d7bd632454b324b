"""The life of one run around its runner: deploy, ready … teardown, and the record of all of it."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.abc

from harness import __version__
from harness.engine.budget import FaultBudget
from harness.engine.context import RunShared
from harness.engine.faults import Faults
from harness.engine.ledger import Ledger
from harness.engine.nodes import ManagedNode, NodeHost
from harness.engine.outcome import conclude
from harness.engine.plan import Plan
from harness.engine.recorder import Recorder
from harness.engine.runner import Runner, journal_feed, phase
from harness.engine.target import Target
from harness.engine.tasks import all_of
from harness.errors import HarnessError, NotReadyError, UsageError
from harness.observe.feed import BlockFeed
from harness.plugin.contract.chain import ChainClient, Network, NetworkSpec, NodeSite, PeerAddress
from harness.plugin.contract.deployer import Deployment, DeployRequest, PlannedNode
from harness.plugin.contract.node import NodeState
from harness.record.events import Note, PhaseEnded, PhaseStarted, RunStarted


@dataclass
class _Ending:
    """How the run came to its end, gathered on the way out."""

    error: BaseException | None = None
    teardown_errors: list[str] = field(default_factory=list)

    @property
    def interrupted(self) -> bool:
        return isinstance(self.error, (anyio.get_cancelled_exc_class(), KeyboardInterrupt))


@asynccontextmanager
async def session(
    plan: Plan, target: Target, recorder: Recorder, *, hurry: anyio.Event | None = None
) -> AsyncIterator[Runner]:
    """Deploy a plan and give its runner; on leaving, tear down and write the result, whatever happened.

    Setting `hurry` makes teardown kill nodes instead of waiting for them to stop. Raises what the body
    raised, and NotReadyError, DeployError … of bringing the network up."""
    ending = _Ending()
    life = _Life(plan, target, recorder, hurry or anyio.Event())
    began = recorder.clock.now()
    try:
        async with anyio.create_task_group() as tasks:
            try:
                yield await life.bring_up(tasks)
            except BaseException as error:  # noqa: BLE001 - raised again after teardown, with no group around it
                ending.error = error
            finally:
                with anyio.CancelScope(shield=True):
                    ending.teardown_errors = await life.tear_down()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # one of the run's own background tasks broke
        ending.error = group
    failed = ending.error
    if failed is not None and not isinstance(failed, HarnessError) and not ending.interrupted:
        trace = "".join(traceback.format_exception(failed))
        recorder.emit(Note("engine", "error", f"{type(failed).__name__}: {failed}", {"traceback": trace}))
    failure = "" if failed is None or ending.interrupted else (str(failed) or type(failed).__name__)
    if recorder.journal.failure is not None and not failure:
        failure = f"the journal could not be written: {recorder.journal.failure}"
    outcome = conclude(
        life.runner.judged if life.runner else (),
        interrupted=ending.interrupted,
        failure=failure,
        usage=isinstance(failed, UsageError),
        teardown_errors=ending.teardown_errors,
    )
    recorder.finish(outcome, recorder.clock.now() - began)
    if failed is not None:
        raise failed


class _Life:
    """Brings a network up and takes it down again, from wherever it had come to."""

    def __init__(self, plan: Plan, target: Target, recorder: Recorder, hurry: anyio.Event) -> None:
        self.plan = plan
        self.target = target
        self.recorder = recorder
        self.hurry = hurry
        self.runner: Runner | None = None
        self._stack = AsyncExitStack()
        self._nodes: dict[str, ManagedNode] = {}
        self._feed_scope = anyio.CancelScope()
        self._shared: RunShared | None = None
        self._ledger: Ledger | None = None

    async def bring_up(self, tasks: anyio.abc.TaskGroup) -> Runner:
        plan, recorder = self.plan, self.recorder
        planned = await self.target.check(plan)
        network = plan.chain.network(
            NetworkSpec(
                recorder.run_id, plan.seed, plan.topology, plan.playbook.wallets, genesis_time=recorder.clock.wall()
            )
        )
        shared = self._share(network)
        recorder.emit(self._started(planned))
        async with phase(shared, "deploy"):
            request = DeployRequest(recorder.run_id, recorder.path, planned, plan.topology.links)
            deployment = await self._stack.enter_async_context(self.target.deployer.deploy(request))
            host = NodeHost(network, deployment, recorder.clock, recorder.emit, tasks)
            for node in planned:
                self._nodes[node.spec.name] = await self._make_node(node, host)
            await all_of(partial(self._start, node) for node in self._nodes.values())
        async with phase(shared, "ready", plan.playbook.ready_timeout):
            await self._ready(shared, tasks)
        self.runner = Runner(shared, self._nodes)
        return self.runner

    def _share(self, network: Network) -> RunShared:
        plan, recorder = self.plan, self.recorder
        self._ledger = Ledger(recorder.run_dir.ledger)
        budget = FaultBudget(
            {node.name: network.power(node) for node in plan.topology.nodes},
            plan.chain.tolerance,
            unlimited=plan.playbook.budget == "unlimited",
        )
        feed = BlockFeed(
            {name: partial(self._new_client, name) for name in plan.view.node_names},
            plan.chain.timing.finality_depth,
            recorder.clock,
        )
        self._shared = RunShared(
            run_id=recorder.run_id,
            run_dir=recorder.path,
            plan=plan,
            network=network,
            nodes=self._nodes,
            clock=recorder.clock,
            feed=feed,
            faults=Faults(self._ledger, budget, self._nodes, recorder.clock, recorder.emit),
            emit=recorder.emit,
            make_tracker=partial(recorder.make_tracker, feed),
        )
        journal_feed(self._shared)
        recorder.sample_blocks(feed)
        return self._shared

    def _new_client(self, name: str) -> ChainClient:
        return self._nodes[name].new_client()

    def _started(self, planned: tuple[PlannedNode, ...]) -> RunStarted:
        plan, timing = self.plan, self.plan.chain.timing
        nodes = {
            node.spec.name: {
                "role": node.spec.role,
                "machine": node.host.name,
                "links": [link.dst for link in plan.topology.links if link.src == node.spec.name],
            }
            for node in planned
        }
        return RunStarted(
            run_id=self.recorder.run_id,
            name=plan.playbook.name,
            seed=plan.seed,
            version=__version__,
            chain=plan.chain.name,
            deployer=self.target.deployer.name,
            duration=plan.duration,
            block_interval=timing.block_interval,
            finality_depth=timing.finality_depth,
            playbook=str(plan.playbook.source or ""),
            nodes=nodes,
            workloads=tuple(component.id for component in plan.workloads),
            expectations=tuple(component.id for component in plan.expectations),
            variables=plan.playbook.variables,
            command=self.recorder.command,
        )

    async def _make_node(self, planned: PlannedNode, host: NodeHost) -> ManagedNode:
        plan, deployment, spec = self.plan, host.deployment, planned.spec
        placement = deployment.placements[spec.name]
        artifacts = {a.name: await deployment.provide(placement.machine, a) for a in plan.chain.artifacts()}
        site = NodeSite(
            node=spec,
            directory=placement.directory,
            bind=placement.bind,
            advertise=placement.advertise,
            ports=placement.ports,
            dials=_dials(plan, spec.name, deployment),
            artifacts=artifacts,
            python=placement.machine.python,
        )
        api_port = plan.chain.roles[spec.role].api_port
        log = self.recorder.run_dir.log(spec.name)
        return ManagedNode(placement, host.network.launch(site), api_port, log, host)

    async def _start(self, node: ManagedNode) -> None:
        await node.write_files()
        await node.start()

    async def _ready(self, shared: RunShared, tasks: anyio.abc.TaskGroup) -> None:
        """Every node answers, then every node has the network's first block."""
        timeout = self.plan.playbook.ready_timeout
        give_up = shared.clock.now() + timeout
        await all_of(partial(node.wait_ready, timeout) for node in self._nodes.values())
        await tasks.start(self._run_feed, shared.feed)
        if await shared.feed.wait_height(1, timeout=max(0.0, give_up - shared.clock.now())):
            return
        lacking = ", ".join(name for name, view in shared.feed.nodes.items() if view.height < 1)
        raise NotReadyError(f"no first block at {lacking} within {timeout:g} s; raise ready_timeout, or see their logs")

    async def _run_feed(self, feed: BlockFeed, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._feed_scope:
            await feed.run(task_status=task_status)

    async def tear_down(self) -> list[str]:
        """Take down whatever there is; says what is left. Runs shielded, whatever came before."""
        errors: list[str] = []
        if self._shared is None:
            return errors
        emit, clock = self._shared.emit, self._shared.clock
        began = clock.now()
        emit(PhaseStarted("teardown"))
        self._feed_scope.cancel()
        for step in (self._end_nodes, self._stack.aclose):
            try:
                await step()
            except HarnessError as error:
                errors.append(str(error))
            except Exception as error:  # noqa: BLE001 - the steps after a broken one clean up: they must be gone through
                errors.append(f"{type(error).__name__}: {error}")
                emit(Note("teardown", "error", errors[-1], {"traceback": traceback.format_exc()}))
        if self._ledger is not None:
            self._ledger.close()
        emit(PhaseEnded("teardown", not errors, clock.now() - began, "; ".join(errors)))
        return errors

    async def _end_nodes(self) -> None:
        live = [node for node in self._nodes.values() if node.state in (NodeState.RUNNING, NodeState.PAUSED)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hurry, live)
            await all_of(node.aclose for node in self._nodes.values())
            await all_of(node.stop for node in live)
            tasks.cancel_scope.cancel()

    async def _hurry(self, live: list[ManagedNode]) -> None:
        await self.hurry.wait()
        await all_of(node.cut_short for node in live)


def _dials(plan: Plan, name: str, deployment: Deployment) -> tuple[PeerAddress, ...]:
    return tuple(
        PeerAddress(plan.topology.node(link.dst), deployment.link_address(link))
        for link in plan.topology.links
        if link.src == name
    )
