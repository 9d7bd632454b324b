"""What is wrong with what an inventory says of a host, whatever is to run there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import Problem, SpecError
from harness.spec.connection import Connection
from harness.spec.manage import MANAGE, is_adopted, wrong
from harness.spec.model import SourceRef
from harness.spec.problems import shown


def host_problems(name: str, variables: Mapping[str, Any], places: Mapping[str, SourceRef]) -> list[Problem]:
    """What is wrong with how the host called `name` is to be reached, and with how it is managed. `places` are where
    its variables were written."""
    problems: list[Problem] = []

    def problem(variable: str, message: str, hint: str = "") -> None:
        where = places.get(variable, SourceRef.of_host(name))
        problems.append(Problem(where.file, where.line, where.column, variable, message, hint))

    try:
        Connection.of(name, variables, places)
    except SpecError as error:
        problems += error.problems
    message, hint = wrong(variables)
    if message:
        problem(MANAGE, message, hint)
    if (message or is_adopted(variables)) and not isinstance(variables.get("endpoints", {}), Mapping):
        written = shown(variables["endpoints"])
        hint = f"write endpoints = {{ api = {written} }}, api being the chain's name for the port"
        problem("endpoints", f"must be a table, not {written}", hint)
    return problems
