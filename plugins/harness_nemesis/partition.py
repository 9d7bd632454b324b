"""The fault `partition`: parts of the network do not hear each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal

from pydantic import Field, model_validator

from harness.api import PlanView, UsageError
from harness_nemesis import grudge as grudges
from harness_nemesis.cutting import Cut
from harness_nemesis.grudge import Grudge, Powers
from harness_nemesis.shaping import LinkConfig

Shape = Literal[
    "isolate", "halves", "majority-minority", "bridge", "majorities-ring", "asymmetric", "role", "groups", "grudge"
]
DRAWN: Mapping[str, tuple[int, Callable[[Sequence[str], Powers], Grudge]]] = {
    "isolate": (1, grudges.isolate),
    "halves": (2, grudges.halves),
    "majority-minority": (2, grudges.majority_minority),
    "bridge": (3, grudges.bridge),
    "majorities-ring": (4, grudges.majorities_ring),
    "asymmetric": (2, grudges.asymmetric),
}
"""Shapes that are made of the targets, and how many of them they need."""


class PartitionConfig(LinkConfig):
    """`shape`: how the targets are parted, those who are no targets being with the first of them:

    - "isolate": each target from all other nodes (a nemesis draws one)
    - "halves": one half of their voting power from the other, as nearly as that can be
    - "majority-minority": so many that they have less than a third of the voting power, one at least, from the others
    - "bridge": halves, and one node that sees both
    - "majorities-ring": each sees a majority, no two the same
    - "asymmetric": halves of which one does not hear the other, which hears it
    - "role": the nodes of `role` from all others
    - "groups": `groups` from one another, each a list of node patterns; who is in none is with the first
    - "grudge": as `grudge` says: pattern of nodes → patterns of those whose traffic they drop

    The last three need no `shape`: their own option says it. They say themselves whom they part; the targets are then
    only who counts as disturbed."""

    shape: Shape | None = None
    role: str = ""
    groups: tuple[tuple[str, ...], ...] = ()
    grudge: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def kind(self) -> Shape:
        if self.shape is not None:
            return self.shape
        return "role" if self.role else "groups" if self.groups else "grudge" if self.grudge else "halves"

    @model_validator(mode="after")
    def _one_shape(self) -> PartitionConfig:
        for option in ("role", "groups", "grudge"):
            if self.kind == option and not getattr(self, option):
                raise ValueError(f'shape = "{option}" needs the option {option}')
            if self.kind != option and getattr(self, option):
                raise ValueError(f'{option} is for shape = "{option}", and the shape is "{self.kind}"')
        return self


class Partition(Cut[PartitionConfig]):
    """Parts of the network do not hear each other: packets between them vanish, as on a broken line; nothing is closed
    or refused.

    Proven by dialling all links across the cut, none of which may connect, and of the others at most a hundred, which
    still must. Healed when those that could be dialled before can be dialled again. Nodes that do not run are not
    judged."""

    name = "partition"
    Config = PartitionConfig

    def check(self, ctx: PlanView) -> Sequence[str]:
        if self.config.kind in DRAWN:
            return ()
        try:
            parted = self.grudge((), dict.fromkeys(ctx.node_names, 1))
        except UsageError as error:
            return (str(error),)
        return () if any(parted.values()) else (f"{self.config.kind}: it parts nobody from anybody",)

    def choose(self, free: Sequence[str], rng: Random) -> Sequence[str]:
        kind = self.config.kind
        if kind not in DRAWN:
            return tuple(free)
        least, _ = DRAWN[kind]
        return tuple(rng.sample(free, 1 if kind == "isolate" else len(free))) if len(free) >= least else ()

    def grudge(self, targets: Sequence[str], powers: Powers) -> Grudge:
        c = self.config
        if c.kind in DRAWN:
            return DRAWN[c.kind][1](targets, powers)
        if c.kind == "role":
            return grudges.of_role(c.role, powers)
        return grudges.of_groups(c.groups, powers) if c.kind == "groups" else grudges.explicit(c.grudge, powers)
