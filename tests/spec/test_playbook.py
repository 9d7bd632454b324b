"""Playbooks: the whole language read, and a broken file's problems all at once, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Problem, SpecError, UsageError
from harness.spec.model import PluginUse, SourceRef, TopologySpec, WalletsSpec
from harness.spec.playbook import Draft, PlaybookFile, load_playbook, role_path, singular
from harness.spec.playbook_model import PlaybookModel, TopologyModel
from harness.spec.toml_document import TomlDocument
from harness.spec.topology import LAYOUTS
from harness.spec.units import Span
from harness.spec.variables import parse_extra, parse_extras

SAMPLES = Path(__file__).parent / "samples"
KNOWN = ", ".join(PlaybookModel.model_fields)

MINIMAL = """\
chain = "devnet"
duration = "60s"
topology = { validators = 3 }
"""


def read(text: str) -> PlaybookFile:
    return PlaybookFile(TomlDocument.parse(text, "p.toml"))


def drafted(text: str, extra: dict[str, Any] | None = None, elsewhere: tuple[str, ...] = ()) -> Draft:
    file = read(text)
    return file.draft(file.combinations(extra)[0], extra=extra, elsewhere=elsewhere)


def said(text: str, extra: dict[str, Any] | None = None, elsewhere: tuple[str, ...] = ()) -> list[str]:
    draft = drafted(text, extra, elsewhere)
    assert draft.playbook is not None or draft.problems
    return [str(problem) for problem in draft.problems]


def test_the_whole_language() -> None:
    path = SAMPLES / "sweep.toml"
    file = load_playbook(path)
    combinations = file.combinations()
    assert combinations == (
        {"rate": 5, "validators": 3}, {"rate": 5, "validators": 4},
        {"rate": 10, "validators": 3}, {"rate": 10, "validators": 4},
    )  # fmt: skip
    playbook = file.resolve(combinations[3])
    name = str(path)
    assert playbook.name == "sweep 10"
    assert playbook.description == "Every feature of the language, for the reader's tests."
    assert playbook.chain == PluginUse(
        "devnet", "devnet", {"slot_duration": "1s"}, SourceRef(name, 8, 1), ("chain",)
    )  # fmt: skip
    assert playbook.duration == Span(120)
    assert playbook.topology == TopologySpec("random", {"validator": 4, "executor": 2, "full": 1}, 2)
    assert list(playbook.topology.roles) == ["validator", "executor", "full"]
    assert playbook.wallets == WalletsSpec(50, 1_000_000)
    assert playbook.workloads == (
        PluginUse("transactions", "transactions", {"rate": "10/block", "users": 40}, SourceRef(name, 28, 3),
                  ("workloads", 0)),
        PluginUse("transactions", "transactions#2", {}, SourceRef(name, 33, 3), ("workloads", 1)),
    )  # fmt: skip
    assert playbook.expectations[0].options == {"nodes": ["validator-3", {"é": 40}]}
    assert (playbook.seed, playbook.ready_timeout, playbook.settle) == (7, 90.0, Span(20, "blocks"))
    assert playbook.budget == "unlimited"
    assert playbook.variables == {"minutes": 2, "rate": 10, "validators": 4, "users": 40}
    assert playbook.source == path


def test_a_minimal_playbook_has_defaults() -> None:
    playbook = read(MINIMAL).resolve({})
    assert playbook.name == "p"
    assert playbook.topology == TopologySpec("full", {"validator": 3}, None)
    assert (playbook.seed, playbook.ready_timeout, playbook.settle, playbook.budget) == (None, 60.0, None, "chain")
    assert playbook.workloads == playbook.expectations == ()


def test_every_problem_of_a_broken_playbook_at_once() -> None:
    path = SAMPLES / "broken.toml"
    file = load_playbook(path)
    draft = file.draft(file.combinations()[0])
    variables = "a, b, empty, minutes, not, not-a-name, one, typo"
    jinja = "a name has letters, digits and _, a letter first, and is no word of Jinja2's"
    roles = "taken for a role, whose number of nodes must be a whole number, not"
    assert [str(problem).removeprefix(f"{path}:") for problem in draft.problems] == [
        f'1:1: nmae: unknown key; did you mean "name"? (known: {KNOWN})',
        f'2:1: chian: unknown key; did you mean "chain"? (known: {KNOWN})',
        '3:1: duration: 60 has no unit; write "60s" for seconds, or "20 blocks"',
        '4:1: seed: must be a whole number, not "7"',
        '5:1: budget: must be "chain" or "unlimited", not "unlimitd"; did you mean "unlimited"?',
        '6:1: settle: "5 slots" is not a duration; write one like "10s", "2m30s" or "250ms", or "20 blocks"',
        f'7:1: description: undefined variable "minuets"; did you mean "minutes"? (defined: {variables})',
        "11:1: vars.a: variables use each other in a circle: a → b → a",
        f'13:1: vars.typo: undefined variable "minute"; did you mean "minutes"? (defined: {variables})',
        f"14:1: vars.not-a-name: no template can name this variable; {jinja}",
        f"15:1: vars.not: no template can name this variable; {jinja}",
        "18:1: matrix.empty: must not be empty",
        "19:1: matrix.one: must be a list, not 5",
        f'22:1: topology.layuot: {roles} "ring"; did you mean "layout"? (other keys: layout, degree, late)',
        '23:1: topology.layout: must be "star", "chain", "ring", "full" or "random", not "strat"; did you mean "star"?',
        '24:1: topology.degree: is for the layout random only; write layout = "random", or leave degree out',
        f'25:1: topology.validators: {roles} "four"; other keys: layout, degree, late',
        f"26:1: topology.executors: {roles} -1; other keys: layout, degree, late",
        '29:1: wallets.cuont: unknown key; did you mean "count"? (known: count, balance)',
        '30:1: wallets.balance: must be a whole number, not "much"',
        '32:3: workloads[0]: missing key "use"; it is written "us" here',
        "39:1: workloads[1].more: template: division by zero",
        "40:1: workloads[1].text: template: unexpected end of template, expected 'end of print statement'; "
        'a variable is written "{{ name }}"',
        "45:2: expectations: must be a list, not a table; write [[expectations]]",
    ]
    assert draft.playbook is None
    assert [use.id for use in draft.workloads] == ["transactions", "good"], "what can be is there to be checked further"
    assert ("workloads", 1, "rate") in draft.broken


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ['p.toml:1:1: missing key "chain"; write chain = "NAME"',
              'p.toml:1:1: missing key "duration"; write how long the workloads run: duration = "60s"',
              'p.toml:1:1: missing key "topology"; write [topology] with a layout and validators = 4']),
        (MINIMAL.replace('"devnet"', "3"), ['p.toml:1:1: chain: must be a name, or a table with use = "NAME", not 3']),
        (MINIMAL.replace('"devnet"', '""'), ["p.toml:1:1: chain: must not be empty"]),
        (MINIMAL.replace('"devnet"', '{ slot = "1s" }'), ['p.toml:1:1: chain: missing key "use"; write use = "NAME"']),
        (MINIMAL.replace("60s", "{{ x }}"), ['p.toml:2:1: duration: undefined variable "x"; defined: none']),
        (MINIMAL.replace("= 3", "= 0"),
         ["p.toml:3:1: topology: has no nodes; write how many of each role: validators = 4"]),
        (MINIMAL.replace("{ validators = 3 }", "{}"),
         ["p.toml:3:1: topology: has no nodes; write how many of each role: validators = 4"]),
        (MINIMAL.replace("= 3", "= 3, validator = 1"),
         ['p.toml:3:30: topology.validator: the role validator is there already, as "validators"']),
        (MINIMAL.replace("= 3", '= 3, layout = "random", degree = 0'),
         ["p.toml:3:49: topology.degree: must be at least 1, not 0"]),
        (MINIMAL.replace("= 3", "= 99999999999999999"),
         ["p.toml:3:1: topology: has 99,999,999,999,999,999 nodes; at most 1,000 are possible with the layout full"]),
        (MINIMAL.replace("= 3", '= 9000, executors = 1001, layout = "star"'),
         ["p.toml:3:1: topology: has 10,001 nodes; at most 10,000 are possible"]),
        (MINIMAL.replace("= 3", '= 3, layout = "random", degree = 99'),
         ["p.toml:3:49: topology.degree: degree 99, but there are 2 other nodes"]),
        (MINIMAL.replace("60s", "0s"), ['p.toml:2:1: duration: must be more than 0, not "0s"']),
        (MINIMAL.replace("60s", "0 blocks"), ['p.toml:2:1: duration: must be more than 0, not "0 blocks"']),
        (MINIMAL.replace("60s", "99999999999999999999h"),
         ['p.toml:2:1: duration: "99999999999999999999h" is longer than 365 days']),
        (MINIMAL.replace('"60s"', "nan"),
         ['p.toml:2:1: duration: nan is not a duration; write one like "10s", "2m30s" or "250ms", or "20 blocks"']),
        (MINIMAL + 'ready_timeout = "0s"\n', ['p.toml:4:1: ready_timeout: must be more than 0s, not "0s"']),
        (MINIMAL.replace("60s", "{{ 'x' * 10000000000 }}"),
         ["p.toml:2:1: duration: template: the result of * is too large"]),
        (MINIMAL + "[[workloads]]\nusers = 5\n", ['p.toml:4:3: workloads[0]: missing key "use"; write use = "NAME"']),
        (MINIMAL + "[matrix]\nrate = [5, 10]\n",
         ['p.toml:5:1: matrix.rate: nothing uses this variable; use it: "{{ rate }}"']),
        (MINIMAL.replace("= 3", '= "{{ n }}"') + "[matrix]\nn = [3, 4, 3]\n",
         ["p.toml:5:12: matrix.n[2]: 3 is there already"]),
        (MINIMAL.replace("{ validators = 3 }", "3"), ["p.toml:3:1: topology: must be a table, not 3"]),
        (MINIMAL + "[[workload]]\n",
         [f'p.toml:4:3: workload: unknown key; did you mean "workloads"? (known: {KNOWN})']),
        (MINIMAL + "workloads = [3]\n", ["p.toml:4:14: workloads[0]: must be a table, not 3"]),
        (MINIMAL + "vars = 3\n", ["p.toml:4:1: vars: must be a table, not 3"]),
        (MINIMAL + "matrix = 3\n", ["p.toml:4:1: matrix: must be a table, not 3"]),
        (MINIMAL + "seed = -1\n", ["p.toml:4:1: seed: must be at least 0, not -1"]),
        (MINIMAL + "seed = true\n", ["p.toml:4:1: seed: must be a whole number, not true"]),
        (MINIMAL + 'ready_timeout = "soon"\n',
         ['p.toml:4:1: ready_timeout: "soon" is not a duration; write one like "10s", "2m30s" or "250ms"']),
    ],
)  # fmt: skip
def test_problems(text: str, problems: list[str]) -> None:
    assert said(text) == problems


def test_a_matrix_of_more_runs_than_anybody_means_is_never_made() -> None:
    axes = "".join(f"v{i} = {list(range(10))}\n" for i in range(9))
    sum_ = " + ".join(f"v{i}" for i in range(9))
    file = read(MINIMAL.replace("= 3", f'= "{{{{ 1 + {sum_} }}}}"') + f"[matrix]\n{axes}")
    assert len(file.combinations()) == 1
    assert [str(problem) for problem in file.draft(file.combinations()[0]).problems] == [
        "p.toml:4:2: matrix: makes 1,000,000,000 runs; at most 1,000 are possible"
    ]
    extra = {f"v{i}": 1 for i in range(6)}
    assert len(file.combinations(extra)) == 1000


def test_roles_stand_to_be_checked_whatever_else_is_wrong_with_the_topology() -> None:
    draft = drafted(MINIMAL.replace("= 3", '= "{{ x }}", watchers = 2, layout = "strat", odd = "x"'))
    assert draft.topology is not None
    assert draft.topology.roles == {"validator": 1, "watcher": 2}


def test_resolve_raises_what_draft_finds() -> None:
    with pytest.raises(SpecError) as error:
        read("").resolve({})
    assert error.value.problems == drafted("").problems


def test_a_broken_variable_is_said_once_and_its_uses_are_left_alone() -> None:
    text = MINIMAL + '[vars]\na = "{{ tpyo }}"\nb = "{{ a }}"\n[wallets]\ncount = "{{ b }}"\n'
    text += '[[workloads]]\nuse = "x"\nrate = "{{ a }}"\n[[workloads]]\nuse = "y"\n'
    draft = drafted(text)
    assert [problem.path for problem in draft.problems] == ["vars.a"]
    assert [use.use for use in draft.workloads] == ["x", "y"]
    assert draft.broken == (("wallets", "count"), ("workloads", 0, "rate"))


PARAMETERS = MINIMAL.replace("60s", "{{ d }}") + '[vars]\nd = "1s"\ne = "{{ d }}"\n[matrix]\nd = ["2s", "3s"]\n'


def test_vars_then_matrix_then_extra() -> None:
    file = read(PARAMETERS)
    assert [file.resolve(c).duration for c in file.combinations()] == [Span(2), Span(3)]
    assert [file.resolve(c).variables["e"] for c in file.combinations()] == ["2s", "3s"]
    extra = {"d": "4s"}
    assert file.combinations(extra) == ({"d": "4s"},)
    assert file.resolve({"d": "4s"}, extra=extra).duration == Span(4)


def test_extra_is_data_not_a_template() -> None:
    assert drafted(PARAMETERS, {"e": "{{ 1 / 0 }}"}).problems == ()


def test_extra_shortens_a_run() -> None:
    playbook = drafted(MINIMAL, {"duration": "5s", "seed": 9, "settle": "2 blocks", "ready_timeout": "9s"}).playbook
    assert playbook is not None
    assert (playbook.duration, playbook.seed) == (Span(5), 9)
    assert (playbook.settle, playbook.ready_timeout) == (Span(2, "blocks"), 9.0)
    assert said(MINIMAL, {"duration": 5}) == ['-e: duration: 5 has no unit; write "5s" for seconds, or "20 blocks"']


def test_a_variable_named_like_a_key_is_only_a_variable() -> None:
    text = MINIMAL + '[vars]\nduration = "1s"\n[[workloads]]\nuse = "x"\nfor = "{{ duration }}"\n'
    playbook = drafted(text, {"duration": "7s"}).playbook
    assert playbook is not None
    assert playbook.duration == Span(60)
    assert playbook.workloads[0].options == {"for": "7s"}


def test_extra_that_nothing_uses() -> None:
    assert said(PARAMETERS, {"durration": "5s"}) == [
        '-e: durration: nothing uses this variable; did you mean "duration"? '
        "(-e can set: d, e, duration, seed, ready_timeout, settle)"
    ]
    assert said(MINIMAL, {"rack": 1}, elsewhere=("rack",)) == []
    assert said(MINIMAL, {"ansible_user": "me", "harness_deployer": "process"}) == []


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("n=5", {"n": 5}),
        ("n = 2.5", {"n": 2.5}),
        ("n=true", {"n": True}),
        ("n=[1, 'a']", {"n": [1, "a"]}),
        ("n=20s", {"n": "20s"}),
        ('n="5"', {"n": "5"}),
        ("n=", {"n": ""}),
        ("n=a=b", {"n": "a=b"}),
        ("n=1\nm=2", {"n": "1\nm=2"}),
        ("n=1 # one", {"n": 1}),
    ],
)
def test_parse_extra(text: str, variables: dict[str, Any]) -> None:
    assert parse_extra(text) == variables


def test_parse_extra_file(tmp_path: Path) -> None:
    file = tmp_path / "extra.toml"
    file.write_text('rate = 5\nname = "x"\n')
    assert parse_extras([f"@{file}", "rate=6"]) == {"rate": 6, "name": "x"}
    with pytest.raises(UsageError, match=r"^-e rate: this sets nothing; write -e name=value, or -e @file\.toml$"):
        parse_extra("rate")
    with pytest.raises(SpecError, match="there is no such file"):
        parse_extra(f"@{tmp_path / 'none.toml'}")


@pytest.mark.parametrize(
    ("key", "role"),
    [("validators", "validator"), ("validator", "validator"), ("full", "full"), ("witnesses", "witness"),
     ("witness", "witness"), ("relays", "relay"), ("boxes", "box")],
)  # fmt: skip
def test_singular(key: str, role: str) -> None:
    assert singular(key) == role
    assert singular(role) == role


def test_role_path() -> None:
    assert role_path(read(MINIMAL).document, "validator") == ("topology", "validators")
    assert role_path(read(MINIMAL).document, "seed") == ("topology", "seed")


def test_the_layouts_that_can_be_written_are_those_that_there_are() -> None:
    schema = TopologyModel.model_json_schema()
    assert schema["properties"]["layout"]["enum"] == list(LAYOUTS)


words = st.sampled_from(["use", "rate", "layout", "validators", "a b", "x"])
junk = st.recursive(
    st.integers() | st.sampled_from(["", "5s", "{{ x }}", "{{", "{{ rate }}", "devnet", "{{ 1/0 }}"]) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*PlaybookModel.model_fields, "x"]), junk))
def test_nothing_that_is_written_makes_a_traceback(table: dict[str, Any]) -> None:
    file = PlaybookFile(TomlDocument("p.toml", "", table))
    for combination in file.combinations():
        draft = file.draft(combination)
        assert draft.playbook is not None or draft.problems
        assert all(isinstance(problem, Problem) and problem.message for problem in draft.problems)
