"""Bringing a network up, and taking it down again from wherever it had come to."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import PurePosixPath

import anyio
import anyio.abc

from harness.engine.adopted import AdoptedNode
from harness.engine.adopting import adopt_network, on_machines
from harness.engine.beginning import places, run_started
from harness.engine.budget import budget_of
from harness.engine.clocks import Clocks
from harness.engine.context import RunShared
from harness.engine.faults import Faults
from harness.engine.holding import HeldDeployment
from harness.engine.ledger import Ledger
from harness.engine.load_source import LoadSource
from harness.engine.nodes import ManagedNode, NodeHost, ReachedNode
from harness.engine.patience import Patience
from harness.engine.phases import journal_feed, phase
from harness.engine.plan import Plan
from harness.engine.prepare import TaskOutcome, prepare
from harness.engine.recorder import Recorder
from harness.engine.runner import Runner
from harness.engine.stage import Stage
from harness.engine.steering import Steering
from harness.engine.target import Target
from harness.engine.tasks import all_of, plain
from harness.engine.vitals import Vitals
from harness.engine.wiring import Wiring
from harness.errors import HarnessError, InfrastructureError, NotReadyError, Unreachable
from harness.observe.feed import BlockFeed
from harness.plugin.contract.chain import ChainClient, Network, NetworkSpec, NodeSite, PeerAddress
from harness.plugin.contract.deployer import Access, Deployment, DeployRequest, PlannedNode
from harness.plugin.contract.machine import CommandRecord, Machine
from harness.plugin.contract.task import TaskResult
from harness.plugin.registry import Registry
from harness.record.events import CommandRan, NetworkAdopted, Note, PhaseEnded, PhaseStarted, TaskRan
from harness.record.text import counted
from harness.spec.topology import Link

STEP_WITHIN = 120.0
"""Seconds after which a step of teardown that does not end is given up, and told as left behind."""


class Lifecycle:
    """One network's life. `runner` is None until it is up."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        recorder: Recorder,
        patience: Patience,
        steering: Steering,
        registry: Registry | None = None,
    ) -> None:
        self.plan = plan
        self.target = target
        self.recorder = recorder
        self.patience = patience
        self.steering = steering
        self._registry = registry
        self.runner: Runner | None = None
        self._held = HeldDeployment()
        self._nodes: dict[str, ReachedNode] = {}
        self._wiring = Wiring(plan.topology.links, self._nodes)
        self._begun = False
        self._feed_scope = anyio.CancelScope()
        self._vitals_scope = anyio.CancelScope()
        self._shared: RunShared | None = None
        self._faults: Faults | None = None
        self._ledger: Ledger | None = None

    async def bring_up(self, tasks: anyio.abc.TaskGroup, planned: tuple[PlannedNode, ...] | None = None) -> Runner:
        """Deploy and make ready; `tasks` holds what runs beside, `planned` are the nodes if they have been checked.
        Raises UsageError, DeployError, NotReadyError …"""
        planned = planned or await self.target.check(self.plan)
        adopts = any(node.adoption is not None for node in planned)
        shared = await (self._adopt(planned, tasks) if adopts else self._deploy(planned, tasks))
        async with phase(shared, "ready", self.plan.playbook.ready_timeout):
            await self._ready(shared, tasks)
        self.runner = Runner(shared, self.plan, self._registry)
        return self.runner

    async def _deploy(self, planned: tuple[PlannedNode, ...], tasks: anyio.abc.TaskGroup) -> RunShared:
        plan, recorder = self.plan, self.recorder
        network = plan.chain.network(self._network_spec())
        shared = self._share(network, plan)
        self._begin(planned)
        senders = self.target.senders(plan)
        async with phase(recorder, "deploy"):
            request = self._request((*planned, *senders), plan.topology.links)
            deployment = await tasks.start(self._held.hold, self.target.deployer.deploy(request))
            self._wiring.deployment = deployment
            self._tell_places(planned, deployment)
            await self._prepare(shared, (*planned, *senders), deployment)
            provided = await self._provide(planned, deployment)
            joined = partial(self._joined, shared)
            host = NodeHost(network, deployment, recorder.clock, recorder.emit, tasks, shared.fail, joined)
            nodes = [self._make_node(node, host, provided) for node in planned]
            self._nodes |= {node.name: node for node in nodes}
            starts = [partial(self._start, node) for node in nodes]
            await all_of((*starts, partial(self._begin_load, shared, senders, deployment)))
        return shared

    async def _adopt(self, planned: tuple[PlannedNode, ...], tasks: anyio.abc.TaskGroup) -> RunShared:
        """Nodes that run already: machines are reached, nodes are asked what network they are of, and followed."""
        plan, recorder = self.plan, self.recorder
        self._begin(planned)
        if plan.prepare:
            recorder.warn("prepare", f"{counted(len(plan.prepare), 'task')} skipped: adopted hosts are somebody else's")
        async with phase(recorder, "deploy", plan.playbook.ready_timeout):
            senders = self.target.senders(plan)
            request = self._request((*on_machines(planned), *senders), ())
            deployment = await tasks.start(self._held.hold, self.target.deployer.deploy(request))
            self._tell_places(planned, deployment)
            spec = self._network_spec()
            network = await adopt_network(plan, spec, planned, deployment, plan.playbook.ready_timeout)
            plan = plan.paced(network.timing or plan.timing)
            recorder.emit(NetworkAdopted(plan.timing.block_interval, plan.timing.finality_depth, plan.duration))
            shared = self._share(network, plan)
            host = NodeHost(network, deployment, recorder.clock, recorder.emit, tasks, shared.fail)
            logs = recorder.run_dir.log
            nodes = [
                AdoptedNode(node, plan.chain.roles[node.spec.role].api_port, logs(node.spec.name), host)
                for node in planned
            ]
            self._nodes |= {node.name: node for node in nodes}
            starts = [node.attach for node in nodes]
            await all_of((*starts, partial(self._begin_load, shared, senders, deployment)))
        return shared

    async def _begin_load(self, shared: RunShared, senders: tuple[PlannedNode, ...], deployment: Deployment) -> None:
        await shared.load.begin(senders, deployment, self.recorder.run_dir.log, self.plan.playbook.ready_timeout)

    def _network_spec(self) -> NetworkSpec:
        plan, recorder = self.plan, self.recorder
        return NetworkSpec(
            recorder.run_id, plan.seed, plan.topology, plan.playbook.wallets, genesis_time=recorder.clock.wall()
        )

    def _request(self, nodes: tuple[PlannedNode, ...], links: tuple[Link, ...]) -> DeployRequest:
        access = Access(self.target.forks, self._audit, self.recorder.warn)
        needs = frozenset(self.plan.machine_needs)
        return DeployRequest(self.recorder.run_id, self.recorder.path, nodes, links, self.plan.chain, access, needs)

    def _begin(self, planned: tuple[PlannedNode, ...]) -> None:
        self._begun = True
        self.recorder.emit(run_started(self.plan, self.target, self.recorder, planned))

    def _tell_places(self, planned: tuple[PlannedNode, ...], deployment: Deployment) -> None:
        for place in places(planned, deployment):
            self.recorder.emit(place)

    def _share(self, network: Network, plan: Plan) -> RunShared:
        recorder = self.recorder
        self._ledger = Ledger(recorder.run_dir.ledger)
        feed = BlockFeed(
            {node.name: partial(self._new_client, node.name) for node in plan.topology.nodes if not node.late},
            plan.timing.finality_depth,
            recorder.clock,
        )
        shared = self._shared = RunShared(
            run_id=recorder.run_id,
            run_dir=recorder.path,
            plan=plan,
            network=network,
            nodes=self._nodes,
            clock=recorder.clock,
            feed=feed,
            emit=recorder.emit,
            make_tracker=partial(recorder.make_tracker, feed),
            steering=self.steering,
            load=LoadSource(plan.chain, recorder.clock, self._tell_of_load),
        )
        shared.faults = self._faults = Faults(
            self._ledger,
            budget_of(plan, network),
            Stage(plan.chain, network, self._nodes, recorder.clock, plan.seed, plan.recorded),
            self._wiring,
            recorder.emit,
            self.patience,
            shared.fail,
        )
        self._faults.late(node.name for node in plan.topology.nodes if node.late)
        journal_feed(shared)
        recorder.sample_blocks(feed)
        return shared

    def _tell_of_load(self, level: str, sentence: str) -> None:
        self.recorder.emit(Note("load", level, sentence, {}))

    def _audit(self, ran: CommandRecord) -> None:
        self.recorder.emit(CommandRan(ran.machine, ran.argv, ran.returncode, ran.seconds, ran.user, ran.error))

    def _new_client(self, name: str) -> ChainClient:
        return self._nodes[name].new_client()

    async def _prepare(self, shared: RunShared, planned: tuple[PlannedNode, ...], deployment: Deployment) -> None:
        """Do the tasks of `[[prepare]]`, where there are machines before there are nodes on them."""
        tasks, name = self.plan.prepare, self.target.deployer.name
        if tasks and not deployment.hosts:
            skipped = f"{counted(len(tasks), 'task')} skipped: the deployer {name} makes a machine for each node, ready"
            self.recorder.warn("prepare", f"{skipped} as its image is; there is no host to prepare before")
        if not tasks or not deployment.hosts:
            return
        steps = await self.target.steps(self.plan, planned)
        async with phase(shared, "prepare"):
            failed = await prepare(
                steps, deployment.hosts, forks=self.target.forks, clock=shared.clock, tell=self._journal_task
            )
            if failed:
                raise InfrastructureError("\n".join(outcome.told for outcome in failed))

    def _journal_task(self, outcome: TaskOutcome) -> None:
        result = outcome.result or TaskResult(changed=False)
        self.recorder.emit(
            TaskRan(
                outcome.host, outcome.step.task.label, result.changed, result.detail, outcome.seconds, outcome.error
            )
        )

    async def _provide(
        self, planned: tuple[PlannedNode, ...], deployment: Deployment
    ) -> dict[tuple[str, str], PurePosixPath]:
        """Have every artifact on every machine, all machines at once: (machine, artifact) → path."""
        placements = (deployment.placements[node.spec.name] for node in planned)
        machines = {placement.machine.name: placement.machine for placement in placements}
        paths: dict[tuple[str, str], PurePosixPath] = {}

        async def one(machine: Machine) -> None:
            for artifact in self.plan.chain.artifacts(await machine.facts()):
                paths[machine.name, artifact.name] = await deployment.provide(machine, artifact)

        await all_of(partial(one, machine) for machine in machines.values())
        return paths

    def _make_node(
        self, planned: PlannedNode, host: NodeHost, provided: dict[tuple[str, str], PurePosixPath]
    ) -> ManagedNode:
        plan, spec = self.plan, planned.spec
        placement = host.deployment.placements[spec.name]
        site = NodeSite(
            node=spec,
            directory=placement.directory,
            bind=placement.bind,
            advertise=placement.advertise,
            ports=placement.ports,
            dials=_dials(plan, spec.name, host.deployment),
            artifacts={name: path for (where, name), path in provided.items() if where == placement.machine.name},
            python=placement.machine.python,
        )
        api_port = plan.chain.roles[spec.role].api_port
        return ManagedNode(placement, host.network.launch(site), api_port, self.recorder.run_dir.log(spec.name), host)

    async def _start(self, node: ManagedNode) -> None:
        await node.write_files()
        if not node.spec.late:
            await node.start()

    def _joined(self, shared: RunShared, name: str) -> None:
        """A node was started; a late one is followed from its first start on."""
        if name not in shared.feed.nodes:
            shared.feed.add(name, partial(self._new_client, name))
        assert self._faults is not None
        self._faults.joined(name)

    async def _ready(self, shared: RunShared, tasks: anyio.abc.TaskGroup) -> None:
        """Every node answers, then every node has the network's first block."""
        timeout = self.plan.playbook.ready_timeout
        give_up = shared.clock.now() + timeout
        begun = [node for node in self._nodes.values() if not node.spec.late]
        await all_of(partial(node.wait_ready, timeout) for node in begun)
        if any(node.adopted for node in self._nodes.values()):
            await self._begin_near_the_head(shared.feed)
        await tasks.start(self._run_feed, shared.feed)
        if await shared.feed.wait_height(1, timeout=max(0.0, give_up - shared.clock.now())):
            await tasks.start(self._watch_vitals, shared)
            return
        lacking = ", ".join(name for name, view in shared.feed.nodes.items() if view.height < 1)
        raise NotReadyError(f"no first block at {lacking} within {timeout:g} s; raise ready_timeout, or see their logs")

    async def _begin_near_the_head(self, feed: BlockFeed) -> None:
        """A chain that was there before may be long. Raises NotReadyError."""
        heights = []
        for node in self._nodes.values():
            try:
                heights.append((await node.client().head()).height)
            except Unreachable as error:
                raise NotReadyError(f"{node.name} answered, and then no more: {error}") from error
        feed.begin_at(max(heights) - feed.finality_depth - 1)

    async def _run_feed(self, feed: BlockFeed, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._feed_scope:
            await feed.run(task_status=task_status)

    async def _watch_vitals(self, shared: RunShared, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._vitals_scope:
            task_status.started()
            nodes, clock, emit = self._nodes.values(), shared.clock, shared.emit
            await all_of((Vitals(nodes, clock, emit).watch, Clocks(nodes, clock, emit).watch))

    async def tear_down(self) -> list[str]:
        """Take down whatever there is; says what is left. Runs shielded, whatever came before."""
        if not self._begun:
            return []
        emit, clock = self.recorder.emit, self.recorder.clock
        left: list[str] = []
        began = clock.now()
        emit(PhaseStarted("teardown"))
        self._feed_scope.cancel()
        self._vitals_scope.cancel()
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "stopping nodes": self._end_nodes,
            "closing connections": self._close_clients,
            "ending the deployment": self._held.release,
        }
        for name, step in steps.items():
            left += await self._take(name, step)
        if self._ledger is not None:
            self._ledger.close()
        emit(PhaseEnded("teardown", not left, clock.now() - began, "; ".join(left)))
        return left

    async def _take(self, name: str, step: Callable[[], Awaitable[object]]) -> list[str]:
        """One step of teardown, bounded in time and by patience. The steps after a broken one are what cleans up, so
        they are gone through whatever this one comes to."""
        try:
            with anyio.move_on_after(STEP_WITHIN) as limit:
                async with self.patience.until_abandoned() as unabandoned:
                    await step()
            if limit.cancelled_caught:
                return [f"{name} took more than {STEP_WITHIN:g} s and was given up"]
            return [f"{name} was abandoned"] if unabandoned.cancelled_caught else []
        except Exception as raised:  # noqa: BLE001 - see above
            error = plain(raised)
            if isinstance(error, HarnessError):
                return [str(error)]
            trace = {"traceback": traceback.format_exc()}
            self.recorder.emit(Note("teardown", "error", f"{type(error).__name__}: {error}", trace))
            return [f"{name}: {type(error).__name__}: {error}"]

    async def _end_nodes(self) -> None:
        nodes = list(self._nodes.values())

        async def hurry() -> None:
            await self.patience.wait_hurry()
            await all_of(node.cut_short for node in nodes)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hurry)
            await all_of(node.let_go for node in nodes)
            tasks.cancel_scope.cancel()

    async def _close_clients(self) -> None:
        await all_of(node.aclose for node in self._nodes.values())


def _dials(plan: Plan, name: str, deployment: Deployment) -> tuple[PeerAddress, ...]:
    return tuple(
        PeerAddress(plan.topology.node(link.dst), deployment.link_address(link))
        for link in plan.topology.links
        if link.src == name
    )
