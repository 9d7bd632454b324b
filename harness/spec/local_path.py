"""Files of the controller as options of plugins: relative to the playbook that names them, and looked for in plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema

FOLDER: Final = "folder"
"""The key in pydantic's validation context that has the folder to which paths are relative."""


def context_for(source: Path | None) -> Mapping[str, Any]:
    """The validation context for the options of a playbook at `source`; without one, of what was built in code: the
    current folder's."""
    return {FOLDER: (source.parent if source is not None else Path()).absolute()}


def _written(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("no file's name holds a NUL")
    if value == "":
        raise ValueError("must not be empty")
    return value


def _found(path: Path, info: ValidationInfo) -> Path:
    try:
        found = (info.context or context_for(None))[FOLDER] / path.expanduser()
        there = found.exists()
    except (RuntimeError, OSError) as error:  # ~somebody, of whom the system knows no home; a loop of links
        raise ValueError(f"cannot be looked for: {error}") from None
    if not there:
        raise ValueError(f"there is no file or folder {found}")
    return Path(found)


LocalPath = Annotated[
    Path, BeforeValidator(_written), AfterValidator(_found), WithJsonSchema({"type": "string", "examples": ["files/x"]})
]
"""For plugins' `Config`s: a file or folder of the controller, absolute and there. In the playbook it is relative to the
playbook's folder; `~` is the user's home."""
