"""The variable `manage`: whether a host's node is the harness's to deploy, or runs already and is to be adopted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.spec.problems import did_you_mean, shown

MANAGE: Final = "manage"
ADOPT, DEPLOY = "adopt", "deploy"


def is_adopted(variables: Mapping[str, Any]) -> bool:
    """Whether a host's variables (name → value) ask for its node to be adopted, however wrong others may be."""
    return bool(variables.get(MANAGE) == ADOPT)


def is_machine(variables: Mapping[str, Any]) -> bool:
    """Whether a host is a machine to the harness: one whose node is adopted by its endpoints alone is none."""
    return not is_adopted(variables) or "unit" in variables or "pid_file" in variables


def wrong(variables: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with a host's `manage`, and what may have been meant; "" where nothing is."""
    manage = variables.get(MANAGE)
    if manage is None or manage in (ADOPT, DEPLOY):
        return "", ""
    guess = did_you_mean(manage, (ADOPT, DEPLOY)) if isinstance(manage, str) else ""
    return f'must be "adopt" or "deploy", not {shown(manage)}', guess
