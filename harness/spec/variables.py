"""Variables of a playbook: `[vars]` < a combination of `[matrix]` < `-e` on the command line."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from harness.errors import Problem, UsageError
from harness.spec.secrets import SECRET_VARIABLES, Secret
from harness.spec.template import broken_variable, render, variables_used
from harness.spec.toml_document import KeyPath, TomlDocument


def parse_extra(text: str) -> dict[str, Any]:
    """Variables of one `-e`: `name=value`, the value as TOML where it is (`5`, `true`, `[1, 2]`), else as text;
    or `@FILE`, a TOML file's table. Raises UsageError, SpecError for what the file holds."""
    if text.startswith("@"):
        return dict(TomlDocument.read(Path(text[1:])).data)
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise UsageError(f"-e {text}: this sets nothing; write -e name=value, or -e @file.toml")
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return {name: value}
    # A value with a newline in it can be several statements: then it is text.
    return {name: table["value"] if table.keys() == {"value"} else value}


def parse_extras(texts: Iterable[str]) -> dict[str, Any]:
    """Variables of all `-e`s, later ones winning. Those that are secrets are redacted from now on, since the command
    line is recorded. Raises UsageError."""
    variables: dict[str, Any] = {}
    for text in texts:
        variables.update(parse_extra(text))
    for name in variables.keys() & SECRET_VARIABLES:
        try:
            Secret.of(variables[name], f"-e {name}")
        except ValueError as error:
            raise UsageError(f"-e {name}: {error}") from None
    return variables


def combinations(axes: Mapping[str, Sequence[Any]], extra: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """One dict for each combination of the axes' values, in written order, the last axis fastest.

    An axis that `extra` names has that one value."""
    values = [[extra[name]] if name in extra else axis for name, axis in axes.items()]
    return tuple(dict(zip(axes, row, strict=True)) for row in itertools.product(*values))


def resolve_variables(
    document: TomlDocument, combination: Mapping[str, Any], extra: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """All variables of a run, and the problems of those that could not be filled in.

    Variables may use each other, in whatever order they are written. What `-e` gives is taken as it is."""
    paths: dict[str, KeyPath] = {}
    sources: dict[str, Any] = {}
    for section in ("vars", "matrix"):
        table = document.data.get(section)
        for name, value in table.items() if isinstance(table, Mapping) else ():
            paths[name] = (section, name)
            if section == "vars":
                sources[name] = value
            else:  # an axis that the combination lacks has no values: the playbook's reader says so
                sources[name] = combination[name] if name in combination else broken_variable(name)
    sources = {name: value for name, value in sources.items() if name not in extra}
    variables = dict(extra) | {name: broken_variable(name) for name in sources}  # until its turn comes
    problems: list[Problem] = []
    needs = {
        name: [used for used in sorted(variables_used(value)) if used in sources] for name, value in sources.items()
    }
    while True:
        try:
            order = list(TopologicalSorter(needs).static_order())
            break
        except CycleError as error:
            circle: list[str] = error.args[1]
            text = " → ".join(reversed(circle))
            problems.append(document.problem(paths[circle[0]], f"variables use each other in a circle: {text}"))
            for name in circle:
                needs[name], sources[name] = [], broken_variable(name)
    for name in order:
        rendered = render(sources[name], variables, document.problem, paths[name])
        problems += rendered.problems
        variables[name] = broken_variable(name) if rendered.broken else rendered.value
    return variables, problems
