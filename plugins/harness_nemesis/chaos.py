"""The nemeses `chaos.*`: faults at random moments, fixed by the seed, within the fault budget.

`chaos.FAULT` is made of any fault that there is; `chaos.mix` draws among several."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Collection, Sequence
from random import Random
from typing import Any, ClassVar, TypeVar

import anyio
from pydantic import Field, create_model, model_validator

from harness.api import (
    Config,
    Context,
    Duration,
    Fault,
    FaultError,
    FaultTurn,
    FaultUse,
    MachineCapability,
    NodeSpec,
    NodeState,
    PlanView,
    Workload,
    format_duration,
    select_nodes,
)
from harness_nemesis.ending import Restart
from harness_nemesis.schedule import Choice, Pace, schedule

_ON_LINKS = frozenset(capability for capability in MachineCapability if capability.name.startswith("LINK_"))


class ChaosConfig(Config):
    """A turn every `min_delay` to `max_delay`, in which the fault holds for `duration`; each node at most once in
    `target_cooldown`, counted from the end. Where `duration` is longer than the delays, faults overlap.

    `targets`: which nodes, as a pattern of names and roles ("validator:!validator-0")."""

    min_delay: Duration = 10.0
    max_delay: Duration = Field(20.0, ge=0.01)  # or turns would never come to the end of the drive
    duration: Duration = 10.0
    target_cooldown: Duration = 15.0
    targets: str = "all"

    @model_validator(mode="after")
    def _ordered(self) -> ChaosConfig:
        if self.min_delay > self.max_delay:
            raise ValueError(
                f"min_delay ({format_duration(self.min_delay)}) is longer than max_delay "
                f"({format_duration(self.max_delay)}); write the shorter one as min_delay"
            )
        return self

    @property
    def pace(self) -> Pace:
        return Pace(self.min_delay, self.max_delay, self.target_cooldown)


ChaosConfigT = TypeVar("ChaosConfigT", bound=ChaosConfig)


class Nemesis(Workload[ChaosConfigT]):
    """Injects faults at random: one after a delay drawn between min_delay and max_delay, then again.

    The moments, the faults and the nodes are fixed by the seed. A node that was disturbed less than target_cooldown
    ago is passed over. A turn is skipped when too few nodes are free, when a node of it does not run or an earlier turn
    of it is not over, or when the fault budget does not allow it at that moment; skipped turns are counted and
    journalled, never given to other nodes."""

    has_schedule = True

    @abstractmethod
    def choices(self) -> Sequence[Choice]:
        """What it draws from."""

    def requires_machine(self) -> frozenset[MachineCapability]:
        return frozenset[MachineCapability]().union(
            *(choice.fault(choice.config).requires_machine() for choice in self.choices())
        )

    def requires_libraries(self) -> frozenset[str]:
        return frozenset[str]().union(*(choice.fault(choice.config).requires_libraries() for choice in self.choices()))

    def acts_on(self) -> str:
        # A link has two ends, and either may be a node that is no target.
        return "all" if self.requires_machine() & _ON_LINKS else self.config.targets

    def check(self, ctx: PlanView) -> Sequence[str]:
        complaints = [*ctx.unmatched("targets", self.config.targets)]
        late = [node.name for node in ctx.nodes if node.late]
        faults = [choice.fault(choice.config) for choice in self.choices()]
        nobody = bool(complaints)  # matches
        for number, fault in enumerate(faults):
            where = self._entry(number)
            of_it = list(fault.check(ctx))
            if not of_it and not nobody:
                targets = fault.choose(self._there(ctx), Random(0))
                if not targets:
                    told = f'of "{self.config.targets}" nobody can be chosen for {fault.name}'
                    of_it.append(told if where else f"targets: {told}")
                elif not any(other.gone(targets) for other in faults if other.name != fault.name):
                    try:
                        fault.comes(targets, late)
                    except FaultError as error:
                        of_it.append(f"{fault.name}: {error}")
            complaints += [f"{where}: {one}" if where else one for one in of_it]
        if ctx.duration <= self.config.min_delay:
            complaints.append(
                f"the first fault comes after min_delay ({format_duration(self.config.min_delay)}), when the "
                f"drive is over ({format_duration(ctx.duration)})"
            )
        return complaints

    def _entry(self, number: int) -> str:
        """The item of an option that is this of the choices, where it is one."""
        return ""

    def _there(self, ctx: PlanView) -> Sequence[str]:
        """Who is there to be disturbed from the beginning."""
        return [node.name for node in select_nodes(self.config.targets, ctx.nodes) if not node.late]

    def describe(self, ctx: PlanView) -> str:
        c = self.config
        what = " or ".join(
            dict.fromkeys(f"{choice.fault.name} for {format_duration(choice.duration)}" for choice in self.choices())
        )
        return (
            f"{what} on {c.targets} every {format_duration(c.min_delay)} to {format_duration(c.max_delay)}, "
            f"each at most once in {format_duration(c.target_cooldown)}"
        )

    def turns(self, ctx: PlanView, rng: Random) -> Sequence[FaultTurn]:
        return self._drawn(ctx.nodes, ctx.duration, rng)

    def _drawn(self, nodes: Sequence[NodeSpec], drive: float, rng: Random) -> list[FaultTurn]:
        names = [node.name for node in select_nodes(self.config.targets, nodes)]
        late = [node.name for node in nodes if node.late]
        return schedule(rng, names, self.choices(), self.config.pace, drive, late)

    async def run(self, ctx: Context) -> None:
        nodes = [node.spec for node in ctx.nodes.values()]
        drawn = self._drawn(nodes, ctx.deadline - ctx.window.start, ctx.rng())
        figures = {"injected": 0, "skipped": 0}
        disturbed: set[str] = set()
        ctx.progress(**figures)

        def skip(number: int, why: str) -> None:
            ctx.faults.skip(number, why, by=ctx.component)
            figures["skipped"] += 1

        async def take(number: int, turn: FaultTurn) -> None:
            why = _objection(ctx, turn, disturbed)
            # As it was, if later: nodes may be slower to come back than they were then.
            while why and turn.taken and await ctx.faults.one_over():
                why = _objection(ctx, turn, disturbed)
            if why:
                skip(number, why)
            else:
                disturbed.update(turn.targets)
                async with ctx.faults.apply(
                    turn.make(), [ctx.nodes[name] for name in turn.targets], by=ctx.component, turn=number
                ):
                    figures["injected"] += 1
                    ctx.progress(**figures)
                    await ctx.clock.sleep_until(min(ctx.clock.now() + turn.duration, ctx.deadline))
                disturbed.difference_update(turn.targets)
            ctx.progress(**figures)

        async with anyio.create_task_group() as tasks:
            for number, turn in enumerate(ctx.faults.schedule(drawn, by=ctx.component)):
                await ctx.clock.sleep_until(ctx.window.start + turn.at)
                if await ctx.unpaused():
                    skip(number, "the run was paused when its time came")
                    continue
                tasks.start_soon(take, number, turn)
        if not figures["injected"]:
            # What was to be judged is how the network bears faults: without any, no verdict says that.
            raise FaultError(f"nothing was disturbed: {figures['skipped']} turns came, all were skipped")


def _objection(ctx: Context, turn: FaultTurn, disturbed: Collection[str]) -> str:
    """Why this cannot be done now, "" when it can. `disturbed` are under an earlier turn still, which took longer to be
    proven or healed than there was time for."""
    if turn.taken is False:
        return "it was not taken in the run that is played again"
    if ctx.clock.now() >= ctx.deadline:
        return "the drive is over"
    if not turn.targets:
        return "too few nodes are free, or absent ones to come: the others are cooling down"
    for name in turn.targets:
        if ctx.nodes[name].state is not NodeState.RUNNING:
            return f"{name} does not run: it is {ctx.nodes[name].state}"
        if name in disturbed:
            return f"{name} is still under an earlier turn"
    return ctx.faults.refuses(turn.make(), [ctx.nodes[name] for name in turn.targets])


class _OfOneFault(Nemesis[ChaosConfig]):
    """Its options are the fault's and the nemesis's, in one table."""

    fault: ClassVar[type[Fault[Any]]]

    def choices(self) -> Sequence[Choice]:
        written = self.config.model_fields_set & self.fault.Config.model_fields.keys()
        # They have been validated already: as they were written, by a model that has all of the fault's validators.
        options = {name: getattr(self.config, name) for name in written}
        config = self.fault.Config.model_construct(_fields_set=set(written), **options)
        return (Choice(self.fault, config, self.config.duration),)


def chaos_of(fault: type[Fault[Any]], base: type[ChaosConfig] = ChaosConfig) -> type[_OfOneFault]:
    """The nemesis that injects this fault alone. Raises TypeError for a fault whose options cannot stand beside a
    nemesis's, because they have the same names."""
    if taken := base.model_fields.keys() & fault.Config.model_fields.keys():
        raise TypeError(f"its options {', '.join(sorted(taken))} are options of every nemesis")
    about = "\n\n".join(filter(None, map(inspect.cleandoc, (base.__doc__ or "", fault.Config.__doc__ or ""))))
    config = create_model(f"Chaos{fault.__name__}Config", __base__=(base, fault.Config), __doc__=about)
    summary, _, more = inspect.cleandoc(fault.__doc__ or "").partition("\n\n")
    doc = f"The fault `{fault.name}`, at random.\n\n{summary}\n\n{more}\n\n{inspect.cleandoc(Nemesis.__doc__ or '')}"
    attributes = {"name": f"chaos.{fault.name}", "Config": config, "fault": fault, "__doc__": doc}
    return type(f"Chaos{fault.__name__}", (_OfOneFault,), {**attributes, "__module__": __name__})


class ChaosRestartConfig(ChaosConfig):
    """A restart every `min_delay` to `max_delay`, each node at most once in `target_cooldown`, counted from when it is
    started again.

    `targets`: which nodes, as a pattern of names and roles ("validator:!validator-0"). `duration`, or `down`: how long
    a node stays down."""

    duration: Duration = 0.0
    down: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, options: Any) -> Any:
        if not isinstance(options, dict) or options.get("down") is None:
            return options
        if options.get("duration", options["down"]) != options["down"]:
            raise ValueError("down and duration say the same: write one of them")
        return {**options, "duration": options["down"]}


ChaosRestart = chaos_of(Restart, ChaosRestartConfig)


class WeightedFault(FaultUse):
    """A fault with its options, drawn `weight` times as often as one of weight 1, and its own `duration` where it is
    not to be the nemesis's."""

    weight: float = Field(default=1.0, gt=0, le=1e6)
    duration: Duration | None = None


class ChaosMixConfig(ChaosConfig):
    """A turn every `min_delay` to `max_delay`, in which a fault drawn among `faults` holds for `duration`; each node at
    most once in `target_cooldown`, counted from the end. Where `duration` is longer than the delays, faults overlap.

    `faults`: [{use = "kill", weight = 2}, {use = "pause", duration = "5s"}], with each fault's own options beside.
    `targets`: which nodes, as a pattern of names and roles ("validator:!validator-0")."""

    faults: tuple[WeightedFault, ...] = Field(min_length=1)


class ChaosMix(Nemesis[ChaosMixConfig]):
    """Several faults, drawn by their weights, at random.

    The moments, the faults and the nodes are fixed by the seed. A node that was disturbed less than target_cooldown
    ago is passed over. A turn is skipped when too few nodes are free, when a node of it does not run or an earlier turn
    of it is not over, or when the fault budget does not allow it at that moment; skipped turns are counted and
    journalled, never given to other nodes."""

    name = "chaos.mix"
    Config = ChaosMixConfig

    def choices(self) -> Sequence[Choice]:
        return [
            Choice(use.fault, use.config, self.config.duration if use.duration is None else use.duration, use.weight)
            for use in self.config.faults
        ]

    def _entry(self, number: int) -> str:
        return f"faults[{number}]"
