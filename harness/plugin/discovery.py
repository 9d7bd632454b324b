"""Which plugins there are, without importing any.

Installed plugins say what they provide in the names of their entry points (group `harness`, "KIND.NAME").
A project's own `plugins/*.py` say it in their source, which is read as text (`ast`), never run, for a listing."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

GROUP = "harness"


class Kind(enum.StrEnum):
    """Kinds of plugins; the value is the prefix in an entry point's name."""

    DEPLOYER = "deployer"
    CHAIN = "chain"
    WORKLOAD = "workload"
    EXPECTATION = "expectation"
    FAULT = "fault"
    NEMESIS = "nemesis"
    TASK = "task"
    INVENTORY_SOURCE = "inventory-source"
    COMMAND = "command"
    SCREEN_COMMAND = "screen-command"
    OBSERVER = "observer"

    @property
    def hook(self) -> str:
        irregular = {Kind.OBSERVER: "harness_event", Kind.NEMESIS: "harness_nemeses"}
        return irregular.get(self) or f"harness_{self.value.replace('-', '_')}s"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can be loaded: what it says that it provides, and where it comes from.

    Exactly one of `entry_point`, `file` and `made_from` is set; the last are a family of nemeses and the fault that it
    makes a workload of. `problem` says why it cannot be used, as far as that can be seen from outside."""

    kind: Kind | None
    name: str
    origin: str
    entry_point: EntryPoint | None = None
    file: Path | None = None
    problem: str = ""
    made_from: tuple[Candidate, Candidate] | None = None

    @property
    def source(self) -> str:
        """What is imported to load it: candidates of one source are loaded together."""
        if self.made_from is not None:
            return " and ".join(part.source for part in self.made_from)
        return self.entry_point.module if self.entry_point else str(self.file)


def installed() -> list[Candidate]:
    """Candidates of every installed distribution."""
    shown = cache(_shown)  # it is read out of a distribution's README and all anew each time that it is asked for
    return [_from_entry_point(point, shown(point.dist)) for point in entry_points(group=GROUP)]


def _shown(distribution: Distribution | None) -> str:
    return f"{distribution.name} {distribution.version}" if distribution else "?"


def _from_entry_point(point: EntryPoint, dist: str) -> Candidate:
    kind, dot, name = point.name.partition(".")
    try:
        return Candidate(Kind(kind), name, dist, entry_point=point, problem="" if dot and name else _misnamed(point))
    except ValueError:
        return Candidate(None, point.name, dist, entry_point=point, problem=_misnamed(point))


def _misnamed(point: EntryPoint) -> str:
    kinds = ", ".join(Kind)
    return f'the entry point "{point.name}" is not named KIND.NAME with a KIND of {kinds}'


def in_project(folder: Path) -> list[Candidate]:
    """Candidates of the one-file plugins in a project's plugins folder."""
    return [candidate for file in sorted(folder.glob("*.py")) for candidate in _from_file(file)]


def _from_file(file: Path) -> Iterable[Candidate]:
    origin = f"project file {file}"
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}:{line}: " if line else ""
        return [Candidate(None, file.stem, origin, file=file, problem=f"{where}{getattr(error, 'msg', error)}")]
    names = _class_names(tree.body)
    found = []
    for kind in Kind:
        for function in (f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == kind.hook):
            if kind is Kind.OBSERVER:
                found.append(Candidate(kind, file.stem, origin, file=file))
            for word in {n.id for n in ast.walk(function) if isinstance(n, ast.Name)} & names.keys():
                found.append(Candidate(kind, names[word], origin, file=file))
    if not found:
        hooks = ", ".join(kind.hook for kind in Kind)
        found.append(Candidate(None, file.stem, origin, file=file, problem=f"it has none of the hooks {hooks}"))
    return found


def nemeses(found: Sequence[Candidate]) -> list[Candidate]:
    """A workload for each fault, of each family of nemeses; not where one is written out that has its name."""
    there = {candidate.name for candidate in found if candidate.kind is Kind.WORKLOAD}
    families, faults = ([c for c in found if c.kind is kind and not c.problem] for kind in (Kind.NEMESIS, Kind.FAULT))
    return [
        Candidate(Kind.WORKLOAD, name, fault.origin, made_from=(family, fault))
        for family in families
        for fault in faults
        if (name := f"{family.name}.{fault.name}") not in there
    ]


def _class_names(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Class → the text that its body assigns to `name`."""
    names = {}
    for cls in (s for s in body if isinstance(s, ast.ClassDef)):
        for statement in cls.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(text)))
                    | ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(text)))
                ):
                    names[cls.name] = text
                case _:
                    pass
    return names
