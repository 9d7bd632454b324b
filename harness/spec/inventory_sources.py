"""What kind of inventory a path is, and reading those that are not TOML, by the programs that know them.

    NAME.toml                        our own reader, harness.spec.inventory_toml
    an executable program            it is run with `--list` (and `--host NAME`): "#!" or ELF at its beginning
    any other file, and a folder     Ansible's `ansible-inventory`: INI, YAML, plugins' configurations, folders of these

What is neither file nor folder (a pipe) is TOML."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import Problem, SpecError
from harness.spec.groups import Group, HostVars
from harness.spec.inventory_listing import META, parse_listing, read_listing
from harness.spec.model import SourceRef
from harness.spec.programs import ProgramFailed, output_of

TIMEOUT = 120.0
"""Seconds for a program to list an inventory: clouds are slow."""
_AT_ONCE = 8
"""Calls of `--host` in parallel."""
_PROGRAM = (b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # scripts, Linux, macOS, macOS universal
_ANSIBLE = "ansible-inventory"
_ANSIBLE_ENV = {
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",  # else what cannot be read is a warning, and an empty inventory
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
}


def is_toml(path: Path) -> bool:
    """Whether our own reader is for it. What is not there is: that reader says so."""
    return path.suffix == ".toml" or not (path.is_file() or path.is_dir())


@dataclass(frozen=True, slots=True)
class Listed:
    """What a program lists: groups, every host's own variables, and, where it has resolved them itself, all variables
    of each host: its word is final then."""

    groups: dict[str, Group]
    hosts: HostVars
    resolved: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_by_program(path: Path) -> Listed:
    """An inventory that is not TOML. Blocks. Raises SpecError."""
    return _read_executable(path) if _is_program(path) else _read_by_ansible(path)


def _is_program(path: Path) -> bool:
    """By its first bytes too: on some file systems everything is executable."""
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_PROGRAM)
    except OSError:  # a program may be executable without being readable
        return True


def _read_executable(path: Path) -> Listed:
    program = str(path.absolute())  # a bare name would be looked up in PATH
    data = parse_listing(_run([program, "--list"], f"{path} --list"), f"{path} --list")

    def ask(hosts: Iterable[str]) -> Mapping[str, Any]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            names = list(hosts)
            return dict(zip(names, threads.map(ask_one, names), strict=True))

    def ask_one(host: str) -> Any:
        name = f"{path} --host {host}"
        output = _run([program, "--host", host], name)
        return parse_listing(output, name) if output.strip() else {}

    return Listed(*read_listing(data, f"{path} --list", SourceRef(str(path)), ask))


def _read_by_ansible(path: Path) -> Listed:
    """With `--export`, which tells groups' variables from hosts', so that it can be said where each comes from; and
    without, since only then does Ansible apply its own precedence: `group_vars/all` beats what a file gives a group."""
    program = _find_ansible(path)
    with ThreadPoolExecutor(2) as threads:
        exported, resolved = threads.map(lambda options: _ansible_list(program, path, *options), [("--export",), ()])
    listed = read_listing(exported, f"{_ANSIBLE} -i {path}", SourceRef(str(path)))
    return Listed(*listed, resolved[META]["hostvars"])


def _ansible_list(program: str, path: Path, *options: str) -> Any:
    name = f"{_ANSIBLE} -i {path}"
    if "," in str(path.absolute()):  # it would take it for a list of hosts
        raise SpecError([Problem(str(path), 0, 0, "", f"cannot be given to {_ANSIBLE}: there is a comma in its path")])
    return parse_listing(_run([program, "-i", str(path.absolute()), "--list", *options], name, _ANSIBLE_ENV), name)


def _find_ansible(path: Path) -> str:
    beside = str(Path(sys.executable).parent)  # of a virtual environment that is not activated
    if found := shutil.which(_ANSIBLE) or shutil.which(_ANSIBLE, path=beside):
        return found
    hint = "install it (pip install ansible-core), or write the inventory in TOML, in a file whose name ends in .toml"
    raise SpecError([Problem(str(path), 0, 0, "", f"is read by Ansible's {_ANSIBLE}, which is not installed", hint)])


def _run(argv: list[str], name: str, env: Mapping[str, str] | None = None) -> bytes:
    try:
        return output_of(argv, timeout=TIMEOUT, env=env)
    except ProgramFailed as error:
        raise SpecError([Problem(name, 0, 0, "", str(error))]) from None
