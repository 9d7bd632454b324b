"""Templates: native values for lone expressions, plain words for what is wrong, no way out of the sandbox."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.template import broken_variable, is_variable_name, render, variables_used
from harness.spec.toml_document import TomlDocument

VARIABLES = {"rate": 5, "name": "x", "pair": {"of": [1, 2]}}


def rendered(template: str) -> tuple[Any, list[str]]:
    document = TomlDocument.parse(f"[t]\nkey = '''{template}'''", "p.toml")
    result = render(document.data, VARIABLES, document.problem)
    return result.value["t"]["key"], [str(problem) for problem in result.problems]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ rate }}", 5),
        ("{{rate * 2}}", 10),
        ("{{ rate / 2 }}", 2.5),
        ("{{ rate > 4 }}", True),
        ("{{ pair }}", {"of": [1, 2]}),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ 'ab' * 2 }}", "abab"),
        ("{{ 2 ** 10 }}", 1024),
        ("{{ '%03d' % rate }}", "005"),
        ("{{ '%03d' | format(rate) }}", "005"),
        ("{{ '{:03}'.format(rate) }}", "005"),
        ("{{ name }}", "x"),
        ("{{ '7' }}", "7"),
        ("{{ nothing | default(3) }}", 3),
        ("{{ nothing is defined }}", False),
        (" {{ rate }}", " 5"),
        ("{{ rate }}/block\n", "5/block\n"),
        ("{{ rate }}{{ rate }}", "55"),
        ("{% if rate > 4 %}fast{% endif %}", "fast"),
        ("{% raw %}{{ legend }}{% endraw %}", "{{ legend }}"),
        ("plain { text }", "plain { text }"),
    ],
)
def test_values(template: str, value: Any) -> None:
    assert rendered(template) == (value, [])
    assert type(rendered(template)[0]) is type(value)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ rte }}", 'undefined variable "rte"; did you mean "rate"? (defined: name, pair, rate)'),
        ("a{{ zzz }}", 'undefined variable "zzz"; defined: name, pair, rate'),
        ("{{ pair.off }}", "template: 'dict object' has no attribute 'off'"),
        ("{{ rate", "template: unexpected end of template, expected 'end of print statement'; "
                    'a variable is written "{{ name }}"'),
        ("{{ rate | tidy }}", "template: no filter named 'tidy'; a variable is written \"{{ name }}\""),
        ("{{ [1] | random }}", "template: no filter named 'random'; a variable is written \"{{ name }}\""),
        ("{{ 1 / 0 }}", "template: division by zero"),
        ("{{ rate + name }}", "template: unsupported operand type(s) for +: 'int' and 'str'"),
        ("{{ none }}", "the expression gives nothing; give it a value: {{ x | default(0) }}"),
        ("{{ [1] | map('string') }}", "the expression gives a generator, not a value; add | list to it"),
        ("{{ ''.__class__ }}", "template: access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ ''.__class__.__mro__ }}", "template: access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ '{0.__class__}'.format(1) }}", "template: access to attribute '__class__' of 'int' object is unsafe"),
        ("{{ pair.of.append(3) }}", "template: access to attribute 'append' of 'list' object is unsafe"),
        ("{{ range(10 ** 9) }}", "template: range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)"),
        ("{{ 'x' * 10000000000 }}", "template: the result of * is too large"),
        ("{{ 10000000000 * [1] }}", "template: the result of * is too large"),
        ("{{ 9 ** (9 ** 9) }}", "template: the result of ** is too large"),
        ("{{ '%9999999999d' % 1 }}", "template: the result of % is too large"),
        ("{{ '%9999999999d' | format(1) }}", "template: the result of format is too large"),
        ("{{ '{:9999999999}'.format(1) }}", "template: the result of format() is too large"),
        ("{{ 'x'.ljust(9999999999) }}", "template: the result of ljust() is too large"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
         "template: the text is longer than 100,000 characters"),
        ("{% include 'x' %}", "template: no loader for this environment specified"),
    ],
)  # fmt: skip
def test_problems(template: str, problem: str) -> None:
    value, problems = rendered(template)
    assert problems == [f"p.toml:2:1: t.key: {problem}"]
    assert value == template


def test_one_broken_variable_is_one_problem() -> None:
    document = TomlDocument.parse('a = "{{ x }}"\nb = ["{{ x + 1 }}", "{{ x }}!", "{{ 1 }}"]')
    result = render(document.data, {"x": broken_variable("x")}, document.problem)
    assert result.problems == ()
    assert result.broken == (("a",), ("b", 0), ("b", 1))
    assert result.value["b"][2] == 1


json_like = st.recursive(
    st.integers() | st.booleans() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_like)
def test_a_variable_alone_is_itself(value: Any) -> None:
    document = TomlDocument.parse('key = "{{ value }}"')
    assert render(document.data, {"value": value}, document.problem).value == {"key": value}


@given(json_like)
def test_values_of_variables_are_data_not_templates(value: Any) -> None:
    """What a variable holds is never rendered again, whatever marks it has."""
    document = TomlDocument.parse('key = "<{{ value }}>"')
    result = render(document.data, {"value": f"{{{{ {value!r} }}}}"}, document.problem)
    assert result.value == {"key": f"<{{{{ {value!r} }}}}>"}


def test_variables_used() -> None:
    data = {"a": "{{ x.y + z }}", "b": ["{% for i in r %}{{ i }}{% endfor %}", {"c": "{{ range(n) }}"}], "d": "{{ bad"}
    assert variables_used(data) == {"x", "z", "r", "n"}
    assert variables_used({"a": "no template"}) == frozenset()


@pytest.mark.parametrize("name", ["a-b", "1a", "not", "none", "self", ""])
def test_names_that_no_template_can_use(name: str) -> None:
    assert not is_variable_name(name)


def test_names_that_templates_can_use() -> None:
    for name in ("rate", "größe", "_x", "range", "class"):
        assert is_variable_name(name)
        document = TomlDocument.parse(f'key = "{{{{ {name} }}}}"')
        assert render(document.data, {name: 3}, document.problem).value == {"key": 3}
