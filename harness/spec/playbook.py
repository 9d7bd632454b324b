"""Playbooks: from a TOML file to `harness.spec.model.Playbook`, with all of the file's problems at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import Problem, SpecError
from harness.spec.model import Playbook, PluginUse, SourceRef, StepUse, TaskUse, TopologySpec, WalletsSpec
from harness.spec.playbook_model import ACTIONS, ExpectationModel, PlaybookModel, StepModel, TaskModel, TopologyModel
from harness.spec.problems import known_hint, problems_from_validation, shown
from harness.spec.template import is_variable_name, render, variables_used
from harness.spec.toml_document import KeyPath, TomlDocument
from harness.spec.variables import combinations, resolve_variables

OVERRIDABLE = ("duration", "seed", "ready_timeout", "settle")
"""Keys of a playbook that `-e` may set as if they were variables: `-e duration=20s`."""

MAX_RUNS = 1_000
"""Runs that one playbook may make."""
MAX_NODES = 10_000
MAX_LINKED = 1_000
"""Nodes where a layout looks at every pair of them."""

_ELSEWHERE = ("ansible_", "harness_")  # variables of inventories, which `-e` sets too
_COMMAND_LINE = SourceRef("-e")
_PLUGIN_STEPS = ("fault", "expect")
"""Keys of a step that name a plugin, whose options stand beside them."""
_LISTS = ("prepare", "workloads", "expectations", "steps")
"""Lists of tables of which one that is wrong says nothing of the others."""
_ASIDE = ("description", "ready_timeout", "settle")
"""Keys that say nothing of the others."""
_OWN_KEYS: Mapping[str, Collection[str]] = {
    "steps": {"use", *StepModel.model_fields},
    "expectations": set(ExpectationModel.model_fields),
}
"""Keys that are not the plugin's, by section, where there are more than `use`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A playbook as far as it can be understood. Where there are `problems`, `playbook` is what makes sense of it, its
    steps up to the first that does not, and None where what does not may be about all of it.

    The rest is what can be looked at all the same, so that all of a file's problems come out at once. `broken` are the
    paths of templates that could not be filled in: they stand as they were written, and nothing is known of them. A
    role whose count is not known counts 1."""

    playbook: Playbook | None
    problems: tuple[Problem, ...]
    chain: PluginUse | None
    topology: TopologySpec | None
    workloads: tuple[PluginUse, ...]
    expectations: tuple[PluginUse, ...]
    prepare: tuple[TaskUse, ...] = ()
    steps: tuple[StepUse, ...] = ()
    broken: tuple[KeyPath, ...] = ()
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class PlaybookFile:
    """A playbook's file, before its variables have values."""

    document: TomlDocument

    def combinations(self, extra: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], ...]:
        """What `[matrix]` asks for: the variables of each run. One run without any, when there is no matrix."""
        # An axis of the wrong shape and too many runs are problems that `draft` reports; until then they do no harm.
        axes = _axes(self.document)
        if _count(axes, extra or {}) > MAX_RUNS:
            axes = {name: axis[:1] for name, axis in axes.items()}
        return combinations(axes, extra or {})

    def resolve(
        self, combination: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None, elsewhere: Collection[str] = ()
    ) -> Playbook:
        """The playbook of one run. Raises SpecError with all problems.

        `extra` is what `-e` gave; `elsewhere` are names that it may set though the playbook has no use for them
        (the inventory's variables)."""
        draft = self.draft(combination, extra=extra, elsewhere=elsewhere)
        if draft.playbook is None or draft.problems:
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


def _axes(document: TomlDocument) -> dict[str, list[Any]]:
    matrix = _table(document.data, "matrix")
    return {name: axis if isinstance(axis, list) else [axis] for name, axis in matrix.items() if axis != []}


def _count(axes: Mapping[str, list[Any]], extra: Mapping[str, Any]) -> int:
    return math.prod(len(axis) for name, axis in axes.items() if name not in extra)


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = data.get(key)
    return table if isinstance(table, Mapping) else {}


def _named_apart(tasks: Iterable[TaskUse]) -> tuple[TaskUse, ...]:
    """The second of a name gets `#2`, as with what is used twice."""
    counts: dict[str, int] = {}
    apart = []
    for task in tasks:
        counts[task.label] = counts.get(task.label, 0) + 1
        apart.append(replace(task, name=f"{task.label}#{counts[task.label]}") if counts[task.label] > 1 else task)
    return tuple(apart)


class Apart:
    """Names the uses of a playbook apart, in the order of its sections: the second of a plugin gets `#2`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __call__(self, use: PluginUse) -> PluginUse:
        count = self._counts[use.use] = self._counts.get(use.use, 0) + 1
        return use if count == 1 else replace(use, id=f"{use.use}#{count}")


def step_use(step: StepModel, index: int, where: SourceRef, path: KeyPath, use: PluginUse | None) -> StepUse:
    """What a step comes down to; `use` is its fault or expectation, where it has one."""
    action = next(key for key in ACTIONS if getattr(step, key) is not None)
    argv = tuple(step.run or ())
    return StepUse(
        label=f"step {index + 1}",
        action=action,
        what=argv[0] if action == "run" else getattr(step, action),
        where=where,
        path=path,
        use=use,
        at=step.at,
        after=step.after,
        name=step.name or "",
        targets=step.targets,
        hold=step.hold,
        argv=argv,
        abort=step.abort,
    )


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
        problems = [*self._problems, *self._check_names(elsewhere), *self._check_matrix(), *found]
        uses = self._uses()
        prepare = _named_apart(map(self._task, uses["prepare"]))
        steps = self._steps(uses["steps"], model)
        topology = self._topology()
        source = Path(self._document.file)
        playbook = None
        if model and topology:
            playbook = Playbook(
                name=model.name,
                description=model.description,
                chain=uses["chain"][0],
                duration=model.duration,
                topology=topology,
                wallets=WalletsSpec(model.wallets.count, model.wallets.balance),
                workloads=uses["workloads"],
                expectations=uses["expectations"],
                prepare=prepare,
                steps=steps,
                seed=model.seed,
                ready_timeout=model.ready_timeout,
                settle=model.settle,
                budget=model.budget,
                variables=self._variables,
                source=source,
            )
        chain = next(iter(uses["chain"]), None)
        return Draft(
            playbook=playbook,
            problems=tuple(sorted(problems)),
            chain=chain,
            topology=topology,
            workloads=uses["workloads"],
            expectations=uses["expectations"],
            prepare=prepare,
            steps=steps,
            broken=self._broken,
            source=source,
        )

    def _validate(self) -> tuple[PlaybookModel | None, list[Problem]]:
        problems = list(self._check_topology())
        said = {problem.path for problem in problems}
        try:
            return PlaybookModel.model_validate(self._data), problems
        except ValidationError as error:
            found = problems_from_validation(
                error, self._document, (), PlaybookModel, data=self._data, broken=self._broken
            )
            wrong = {*self._broken, *(detail["loc"] for detail in error.errors(include_url=False))}
            return self._sound({path[:2] for path in wrong}), problems + [
                self._of_its_source(problem) for problem in found if problem.path not in said
            ]

    def _sound(self, wrong: Collection[KeyPath]) -> PlaybookModel | None:
        """Of all but what is wrong, where that leaves no doubt about the rest. `wrong` are keys, and items of lists."""
        if any(path[0] not in _ASIDE and (path[0] not in _LISTS or len(path) < 2) for path in wrong):
            return None
        data = {key: value for key, value in self._data.items() if key not in {path[0] for path in wrong}}
        for key in {path[0] for path in wrong}.intersection(_LISTS):
            kept = [(key, index) not in wrong for index in range(len(self._data[key]))]
            if key == "steps":  # what comes after one of them depends on it
                kept = kept[: kept.index(False)]
            data[key] = list(compress(self._data[key], kept))
        return PlaybookModel.model_validate(data)

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

    def _check_matrix(self) -> Iterator[Problem]:
        axes = _axes(self._document)
        if (runs := _count(axes, self._extra)) > MAX_RUNS:
            yield self._document.problem(("matrix",), f"makes {runs:,} runs; at most {MAX_RUNS:,} are possible")
        used = variables_used(self._document.data)
        for name, axis in axes.items():
            path = ("matrix", name)
            for index, value in enumerate(axis):
                if any(value == other and type(value) is type(other) for other in axis[:index]):
                    yield self._document.problem((*path, index), f"{shown(value)} is there already")
            # A template with a problem may be the one that meant it.
            if name not in used and is_variable_name(name) and not self._problems:
                yield self._document.problem(path, "nothing uses this variable", f'use it: "{{{{ {name} }}}}"')

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
        layout = table.get("layout", TopologyModel.model_fields["layout"].default)
        most = MAX_LINKED if layout in ("full", "random") else MAX_NODES
        if nodes > most:
            within = f" with the layout {layout}" if most < MAX_NODES else ""
            yield self._document.problem(("topology",), f"has {nodes:,} nodes; at most {most:,} are possible{within}")
        degree = table.get("degree")
        if layout == "random" and type(degree) is int and not broken and degree >= nodes > 0:
            others = f"there {'is 1 other node' if nodes == 2 else f'are {nodes - 1:,} other nodes'}"
            yield self._document.problem(("topology", "degree"), f"degree {degree}, but {others}")
        if "degree" in table and layout != "random" and "layout" not in broken:
            hint = 'write layout = "random", or leave degree out'
            yield self._document.problem(("topology", "degree"), "is for the layout random only", hint)

    def _topology(self) -> TopologySpec | None:
        table = self._data.get("topology")
        if not isinstance(table, Mapping):
            return None
        roles: dict[str, int] = {}
        for key, count in table.items():
            if key in TopologyModel.model_fields:
                continue
            if ("topology", key) in self._broken:
                count = 1
            if type(count) is int and count >= 0:
                roles[singular(key)] = count
        layout, degree = table.get("layout"), table.get("degree")
        known = layout if isinstance(layout, str) else TopologyModel.model_fields["layout"].default
        late = table.get("late")
        return TopologySpec(
            known, roles, degree if type(degree) is int else None, late if isinstance(late, str) else ""
        )

    def _uses(self) -> dict[str, tuple[PluginUse, ...]]:
        """Every `use` table by section, named apart, but those of which it is not known what they use."""
        apart = Apart()

        def uses() -> Iterator[tuple[str, PluginUse]]:
            for section, path, table in self._use_tables():
                name = table.get("use")
                if not isinstance(name, str) or not name or {path, (*path, "use")} & set(self._broken):
                    continue
                options = {key: value for key, value in table.items() if key not in _OWN_KEYS.get(section, ("use",))}
                of_expectations = section == "expectations"
                abort = of_expectations and table.get("abort") is True
                continuous = abort or (of_expectations and table.get("continuous") is True)
                where = self._document.where(path)
                yield section, apart(PluginUse(name, name, options, where, path, continuous, abort))

        found = list(uses())
        sections = ("chain", "prepare", "workloads", "expectations", "steps")
        return {section: tuple(use for s, use in found if s == section) for section in sections}

    def _task(self, use: PluginUse) -> TaskUse:
        """Its own keys apart from the plugin's; those of the wrong kind, which the model tells of, as if they were not
        there."""
        of_tasks = set(TaskModel.model_fields)
        own = {key: value for key, value in use.options.items() if key not in of_tasks}
        name, hosts, become = (use.options.get(key) for key in ("name", "hosts", "become"))
        return TaskUse(
            use=replace(use, options=own),
            name=name if isinstance(name, str) else "",
            hosts=hosts if isinstance(hosts, str) else TaskModel.model_fields["hosts"].default,
            hosts_at=self._document.where((*use.path, "hosts")),
            become=become if isinstance(become, bool) else None,
        )

    def _steps(self, uses: Sequence[PluginUse], model: PlaybookModel | None) -> tuple[StepUse, ...]:
        """None before the whole makes sense: what its plugins have to say of their options comes without them."""
        by_path = {use.path: use for use in uses}
        steps = []
        for index, step in enumerate(model.steps if model is not None else ()):
            path = ("steps", index)
            steps.append(step_use(step, index, self._document.where(path), path, by_path.get(path)))
        return tuple(steps)

    def _use_tables(self) -> Iterator[tuple[str, KeyPath, Mapping[str, Any]]]:
        chain = self._data.get("chain")
        yield "chain", ("chain",), {"use": chain} if isinstance(chain, str) else _table(self._data, "chain")
        for section in ("prepare", "workloads", "expectations"):
            items = self._data.get(section)
            for index, table in enumerate(items if isinstance(items, list) else ()):
                if isinstance(table, Mapping):
                    yield section, (section, index), table
        steps = self._data.get("steps")
        for index, table in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(table, Mapping) and (key := next((key for key in _PLUGIN_STEPS if key in table), "")):
                yield "steps", ("steps", index), {**table, "use": table[key]}
