"""A project: the folder with a `harness.toml`, which holds defaults and says that its plugins may be imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILE = "harness.toml"
FORKS = 20
"""Machines that are dealt with at once, unless somebody says otherwise."""
MOST_FORKS = 1000


@dataclass(frozen=True, slots=True)
class Project:
    """Where a run takes its defaults from. `root` None: there is no project, only a folder to work in.

    `plugins` is None without a project: nothing is imported from a folder that is none."""

    root: Path | None
    runs: Path
    inventory: Path | None = None
    plugins: Path | None = None
    output: str = "plain"
    forks: int = FORKS

    @classmethod
    def read(cls, file: Path) -> Project:
        """Raises SpecError with all of the file's problems."""
        from harness.spec.project_model import read_model  # not at the top: pydantic takes a while to load

        model = read_model(file)
        root = file.parent
        inventory = root / model.inventory if model.inventory else None
        return cls(root, root / model.runs, inventory, root / model.plugins, model.output, model.forks)


def find_project(*starts: Path) -> Project:
    """The project of the first of these folders that is in one: its own `harness.toml`, or a parent's.

    Without one: the defaults, with runs kept under the last of these folders. Raises SpecError."""
    for start in starts:
        folder = start.absolute()
        for candidate in (folder, *folder.parents):
            if (candidate / FILE).is_file():
                return Project.read(candidate / FILE)
    return Project(None, starts[-1].absolute() / "runs")
