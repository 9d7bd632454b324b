"""All that is wrong with what is to be run, as far as it can be known at once: of its files, and of its machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.engine.foresight import refused
from harness.engine.plan import Outline
from harness.engine.target import Target
from harness.errors import HarnessError, Problem, SpecError


@dataclass(slots=True)
class Findings:
    """What is wrong: problems of files at their places, and errors that have none."""

    problems: set[Problem] = field(default_factory=set)
    errors: dict[str, HarnessError] = field(default_factory=dict)

    def add(self, error: HarnessError) -> None:
        if isinstance(error, SpecError):
            self.problems.update(error.problems)
        else:
            self.errors[str(error)] = error

    def __bool__(self) -> bool:
        return bool(self.problems or self.errors)


async def against(outlines: Sequence[Outline], choose: Callable[[], Target], *, machines: bool = True) -> Findings:
    """What is wrong with these, on the target that is chosen. Machines are asked (where `machines` says so) only once
    nothing is wrong with the files: who has mistyped something need not wait for them."""
    found = Findings({problem for outline in outlines for problem in outline.problems})
    try:
        target = choose()
    except HarnessError as error:
        found.add(error)
        return found
    for plan in (outline.plan for outline in outlines):
        if plan is None:
            continue
        try:
            if not target.adopts:
                found.problems.update(refused(plan))
            await target.assigned(plan)
        except HarnessError as error:
            found.add(error)
    if machines and not found:
        for outline in outlines:
            try:
                await target.check(outline.sound())
            except HarnessError as error:
                found.add(error)
    return found
