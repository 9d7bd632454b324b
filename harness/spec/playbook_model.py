"""The shape of a playbook as it is written: pydantic at the edge, and what JSON Schema is generated from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from harness.spec.problems import shown
from harness.spec.units import Duration, Span


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


class TopologyModel(_Table):
    """Who peers with whom, and how many nodes of each role: `validators = 4`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[int, Field(ge=0)]] = Field(init=False)
    layout: Literal["star", "chain", "ring", "full", "random"] = "full"
    degree: Annotated[int, Field(ge=1)] | None = None


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
    expectations: list[UseModel] = []
