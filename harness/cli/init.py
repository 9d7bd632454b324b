"""`harness init`: a project folder that runs at once."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from shutil import copyfile

import click

from harness.cli.options import here
from harness.errors import ExitCode, UsageError


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> int:
    """Make DIRECTORY a project: harness.toml, inventories/, playbooks/, plugins/.

    Nothing that is there already is overwritten: when a file of the project exists, nothing is written at all."""
    here()
    with as_file(files("harness.cli") / "skeleton") as skeleton:
        sources = sorted(path for path in skeleton.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        targets = {source: directory / source.relative_to(skeleton) for source in sources}
        if there := [target for target in targets.values() if target.exists()]:
            names = ", ".join(map(str, there))
            raise UsageError(f"{directory}: {names} exists already; name a new folder, or remove it first")
        for source, target in targets.items():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                copyfile(source, target)
            except OSError as error:
                raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
            click.echo(f"wrote {target}")
    click.echo(f"\nNow: cd {directory} && harness run playbooks/quickstart.toml")
    return ExitCode.PASS
