"""The same inventory, resolved by Ansible and by us: hosts, groups, variables with their precedence, and patterns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.spec.inventory import Inventory
from harness.spec.inventory_views import as_graph, as_list
from harness.spec.secrets import Secret
from harness.spec.toml_writer import dumps

RACKS = Path(__file__).parents[1] / "spec" / "samples" / "racks.toml"
SAMPLES = Path(__file__).parent / "samples"

Answers = Callable[[Path, Sequence[str]], dict[str, Any]]
Ansible = Callable[..., str]
Json = dict[str, Any]

PATTERNS = [
    "all", "validators", "validators:&odd:!node03", "rack?", "node*", "*:!validators", "~node0[13]", "~(odd|rack3)",
    "validators[0]", "rack2[-1]", "rack1[0:1]", "odd[1:]", "odd,exec-b", "&odd", "!odd", "loner:relay", "exec-[ab]",
    "rack1:odd:&validators:!node01", "ungrouped", "*a", "ex*s", "odd[0:1],rack3[2]",
]  # fmt: skip


def values(inventory: Inventory) -> dict[str, Json]:
    return {
        host: {
            name: origin.value.reveal() if isinstance(origin.value, Secret) else origin.value
            for name, origin in inventory.variables(host).items()
        }
        for host in inventory.hosts
    }


def selected(inventory: Inventory, pattern: str) -> set[str] | None:
    try:
        return set(inventory.select(pattern))
    except UsageError:
        return None


def assert_same(inventory: Inventory, answer: Json) -> None:
    """`answer` as from ansible_answers.py. In which order Ansible takes grandchildren is up to its hashes."""
    assert values(inventory) == answer["hostvars"]
    assert inventory.groups.keys() == answer["groups"].keys()
    for name, group in inventory.groups.items():
        flat = name != "all" and not any(inventory.groups[child].children for child in group.children)
        order = list if flat else sorted
        assert order(inventory.hosts_of(name)) == order(answer["groups"][name])
    assert {n: set(group.children) for n, group in inventory.groups.items()} == {
        n: set(children) for n, children in answer["children"].items()
    }
    for pattern, hosts in answer["matches"].items():
        assert selected(inventory, pattern) == (None if hosts is None else set(hosts)), pattern


def listed(ansible: Ansible, path: Path) -> Json:
    found: Json = json.loads(ansible("ansible-inventory", "-i", path, "--list"))
    del found["_meta"]["profile"]
    return found


@pytest.mark.parametrize("path", [RACKS, *sorted(SAMPLES.glob("*.toml"))], ids=lambda path: path.stem)
def test_toml_is_read_as_ansible_inventory_reads_it(ansible: Ansible, path: Path) -> None:
    inventory = Inventory.read(path)
    assert json.loads(json.dumps(as_list(inventory))) == listed(ansible, path)
    assert as_graph(inventory) == ansible("ansible-inventory", "-i", path, "--graph").splitlines()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_they_mean_there(answers: Answers, pattern: str) -> None:
    expected = answers(RACKS, [pattern])["matches"][pattern]
    assert expected, "a pattern that matches nothing proves nothing"
    assert Inventory.read(RACKS).select(pattern) == tuple(h for h in Inventory.read(RACKS).hosts if h in expected)


def test_the_command_line_says_the_same(ansible: Ansible) -> None:
    printed = ansible("ansible", "-i", RACKS, "--list-hosts", "validators:&odd:!node03")
    assert [line.strip() for line in printed.splitlines()[1:]] == list(
        Inventory.read(RACKS).select("validators:&odd:!node03")
    )


FOLDER = {
    "hosts.ini": """\
loner ansible_port=2222
[web]
h[1:3] http_port=80 flag=True note="x y"
[db]
h1 ansible_host=10.0.0.1
[prod:children]
web
db
[web:vars]
v=web
everywhere=web
ansible_group_priority=10
[db:vars]
v=db
ansible_become=yes
[all:vars]
s='quoted'
""",
    "more.yaml": "all: {children: {prod: {children: {cache: {hosts: {'c[1:2]': {n: 1}}, vars: {v: cache}}}}}}\n",
    "group_vars/web.yml": "fromfile: 1\nlist: [1, {a: b}]\n",
    "group_vars/all.yml": "everywhere: all\nansible_password: hunter-two\n",
    "host_vars/h2.yml": "v: own\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An inventory in a folder, with everything that only Ansible reads."""
    for name, text in FOLDER.items():
        file = tmp_path / "inventory" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "inventory"


@pytest.mark.parametrize("name", ["hosts.ini", "more.yaml", ""])
def test_what_ansible_reads_comes_out_as_it_says(ansible: Ansible, answers: Answers, folder: Path, name: str) -> None:
    inventory = Inventory.read(folder / name)
    asked = {"hosts.ini": ["prod", "web:!h1", "h*"], "more.yaml": ["cache[0]"], "": ["prod", "web,c*:!h2", "prod[1:2]"]}
    assert_same(inventory, answers(folder / name, asked[name]))
    said = listed(ansible, folder / name)["_meta"]["hostvars"]
    assert values(inventory) == {host: {} for host in inventory.hosts} | said


def test_what_ansible_reads_still_says_where_it_comes_from(ansible_home: object, folder: Path) -> None:
    inventory = Inventory.read(folder / "hosts.ini")
    found = {name: origin.source for name, origin in inventory.variables("h1").items()}
    source = f"{folder / 'hosts.ini'}"
    assert found["v"] == f"{source} [group web]"
    assert found["s"] == f"{source} [group all]"
    assert found["http_port"] == found["ansible_host"] == f"{source} [host]"
    assert inventory.variables("h1")["everywhere"].value == "all"  # group_vars/all beats what a file gives to a group


def executable(folder: Path, listing: Json) -> Path:
    """A program that prints this for `--list`, and hosts' variables for `--host` where there is no `_meta`."""
    (folder / "listing.json").write_text(json.dumps(listing))
    program = folder / "inventory.sh"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --list ] && exec cat "$(dirname "$0")/listing.json"\n'
        """printf '{"asked": "%s"}' "$2"\n"""
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    "listing",
    [
        {},
        {"web": ["a", "b"], "db": {"hosts": ["c"], "vars": {"v": 1}}},
        {"web": {"hosts": ["a"], "children": ["db"]}, "db": {"hosts": ["b"]}, "_meta": {"hostvars": {"a": {"x": [1]}}}},
        {"all": {"hosts": ["a", "b"], "vars": {"v": "all"}}, "g": ["b"], "_meta": {"hostvars": {"nobody": {"x": 1}}}},
        {"p": {"children": ["q", "r"]}, "q": {"vars": {"v": "q", "ansible_group_priority": "7"}, "hosts": ["h"]},
         "r": {"hosts": ["h"], "vars": {"v": "r"}}, "_meta": {"hostvars": {}}},
        {"g": {"children": ["made_up"], "hosts": ["n[1:2]", "h:22"]}, "_meta": {"hostvars": {"h:22": {"v": None}}}},
    ],
)  # fmt: skip
def test_executables_are_read_as_ansible_reads_them(
    ansible: Ansible, answers: Answers, tmp_path: Path, listing: Json
) -> None:
    program = executable(tmp_path, listing)
    inventory = Inventory.read(program)
    assert_same(inventory, answers(program, ["all"]))
    assert json.loads(json.dumps(as_list(inventory))) == listed(ansible, program)


# Generated ones. Groups have children of later letters only, so there is no circle.

GROUPS = "abcdef"
HOSTS = ["h1", "h2", "h3", "n[1:3]", "n[02:06:2]", "x-[a:c].example", "p:2222", "[2001:db8::1]:22", "2001:db8::2"]

scalars = st.one_of(st.integers(-5, 5), st.booleans(), st.sampled_from(["", "text", "1", "quo\"te's", "ünï"]))
variables = st.dictionaries(st.sampled_from(["v", "w", "x", "y"]), scalars | st.lists(scalars, max_size=2), max_size=3)


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Json]:
    """In the shape of TOML: hosts are tables."""
    tables = {}
    for name in draw(st.lists(st.sampled_from([*GROUPS, "all", "ungrouped"]), unique=True, max_size=7)):
        table: Json = {}
        hosts = draw(st.dictionaries(st.sampled_from(HOSTS), variables, max_size=3))
        if hosts:
            table["hosts"] = hosts
        if name in GROUPS and (later := GROUPS[GROUPS.index(name) + 1 :]):
            table["children"] = draw(st.lists(st.sampled_from(later), unique=True, max_size=2))
        if given := draw(variables):
            table["vars"] = given
        if name in GROUPS and draw(st.booleans()):
            table.setdefault("vars", {})["ansible_group_priority"] = draw(st.integers(-1, 3))
        tables[name] = table
    for table in list(tables.values()):  # our own reader wants every child to be written
        for child in table.get("children", []):
            tables.setdefault(child, {})
    return tables


terms = st.sampled_from(
    ["a", "b", "c", "all", "h1", "h*", "~n0?[1-4]", "x-?.*", "e[0]", "e[0:1]", "f[-1]", "?", "ungrouped"]
)
signed = st.tuples(st.sampled_from(["", "&", "!"]), terms).map("".join)
patterns = st.lists(signed, min_size=1, max_size=3).map(":".join)

generated = settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def compare(inventory: Inventory, answer: Json) -> None:
    """A pattern with a term that matches nothing is an error of ours and ignored there, so only what we take counts."""
    answer["matches"] = {
        pattern: hosts for pattern, hosts in answer["matches"].items() if selected(inventory, pattern) is not None
    }
    assert_same(inventory, answer)


@generated
@given(inventories(), st.lists(patterns, max_size=4))
@example(
    {"a": {"hosts": {"h1": {}}, "children": ["b", "c"]}, "b": {"hosts": {"h2": {}}}, "c": {"hosts": {"h1": {}}}},
    ["a[0:1]"],
)
def test_generated_toml(answers: Answers, tmp_path: Path, tables: dict[str, Json], asked: list[str]) -> None:
    path = tmp_path / "generated.toml"
    path.write_text(dumps(tables) if tables else "[all]\n")
    compare(Inventory.read(path), answers(path, asked))


@generated
@given(inventories(), st.booleans(), st.lists(patterns, max_size=4))
def test_generated_executables(
    answers: Answers, tmp_path: Path, tables: dict[str, Json], short: bool, asked: list[str]
) -> None:
    listing: Json = {"_meta": {"hostvars": {}}}
    for name, table in tables.items():
        for host, own in table.get("hosts", {}).items():
            listing["_meta"]["hostvars"].setdefault(host, {}).update(own)
        group = {**table, "hosts": list(table.get("hosts", {}))}
        listing[name] = group["hosts"] if short and not (table.keys() - {"hosts"}) else group
    program = executable(tmp_path, listing)
    compare(Inventory.read(program), answers(program, asked))
