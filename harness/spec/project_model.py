"""What may stand in a `harness.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import SpecError
from harness.spec.problems import problems_from_validation
from harness.spec.project import FORKS, MOST_FORKS
from harness.spec.toml_document import TomlDocument

_Text = Annotated[str, Field(min_length=1)]


class ProjectModel(BaseModel):
    """Paths are relative to its folder."""

    model_config = ConfigDict(extra="forbid", strict=True)
    inventory: _Text | None = None
    runs: _Text = "runs"
    plugins: _Text = "plugins"
    output: Literal["plain", "json"] = "plain"
    forks: Annotated[int, Field(ge=1, le=MOST_FORKS)] = FORKS


def read_model(file: Path) -> ProjectModel:
    """Raises SpecError with all of the file's problems."""
    document = TomlDocument.read(file)
    try:
        return ProjectModel.model_validate(document.data)
    except ValidationError as error:
        raise SpecError(problems_from_validation(error, document, (), ProjectModel)) from None
