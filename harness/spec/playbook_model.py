"""The shape of a playbook as it is written: pydantic at the edge, and what JSON Schema is generated from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.spec.problems import shown
from harness.spec.units import Duration, Moment, Span


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class UseModel(_Table):
    """Which plugin, and its options beside it."""

    model_config = ConfigDict(extra="allow")
    use: Annotated[str, Field(min_length=1, description='write use = "NAME"')]


class TaskModel(UseModel):
    """Which task, on which hosts, as whom, and its options beside it."""

    name: Annotated[str, Field(min_length=1, description="what it is called in output")] | None = None
    hosts: Annotated[str, Field(min_length=1, description="on which of the run's hosts: a host pattern")] = "all"
    become: Annotated[bool, Field(description="do it as root; else as the inventory says of each host")] | None = None


class ExpectationModel(UseModel):
    """Which expectation, when it is judged, and its options beside it."""

    continuous: Annotated[bool, Field(description="judge it also while the run goes on")] = False
    abort: Annotated[bool, Field(description="its first violation ends the run; implies continuous")] = False

    @model_validator(mode="after")
    def _sensible(self) -> ExpectationModel:
        if self.abort and "continuous" in self.model_fields_set and not self.continuous:
            raise ValueError("abort = true needs continuous = true: leave continuous out")
        return self


def _once(value: object) -> None:
    raise ValueError("a step judges once, when its time comes: continuous is for [[expectations]]")


ACTIONS = ("fault", "expect", "heal", "run")
"""What a step can do: exactly one of these keys."""
STEP_KEYS: Mapping[str, Sequence[str]] = {
    "fault": ("at", "after", "targets", "name", "hold"),
    "expect": ("at", "after", "abort"),
    "heal": ("at", "after"),
    "run": ("at", "after", "targets"),
}
"""What may stand beside each of them."""


class StepModel(_Table):
    """One step of the timeline: when, what, and the options of the fault or expectation beside it."""

    model_config = ConfigDict(extra="allow")
    at: Annotated[Moment, Field(description='when: "block 30", or so long after the drive began: "20s"')] | None = None
    after: Annotated[Span, Field(description="so long after the step before it was done")] | None = None
    fault: Annotated[str, Field(min_length=1, description="inject this fault")] | None = None
    expect: Annotated[str, Field(min_length=1, description="judge this expectation now")] | None = None
    heal: Annotated[str, Field(min_length=1, description="heal the fault of this name")] | None = None
    run: Annotated[list[str], Field(min_length=1, description="run this command on nodes' machines")] | None = None
    name: Annotated[str, Field(min_length=1, description="what its fault is called, for heal")] | None = None
    targets: Annotated[str, Field(min_length=1, description="of which nodes: a pattern of names and roles")] = "all"
    hold: Annotated[Span, Field(description="heal the fault after so long, then go on")] | None = None
    abort: Annotated[bool, Field(description="if what it judges fails, end the run at once")] = False
    continuous: Annotated[None, BeforeValidator(_once), Field(description="not of steps")] = None

    @model_validator(mode="after")
    def _one_action(self) -> StepModel:
        asked = [key for key in ACTIONS if getattr(self, key) is not None]
        if len(asked) != 1:
            there = f"it has {' and '.join(asked)}" if asked else "it has none"
            raise ValueError(f"a step has exactly one of {', '.join(ACTIONS)}; {there}")
        if self.at is not None and self.after is not None:
            raise ValueError("a step has at or after, not both")
        for key in ("name", "hold"):
            if getattr(self, key) is not None and self.fault is None:
                raise ValueError(f"{key} is for a step with a fault")
        if self.abort and self.expect is None:
            raise ValueError("abort is for a step with expect")
        return self


class TopologyModel(_Table):
    """Who peers with whom, and how many nodes of each role: `validators = 4`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[int, Field(ge=0)]] = Field(init=False)
    layout: Literal["star", "chain", "ring", "full", "random"] = "full"
    degree: Annotated[int, Field(ge=1)] | None = None
    late: Annotated[str, Field(description="nodes that are ready and not started before a fault starts them")] = ""


class WalletsModel(_Table):
    """Accounts funded at genesis."""

    count: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    balance: Annotated[int, Field(ge=0)] = 1_000_000


def _as_use(value: object) -> object:
    if isinstance(value, str):
        return {"use": value}
    if isinstance(value, Mapping):
        return value
    raise ValueError(f'must be a name, or a table with use = "NAME", not {shown(value)}')


def _lasting(span: Span) -> Span:
    if span.value <= 0:
        raise ValueError(f'must be more than 0, not "{span}"')
    return span


class PlaybookModel(_Table):
    """A playbook, once its variables are filled in."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    chain: Annotated[UseModel, BeforeValidator(_as_use), Field(description='write chain = "NAME"')]
    duration: Annotated[
        Span, AfterValidator(_lasting), Field(description='write how long the workloads run: duration = "60s"')
    ]
    seed: Annotated[int, Field(ge=0)] | None = None
    ready_timeout: Annotated[Duration, Field(gt=0)] = 60.0
    settle: Span | None = None
    budget: Literal["chain", "unlimited"] = "chain"
    vars: dict[str, Any] = {}
    matrix: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    topology: Annotated[TopologyModel, Field(description="write [topology] with a layout and validators = 4")]
    wallets: WalletsModel = WalletsModel()
    prepare: list[TaskModel] = []
    workloads: list[UseModel] = []
    expectations: list[ExpectationModel] = []
    steps: list[StepModel] = []
