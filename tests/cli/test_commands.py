"""Commands that start no network: help, check, plan, inventory, plugins, schema, init, runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from harness.record.rundir import RunDirectory

Cli = Callable[..., subprocess.CompletedProcess[str]]

WRONG = """\
name = "wrong"
chain = "devnet"
duration = "60"
sed = 7

[topology]
layout = "strat"
validators = 3
watchers = 2

[[workloads]]
use = "transactions"
rate = "{{ rat }}"
users = "x"
max_in_flight = "y"

[[workloads]]
use = "transactoins"

[[expectations]]
use = "consensus-liveness"
max_lag = "five"
"""


def test_help_teaches_and_imports_no_heavy_library() -> None:
    code = (
        "import sys; from harness.cli.main import cli; cli(['--help'])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'pydantic', 'httpx', 'anyio', 'rich', 'jinja2'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "harness init demo" in out
    assert "Exit codes: 0 pass" in out
    assert out.endswith("[]\n")


def test_an_unknown_command_is_answered_with_the_one_that_was_meant(cli: Cli) -> None:
    done = cli("rnu")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        4,
        'Error: There is no command "rnu". Did you mean "run"?',
    )


def test_check_prints_every_error_with_its_place_and_no_traceback(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    done = cli("check", path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    for said in (
        f'{path}:3:1: duration: "60" is not a duration; write one like "10s"',
        f'{path}:4:1: sed: unknown key; did you mean "seed"?',
        f'{path}:9:1: topology.watchers: the chain devnet has no role "watcher"; its roles: validator, executor',
        f'{path}:13:1: workloads[0].rate: undefined variable "rat"',
        f'{path}:14:1: workloads[0].users: must be a whole number, not "x"',
        f'{path}:15:1: workloads[0].max_in_flight: must be a whole number, not "y"',
        f'{path}:7:1: topology.layout: must be "star", "chain", "ring", "full" or "random", not "strat"',
        f'{path}:18:1: workloads[1].use: no workload is named "transactoins"; did you mean "transactions"?',
        f'{path}:22:1: expectations[0].max_lag: "five" is not a duration',
        "9 problems",
    ):
        assert said in done.stderr


FORGED = "harness: forged.toml:1:1: all is well"


def test_no_value_begins_a_line_of_what_is_told_of_it(cli: Cli, tmp_path: Path) -> None:
    value = json.dumps(f"x\n{FORGED}\u2028{FORGED}\u0085{FORGED}\rx")
    playbook = tmp_path / "forged.toml"
    playbook.write_text(
        f'name = "x"\nchain = {value}\nduration = {value}\n[topology]\nlayout = {value}\nvalidators = {value}\n'
        f'[[workloads]]\nuse = {value}\n[[workloads]]\nuse = "transactions"\nrate = {value}\nusers = {value}\n'
        f'[[steps]]\nat = {value}\nfault = "partition"\n'
        f'[[expectations]]\nuse = "consensus-liveness"\nmax_lag = {value}\n'
    )
    *told, count = cli("check", playbook).stderr.splitlines()
    assert count == f"{len(told)} problems" and len(told) >= 8
    assert all(line.startswith(f"{playbook}:") for line in told)
    assert sum("all is well" in line for line in told) >= 7

    inventory = tmp_path / "lab.toml"
    inventory.write_text(
        f"[all.hosts]\na = {{ ansible_port = {value} }}\nb = 3\n[other]\nvars = {value}\nchildren = [{value}]\n"
    )
    told = cli("inventory", "list", "-i", inventory).stderr.splitlines()
    assert len(told) == 3 and all(line.startswith(f"{inventory}:") for line in told)


def test_what_is_told_in_several_lines_begins_one_only(cli: Cli, tmp_path: Path, playbooks: Path) -> None:
    inventory = tmp_path / "lab.toml"
    inventory.write_text(
        f'[all.hosts.{json.dumps(f"a{chr(10)}{FORGED}")}]\nmanage = "adopt"\nendpoints = {{ api = 9 }}\n'
    )
    told = cli("run", playbooks / "quickstart.toml", "-i", inventory, "--check").stderr
    assert FORGED in told and "too few hosts to adopt them on" in told
    assert [line for line in told.splitlines() if not line.startswith("  ")] == told.splitlines()[:1]


def test_a_slip_in_the_chains_options_hides_no_other_problem(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG.replace('chain = "devnet"', 'chain = { use = "devnet", slot_duration = "{{ x }}", f = 1 }'))
    done = cli("check", path)
    assert "chain.f: unknown key" in done.stderr
    assert 'topology.watchers: the chain devnet has no role "watcher"' in done.stderr


@pytest.mark.parametrize("text", ["", "a = ", "name = 3\n", "[[workloads]\n", "\udcff", "[topology]\nvalidators = -1"])
def test_no_text_whatever_gives_a_traceback(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(text, errors="surrogateescape")
    for command in ("check", "run"):
        done = cli(command, path)
        assert done.returncode == 4
        assert "Traceback" not in done.stderr
        assert str(path) in done.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('use = "transactions"\nrate = 5\nusers = 11', "11"),
        ('use = "da"', "blobs"),
        ('use = "chaos.restart"\nmin_delay = "9s"\nmax_delay = "3s"', "is longer than max_delay"),
    ],
)
def test_what_a_plan_cannot_do_is_told_before_anything_starts(
    cli: Cli, tmp_path: Path, setting: str, said: str
) -> None:
    chain = "cometbft" if "da" in setting.split("\n")[0] else "devnet"
    path = tmp_path / "plan.toml"
    path.write_text(
        f'name = "p"\nchain = "{chain}"\nduration = "5s"\n[topology]\nvalidators = 3\n[wallets]\ncount = 10\n'
        f'[[workloads]]\n{setting}\n[[expectations]]\nuse = "no-forks"\n'
    )
    done = cli("run", path)
    assert done.returncode == 4
    assert said in done.stderr
    assert f"{path}:" in done.stderr
    assert not (tmp_path / "cwd" / "runs").exists()


def test_a_plan_is_printed_and_nothing_is_touched(cli: Cli, playbooks: Path, inventories: Path, tmp_path: Path) -> None:
    done = cli("run", playbooks / "aggressive_chaos.toml", "-i", inventories / "local.toml", "--check")
    assert done.returncode == 0
    for said in ("seed          7", "validator-3", "localhost", "chaos.restart", "consensus-liveness", "node-control"):
        assert said in done.stdout
    assert "= None" not in done.stdout
    assert list((tmp_path / "cwd").iterdir()) == []


def test_commands_without_a_playbook_speak_of_none_of_its_keys(cli: Cli) -> None:
    for command in (("inventory", "ping"), ("inventory", "list"), ("inventory", "host"), ("exec",), ("heal",)):
        told = cli(*command, "--help").stdout
        assert "--extra KEY=VALUE" in told and not [word for word in ("duration", "settle", "seed") if word in told]


def test_every_playbook_and_inventory_of_the_repository_is_right(cli: Cli, playbooks: Path, inventories: Path) -> None:
    files = sorted(playbooks.glob("*.toml"))
    done = cli("check", *files, "-i", inventories / "local.toml")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(files) >= 5


def test_the_schema_accepts_our_playbooks_and_refuses_what_check_refuses(cli: Cli, playbooks: Path) -> None:
    schema = json.loads(cli("schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for path in playbooks.glob("*.toml"):
        validator.validate(tomllib.loads(path.read_text()))
    assert not validator.is_valid(tomllib.loads(WRONG))


@pytest.mark.parametrize(
    ("old", "new", "valid"),
    [
        ('name = "p"', "", True),
        ("count = 10", 'count = "{{ n }}"', True),
        ("validators = 3", 'validators = "{{ n }}"', True),
        ("validators = 3", 'validators = 3\nlayout = "{{ l }}"', True),
        ('chain = "devnet"', 'chain = "{{ c }}"', True),
        ('chain = "devnet"', 'chain = { use = "{{ c }}", slot_duration = "{% if x %}1s{% endif %}" }', True),
        ('use = "transactions"', 'use = "{{ w }}"\nrate = "{{ r }}"', True),
        ("count = 10", 'count = "ten"', False),
        ("validators = 3", 'validators = "three"', False),
        ("validators = 3", 'validators = 3\nlayout = "strat"', False),
        ('use = "transactions"', 'use = "transactoins"', False),
    ],
)
def test_the_schema_takes_a_template_for_every_value(cli: Cli, old: str, new: str, valid: bool) -> None:
    text = 'name = "p"\nchain = "devnet"\nduration = "5s"\n[topology]\nvalidators = 3\n[wallets]\ncount = 10\n'
    text += '[[workloads]]\nuse = "transactions"\n'
    validator = jsonschema.Draft202012Validator(json.loads(cli("schema").stdout))
    assert validator.is_valid(tomllib.loads(text.replace(old, new))) is valid


def test_a_folder_that_has_been_removed_is_said_to_be(cli: Cli, tmp_path: Path) -> None:
    for number, command in enumerate(
        ("doctor", "init x", "plugins list", "runs list --runs y", "check p.toml", "clean")
    ):
        gone = tmp_path / f"gone{number}"
        gone.mkdir()
        script = "import os, sys; from harness.cli.main import cli; os.rmdir(os.getcwd()); sys.exit(cli(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", script, *command.split()], capture_output=True, text=True, cwd=gone
        )
        assert done.returncode == 4
        assert "the current folder has been removed; change to one that exists\n" in done.stderr
        assert "Traceback" not in done.stderr


def test_init_says_what_it_cannot_write(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", "/proc/demo")
    assert done.returncode == 4
    assert done.stderr.startswith("harness: /proc/demo/") and "cannot be written: No such file" in done.stderr


REMOTE = '[validators]\nhosts = [\n  "far[1:2]",\n]\n'


def test_hosts_that_the_deployer_cannot_use_are_problems_of_the_inventory(
    cli: Cli, playbooks: Path, tmp_path: Path
) -> None:
    path = tmp_path / "inv.toml"
    path.write_text(REMOTE + '[all.vars]\nharness_deployer = "process"\n')
    done = cli("check", playbooks / "quickstart.toml", "-i", path)
    assert done.returncode == 4
    assert f"{path}:3:3: process: host far1: it is not this machine" in done.stderr
    path.write_text(REMOTE + '[all.vars]\nharness_deployer = "dokcer"\n')
    done = cli("check", playbooks / "quickstart.toml", "-i", path)
    assert f'{path}:6:1: no deployer is named "dokcer"' in done.stderr


def test_what_is_no_run_is_said_to_be_none(cli: Cli, tmp_path: Path) -> None:
    done = cli("runs", "list", "--runs", tmp_path / "none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"there are no runs in {tmp_path / 'none'}\n")
    done = cli("runs", "show", tmp_path)
    assert done.returncode == 4
    assert f"{tmp_path} is no run's folder" in done.stderr
    empty = RunDirectory.create(tmp_path / "runs", "empty", 0.0)
    empty.controller.unlink()
    done = cli("runs", "show", empty.path)
    assert (done.returncode, "wrote nothing" in done.stdout, "Traceback" in done.stderr) == (0, True, False)
    assert cli("runs", "list", "--runs", tmp_path / "runs").stdout.split()[-1] == "empty"


def test_variables_are_shown_with_the_place_that_they_come_from(cli: Cli, inventories: Path) -> None:
    done = cli("inventory", "host", "localhost", "-i", inventories / "local.toml", "-e", "color=blue")
    assert f"({inventories / 'local.toml'}:3:1 [host])" in done.stdout
    assert 'color              = "blue"  (-e)' in done.stdout


def test_an_unknown_host_or_run_or_plugin_lists_what_there_is(cli: Cli, inventories: Path) -> None:
    assert "hosts: localhost" in cli("inventory", "host", "localhots", "-i", inventories / "local.toml").stderr
    assert "there are no runs" in cli("runs", "show").stderr
    done = cli("plugins", "doc", "chaos.restrat")
    assert (done.returncode, 'did you mean "chaos.restart"?' in done.stderr) == (4, True)


def test_init_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", tmp_path / "demo").returncode == 0
    (tmp_path / "demo" / "harness.toml").write_text("runs = 'mine'")
    done = cli("init", tmp_path / "demo")
    assert (done.returncode, (tmp_path / "demo" / "harness.toml").read_text()) == (4, "runs = 'mine'")


def test_a_project_brings_its_plugins_only_to_those_inside_it(cli: Cli, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    cli("init", demo)
    assert "minimum-height" in cli("plugins", "list", cwd=demo).stdout
    assert "minimum-height" not in cli("plugins", "list").stdout
    rows = cli("plugins", "list").stdout.splitlines()
    names = {row.index(row.split()[1], len(row.split()[0])) for row in rows}
    assert len(names) == 1, "names stand in one column, whatever the kind"
    assert cli("check", demo / "playbooks" / "quickstart.toml").returncode == 0


def test_no_name_of_a_plugin_makes_a_line_of_its_own(cli: Cli, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    cli("init", demo)
    (demo / "plugins" / "a\nworkload forged.py").write_text("class X(:\n")
    listed = cli("plugins", "list", cwd=demo).stdout
    assert "a\\nworkload forged" in listed and "\nworkload forged" not in listed


def test_inventory_list_tells_what_is_wrong_with_each_host(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(
        '[all.vars]\nansible_timeout = "soon"\n[lab.hosts]\na = { ansible_port = "abc" }\nb = { manage = "adpot" }\n'
        'c = { manage = "adopt", endpoints = 5 }\n'
        "d = {}\n"
    )
    done = cli("inventory", "list", "-i", path)
    assert (done.returncode, done.stdout.split()) == (4, ["a", "lab", "b", "lab", "c", "lab", "d", "lab"])
    for place, told in (
        ("2:1", 'ansible_timeout: must be a number of seconds, at least 1, not "soon"'),
        ("4:7", 'ansible_port: must be a port, from 1 to 65535, not "abc"'),
        ("5:7", 'manage: must be "adopt" or "deploy", not "adpot"; did you mean "adopt"?'),
        ("6:25", "endpoints: must be a table, not 5"),
    ):
        assert f"{path}:{place}: {told}" in done.stderr, done.stderr
    assert done.stderr.count("soon") == 1
    assert cli("inventory", "list", "-i", path, "-e", "ansible_timeout=5", "d").returncode == 0
