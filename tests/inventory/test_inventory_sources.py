"""Inventories that programs list: which path is what, and what is said when a program does not do its job."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.spec import inventory_sources
from harness.spec.inventory import Inventory
from harness.spec.inventory_sources import is_toml

Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Make an executable of this shell script."""

    def make(script: str, name: str = "inventory") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def said(path: Path) -> str:
    with pytest.raises(SpecError) as error:
        Inventory.read(path)
    return str(error.value)


def test_what_is_which(tmp_path: Path, program: Program) -> None:
    toml = program("", "executable.toml")
    toml.write_text("[all.hosts]\nh = {}\n")  # .toml is TOML, also where everything is executable
    assert is_toml(toml)
    assert Inventory.read(toml).hosts == ("h",)
    assert is_toml(tmp_path / "missing.ini")
    assert said(tmp_path / "missing.ini") == f"{tmp_path / 'missing.ini'}: there is no such file"
    assert not is_toml(tmp_path)
    assert not is_toml(program(""))


def test_text_that_is_executable_by_accident_is_read_by_ansible(ansible_home: object, program: Program) -> None:
    path = program("", "hosts.ini")
    path.write_text("[web]\na\n")
    assert Inventory.read(path).hosts_of("web") == ("a",)


def test_a_pipe_is_toml(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[all.hosts]\nh = {}\n")
    os.close(writer)
    assert Inventory.read(Path(f"/dev/fd/{reader}")).hosts == ("h",)
    os.close(reader)


def test_a_program_is_run_as_it_is_called(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell looks at its name, and no PATH is searched for it."""
    name = "in ventory';$(touch pwned)"
    program('echo "{\\"all\\": {\\"hosts\\": [\\"$#\\", \\"$1\\"]}, \\"_meta\\": {\\"hostvars\\": {}}}"', name)
    monkeypatch.chdir(tmp_path)
    assert Inventory.read(Path(name)).hosts == ("1", "--list")
    assert not (tmp_path / "pwned").exists()


def test_without_meta_each_host_is_asked_for(program: Program) -> None:
    path = program(
        """[ "$1" = --list ] && exec echo '{"g": ["a b", "--c"]}'\n[ "$2" = --c ] || printf '{"said": "%s"}' "$1 $2" """
    )
    inventory = Inventory.read(path)
    assert inventory.variables("a b")["said"].value == "--host a b"
    assert inventory.variables("a b")["said"].source == f"{path} [host]"
    assert inventory.variables("--c") == {}  # it prints nothing, which is no variables


def test_variables_say_which_group_they_are_of(program: Program) -> None:
    path = program("""echo '{"g": {"hosts": ["a"], "vars": {"v": 1}}, "_meta": {"hostvars": {"a": {"w": 2}}}}'""")
    sources = {name: origin.source for name, origin in Inventory.read(path).variables("a").items()}
    assert sources == {"v": f"{path} [group g]", "w": f"{path} [host]"}


def test_programs_that_fail_are_quoted(program: Program) -> None:
    path = program("echo one >&2; echo 'no token' >&2; exit 3")
    assert said(path) == f"{path} --list: exits with 3; it says: one / no token"
    path = program("""[ "$1" = --list ] && exec echo '{"g": ["a"]}'\necho 'who?' >&2; exit 1""")
    assert said(path) == f"{path} --host a: exits with 1; it says: who?"
    path = program("kill -9 $$")
    assert said(path) == f"{path} --list: was killed by signal 9"
    path.write_text("#!/no/such/interpreter\n")
    assert said(path) == f"{path} --list: cannot be run: No such file or directory"


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_sources, "TIMEOUT", 0.5)
    path = program(f"sleep 1000 & echo $! > '{tmp_path}/pid'\nsleep 1000")
    assert said(path) == f"{path} --list: did not end within 0.5 s"
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while is_running(child):  # it is killed, but has to be scheduled once more to die
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("", ":1:1: prints nothing"),
        ('{"g": [\n  "a",,\n]}', ":2:7: prints no JSON: expecting value"),
        ("{} trailing", ":1:4: prints no JSON: extra data"),
        ("[" * 100_000, ": prints JSON that is nested too deep"),
        ("9" * 5_000, ": prints JSON that cannot be read: Exceeds the limit (4300 digits) for integer string "
                      "conversion: value has 5000 digits; use sys.set_int_max_str_digits() to increase the limit"),
        ("[]", ": must be an object of groups, not a list"),
        ('{"g": 3}', ": g.hosts: must be a list of names, not 3"),
        ('{"g": {"hosts": "a"}}', ': g.hosts: must be a list of names, not "a"'),
        ('{"g": {"hosts": [1]}}', ": g.hosts[0]: must be a name, not 1"),
        ('{"g": [""]}', ": g.hosts[0]: must be a host's name, not an empty one"),
        ('{"g": {"vars": []}}', ": g.vars: must be an object of variables, not a list"),
        ('{"g": {"children": {}}}', ": g.children: must be a list of names, not a table"),
        ('{"g": {"children": ["all"]}}', ": g.children[0]: all is the parent of every group, so it is no child"),
        ('{"g": {"children": ["g"]}}', ": g.children: groups are children of each other in a circle: g → g"),
        ('{"g": {"vars": {"ansible_group_priority": "x"}}}',
         ': g.vars.ansible_group_priority: must be a whole number, not "x"'),
        ('{"g": {}}', ': g: has neither hosts nor children nor vars; Ansible takes it for a host; '
                      'an empty group is written {"hosts": []}'),
        ('{"_meta": []}', ": _meta: must have an object hostvars, with the variables of each host"),
        ('{"g": ["a"], "_meta": {"hostvars": {"a": 3}}}',
         ": _meta.hostvars.a: must be an object of variables, not 3"),
        ('{"g": {"hosts": [1], "children": [2]}, "h": 3}',
         ": g.children[0]: must be a name, not 2\n{}: g.hosts[0]: must be a name, not 1\n"
         "{}: h.hosts: must be a list of names, not 3"),
    ],
)  # fmt: skip
def test_wrong_output(program: Program, tmp_path: Path, output: str, problem: str) -> None:
    (tmp_path / "output").write_text(output)
    path = program(f"cat '{tmp_path}/output'")
    source = f"{path} --list"
    assert said(path) == source + problem.replace("{}", source)


def test_output_that_is_no_text(program: Program) -> None:
    path = program(r"printf '{\n \377'")
    assert said(path) == f"{path} --list:2:2: prints something that is not UTF-8 text"


def test_what_ansible_cannot_read_is_said_in_its_words(ansible_home: object, tmp_path: Path) -> None:
    broken = tmp_path / "hosts.yaml"
    broken.write_text("all: {hosts: [")
    told = said(broken)
    assert told.startswith(f"ansible-inventory -i {broken}: exits with ")
    assert "hosts.yaml" in told.partition("it says: ")[2]
    comma = tmp_path / "a,b.ini"
    comma.write_text("a\n")
    assert said(comma) == f"{comma}: cannot be given to ansible-inventory: there is a comma in its path"


def test_without_ansible_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text("a\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert said(path) == (
        f"{path}: is read by Ansible's ansible-inventory, which is not installed; install it "
        "(pip install ansible-core), or write the inventory in TOML, in a file whose name ends in .toml"
    )


def test_secrets_that_cannot_be_are_told_with_the_program(program: Program) -> None:
    listing = {"g": {"hosts": ["a", "b"], "vars": {"ansible_password": {"vault": "x"}}}, "_meta": {"hostvars": {}}}
    path = program(f"echo '{json.dumps(listing)}'")
    assert said(path).startswith(f"{path}: ansible_password: is no secret and no source of one; write a text, ")
