"""Playbooks: from a TOML file to `harness.spec.model.Playbook`, with all of the file's problems at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import Problem, SpecError
from harness.spec.model import Playbook, PluginUse, SourceRef, TopologySpec, WalletsSpec
from harness.spec.playbook_model import PlaybookModel, TopologyModel
from harness.spec.problems import known_hint, problems_from_validation, shown
from harness.spec.template import is_variable_name, render, variables_used
from harness.spec.toml_document import KeyPath, TomlDocument, show_path
from harness.spec.variables import combinations, resolve_variables

OVERRIDABLE = ("duration", "seed", "ready_timeout", "settle")
"""Keys of a playbook that `-e` may set as if they were variables: `-e duration=20s`."""

_ELSEWHERE = ("ansible_", "harness_")  # variables of inventories, which `-e` sets too
_COMMAND_LINE = SourceRef("-e")


@dataclass(frozen=True, slots=True)
class Draft:
    """A playbook as far as it can be understood. `playbook` is None when there are `problems`.

    The rest is what is sound by itself, so that a checker can look at its options as well: all of a file's
    problems come out at once."""

    playbook: Playbook | None
    problems: tuple[Problem, ...]
    chain: PluginUse | None
    topology: TopologySpec | None
    workloads: tuple[PluginUse, ...]
    expectations: tuple[PluginUse, ...]


@dataclass(frozen=True, slots=True)
class PlaybookFile:
    """A playbook's file, before its variables have values."""

    document: TomlDocument

    def combinations(self, extra: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], ...]:
        """What `[matrix]` asks for: the variables of each run. One run without any, when there is no matrix."""
        # An axis of the wrong shape is a problem that `draft` reports; until then it does no harm.
        matrix = _table(self.document.data, "matrix")
        axes = {name: axis if isinstance(axis, list) else [axis] for name, axis in matrix.items() if axis != []}
        return combinations(axes, extra or {})

    def resolve(
        self, combination: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None, elsewhere: Collection[str] = ()
    ) -> Playbook:
        """The playbook of one run. Raises SpecError with all problems.

        `extra` is what `-e` gave; `elsewhere` are names that it may set though the playbook has no use for them
        (the inventory's variables)."""
        draft = self.draft(combination, extra=extra, elsewhere=elsewhere)
        if draft.playbook is None:
            raise SpecError(draft.problems)
        return draft.playbook

    def draft(
        self, combination: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None, elsewhere: Collection[str] = ()
    ) -> Draft:
        """As `resolve`, for those who want to look for more problems than these before they give up."""
        return _Reader(self.document, combination, extra or {}).draft(elsewhere)


def load_playbook(path: Path) -> PlaybookFile:
    """Raises SpecError for a file that is not there or not TOML."""
    return PlaybookFile(TomlDocument.read(path))


def singular(key: str) -> str:
    """The role that a key of `[topology]` counts: `validators` and `validator` mean the same."""
    if key.endswith(("sses", "xes", "ches", "shes")):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


def role_path(document: TomlDocument, role: str) -> KeyPath:
    """The path of the key that counts this role."""
    table = _table(document.data, "topology")
    return ("topology", next((key for key in table if singular(key) == role), role))


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key)
    return table if isinstance(table, Mapping) else {}


class _Reader:
    def __init__(self, document: TomlDocument, combination: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        self._document = document
        self._extra = extra
        self._declared = {*_table(document.data, "vars"), *_table(document.data, "matrix")}
        self._overrides = {k: extra[k] for k in OVERRIDABLE if k in extra and k not in self._declared}
        self._variables, self._problems = resolve_variables(document, combination, extra)
        verbatim = {key: value for key, value in document.data.items() if key in ("vars", "matrix")}
        body = {k: v for k, v in document.data.items() if k not in verbatim and k not in self._overrides}
        rendered = render(body, self._variables, document.problem)
        self._problems += rendered.problems
        self._broken = rendered.broken
        self._data = {"name": Path(document.file).stem} | rendered.value | verbatim | self._overrides

    def draft(self, elsewhere: Collection[str]) -> Draft:
        model, found = self._validate()
        problems = [*self._problems, *self._check_names(elsewhere), *found]
        uses = self._uses()
        topology = self._topology()
        playbook = None
        if model and topology and not problems:
            playbook = Playbook(
                name=model.name,
                description=model.description,
                chain=uses["chain"][0],
                duration=model.duration,
                topology=topology,
                wallets=WalletsSpec(model.wallets.count, model.wallets.balance),
                workloads=uses["workloads"],
                expectations=uses["expectations"],
                seed=model.seed,
                ready_timeout=model.ready_timeout,
                settle=model.settle,
                budget=model.budget,
                variables=self._variables,
                source=Path(self._document.file),
            )
        chain = next(iter(uses["chain"]), None)
        return Draft(playbook, tuple(sorted(problems)), chain, topology, uses["workloads"], uses["expectations"])

    def _validate(self) -> tuple[PlaybookModel | None, list[Problem]]:
        problems = list(self._check_topology())
        said = {show_path(path) for path in self._broken} | {problem.path for problem in problems}
        try:
            return PlaybookModel.model_validate(self._data), problems
        except ValidationError as error:
            found = problems_from_validation(error, self._document, (), PlaybookModel, data=self._data)
            return None, problems + [self._of_its_source(problem) for problem in found if problem.path not in said]

    def _of_its_source(self, problem: Problem) -> Problem:
        if problem.path in self._overrides:
            return replace(problem, file=_COMMAND_LINE.file, line=_COMMAND_LINE.line, column=_COMMAND_LINE.column)
        return problem

    def _check_names(self, elsewhere: Collection[str]) -> Iterator[Problem]:
        for section in ("vars", "matrix"):
            for name in _table(self._document.data, section):
                if not is_variable_name(name):
                    hint = "a name has letters, digits and _, a letter first, and is no word of Jinja2's"
                    yield self._document.problem((section, name), "no template can name this variable", hint)
        used = self._declared | variables_used(self._document.data)
        for name in self._extra:
            if name in used or name in OVERRIDABLE or name in elsewhere or name.startswith(_ELSEWHERE):
                continue
            hint = known_hint(name, [*sorted(used), *OVERRIDABLE], "-e can set")
            yield Problem(_COMMAND_LINE.file, 0, 0, name, "nothing uses this variable", hint)

    def _check_topology(self) -> Iterator[Problem]:
        """What the model cannot say: any key that is not its own is taken for a role."""
        table = _table(self._data, "topology")
        own = tuple(TopologyModel.model_fields)
        broken = {path[1] for path in self._broken if path[0] == "topology" and len(path) > 1}
        seen: dict[str, str] = {}
        nodes = 0
        for key, value in table.items():
            path = ("topology", key)
            if key in own or key in broken:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                message = f"taken for a role, whose number of nodes must be a whole number, not {shown(value)}"
                yield self._document.problem(path, message, known_hint(key, own, "other keys"))
                continue
            if (role := singular(key)) in seen:
                yield self._document.problem(path, f'the role {role} is there already, as "{seen[role]}"')
            seen[role] = key
            nodes += value
        is_table = isinstance(self._data.get("topology"), Mapping)
        if is_table and not broken and len(seen) == len(table.keys() - own) and not nodes:
            yield self._document.problem(("topology",), "has no nodes", "write how many of each role: validators = 4")
        if "degree" in table and table.get("layout") != "random" and "layout" not in broken:
            hint = 'write layout = "random", or leave degree out'
            yield self._document.problem(("topology", "degree"), "is for the layout random only", hint)

    def _topology(self) -> TopologySpec | None:
        try:
            model = TopologyModel.model_validate(self._data.get("topology"))
        except ValidationError:
            return None
        return TopologySpec(model.layout, {singular(k): n for k, n in (model.model_extra or {}).items()}, model.degree)

    def _uses(self) -> dict[str, tuple[PluginUse, ...]]:
        """Every sound `use` table by section, named apart. One with a broken template in it is not sound: what
        its options will be is not known."""
        counts: dict[str, int] = {}

        def uses() -> Iterator[tuple[str, PluginUse]]:
            for section, path, table in self._use_tables():
                name = table.get("use")
                if not isinstance(name, str) or not name or any(b[: len(path)] == path for b in self._broken):
                    continue
                counts[name] = counts.get(name, 0) + 1
                use_id = name if counts[name] == 1 else f"{name}#{counts[name]}"
                options = {key: value for key, value in table.items() if key != "use"}
                yield section, PluginUse(name, use_id, options, self._document.where(path), path)

        found = list(uses())
        sections = ("chain", "workloads", "expectations")
        return {section: tuple(use for s, use in found if s == section) for section in sections}

    def _use_tables(self) -> Iterator[tuple[str, KeyPath, Mapping[str, Any]]]:
        chain = self._data.get("chain")
        yield "chain", ("chain",), {"use": chain} if isinstance(chain, str) else _table(self._data, "chain")
        for section in ("workloads", "expectations"):
            items = self._data.get(section)
            for index, table in enumerate(items if isinstance(items, list) else ()):
                if isinstance(table, Mapping):
                    yield section, (section, index), table
