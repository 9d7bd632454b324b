"""Options of plugins, as their `Config` models refuse them."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.errors import SpecError
from harness.spec.model import PluginUse, SourceRef
from harness.spec.problems import did_you_mean, known_hint, problems_from_validation, resolve_options, shown
from harness.spec.toml_document import TomlDocument
from harness.spec.units import Duration, Rate, Size, Span


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    depth: int = 1
    width: float | None = None


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rate: Rate
    users: Annotated[int, Field(ge=1, le=100, description="write how many wallets take part: users = 20")]
    wait: Duration = 1.0
    slot: Annotated[Duration, Field(ge=0.02)] = 1.0
    pause: Duration = Field(1.0, ge=0.02)
    size: Size = 0
    span: Span | None = None
    mode: Literal["fast", "slow"] = "fast"
    colour: Colour = Colour.RED
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    roles: tuple[str, ...] = ()
    few: Annotated[list[int], Field(min_length=2, max_length=3)] = [1, 2]
    inner: Inner = Inner()
    inners: dict[str, Inner] = {}
    either: int | list[str] = 0
    code: Annotated[str, Field(pattern="^[a-z]+$")] = "x"
    on: bool = True

    @field_validator("roles")
    @classmethod
    def _known(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        if "nobody" in roles:
            raise ValueError('there is no role "nobody"')
        return roles

    @model_validator(mode="after")
    def _agrees(self) -> Options:
        if self.mode == "slow" and self.wait < 1:
            raise ValueError("slow takes a wait of at least a second")
        return self


GOOD = 'use = "x"\nrate = 5\nusers = 5\n'


def resolved(text: str) -> Options:
    document = TomlDocument.parse(f"[[workloads]]\n{text}", "p.toml")
    table = dict(document.data["workloads"][0])
    path = ("workloads", 0)
    return resolve_options(PluginUse(table.pop("use"), "x", table, document.where(path), path), Options, document)


def test_good_options() -> None:
    options = resolved(GOOD + 'wait = "2m"\nsize = "1KiB"\nspan = "3 blocks"\neither = ["a"]\ncolour = "blue"\n')
    assert (options.rate, options.wait, options.size) == (Rate(5), 120.0, 1024)
    assert (options.span, options.either, options.colour) == (Span(3, "blocks"), ["a"], Colour.BLUE)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('slot = "0s"', 'slot: must be at least 20ms, not "0s"'),
        ('pause = "10ms"', 'pause: must be at least 20ms, not "10ms"'),
        ("ratee = 5", 'ratee: unknown key; did you mean "rate"? (known: rate, users, wait, slot, pause, size, span, '
                      "mode, colour, share, roles, few, inner, inners, either, code, on)"),
        ("users = 0", "users: must be at least 1, not 0"),
        ("users = 101", "users: must be at most 100, not 101"),
        ("users = 'many'", 'users: must be a whole number, not "many"'),
        ("users = 2.5", "users: must be a whole number, not 2.5"),
        ("rate = '5/slot'", 'rate: "5/slot" is not a rate; write one like "15/block" or "200/s"'),
        ("wait = 5", 'wait: 5 has no unit; write "5s" for seconds'),
        ("size = '1 kilo'", 'size: "1 kilo" is not a size; write one like "512B", "64KiB" or "1MB"'),
        ("span = 5", 'span: 5 has no unit; write "5s" for seconds, or "20 blocks"'),
        ("mode = 'fst'", 'mode: must be "fast" or "slow", not "fst"; did you mean "fast"?'),
        ("colour = 'blu'", 'colour: must be "red" or "blue", not "blu"; did you mean "blue"?'),
        ("share = 1.5", "share: must be less than 1, not 1.5"),
        ("share = 0", "share: must be more than 0, not 0"),
        ("share = 'half'", 'share: must be a number, not "half"'),
        ("roles = 'validator'", 'roles: must be a list, not "validator"'),
        ("roles = ['a', 3]", "roles[1]: must be text, not 3"),
        ("roles = ['nobody']", 'roles: there is no role "nobody"'),
        ("few = [1]", "few: must have at least 2, not 1"),
        ("few = [1, 2, 3, 4]", "few: must have at most 3, not 4"),
        ("inner = 3", "inner: must be a table, not 3"),
        ("inner = { dept = 3 }", 'inner.dept: unknown key; did you mean "depth"? (known: depth, width)'),
        ("inner = { width = 'w' }", 'inner.width: must be a number, not "w"'),
        ("inners = { a = { dept = 3 } }",
         'inners.a.dept: unknown key; did you mean "depth"? (known: depth, width)'),
        ("either = 1.5", "either: must be a whole number or a list, not 1.5"),
        ("code = 'X'", 'code: must be text that matches ^[a-z]+$, not "X"'),
        ("on = 'perhaps'", 'on: must be true or false, not "perhaps"'),
    ],
)  # fmt: skip
def test_wrong_options(line: str, problem: str) -> None:
    key = line.split(" ", 1)[0]
    kept = "".join(f"{kept}\n" for kept in GOOD.splitlines() if not kept.startswith(f"{key} "))
    with pytest.raises(SpecError) as error:
        resolved(kept + line)
    [found] = error.value.problems
    assert f"{found.path}: {found}".endswith(f"workloads[0].{problem}")
    assert found.line == kept.count("\n") + 2


def test_all_at_once_and_a_misspelt_key_is_not_missing_too() -> None:
    with pytest.raises(SpecError) as error:
        resolved('use = "x"\nuserz = 5\nmode = "slow"\nwait = "1"\n')
    assert [str(problem)[:60] for problem in error.value.problems] == [
        'p.toml:1:3: workloads[0]: missing key "rate"',
        'p.toml:3:1: workloads[0].userz: unknown key; did you mean "u',
        'p.toml:5:1: workloads[0].wait: "1" is not a duration; write ',
    ]


def test_a_missing_key_says_what_to_write() -> None:
    with pytest.raises(SpecError) as error:
        resolved('use = "x"\nrate = 5\n')
    assert str(error.value) == (
        'p.toml:1:3: workloads[0]: missing key "users"; write how many wallets take part: users = 20'
    )


def test_what_no_key_is_guilty_of_is_said_of_the_table() -> None:
    with pytest.raises(SpecError) as error:
        resolved(GOOD + 'mode = "slow"\nwait = "10ms"\n')
    assert str(error.value) == "p.toml:1:3: workloads[0]: slow takes a wait of at least a second"


def test_a_scenario_built_in_code_has_no_positions() -> None:
    use = PluginUse("x", "x", {"rate": 5, "user": 1}, SourceRef("scenario.py", 12, 1))
    with pytest.raises(SpecError) as error:
        resolve_options(use, Options, None)
    assert str(error.value).startswith('scenario.py:12:1: user: unknown key; did you mean "users"? (known: ')


def test_options_that_a_template_gives_are_said_of_the_template() -> None:
    document = TomlDocument.parse('name = "x"\nworkloads = "{{ ws }}"\n', "p.toml")
    path = ("workloads", 99)
    use = PluginUse("x", "x", {"rate": 5, "users": 0}, document.where(path), path)
    with pytest.raises(SpecError) as error:
        resolve_options(use, Options, document)
    assert str(error.value) == "p.toml:2:1: workloads[99].users: must be at least 1, not 0"
    try:
        Options.model_validate(use.options)
    except ValidationError as refused:
        [problem] = problems_from_validation(refused, document, path, Options, use.where)
    assert str(problem) == "p.toml:2:1: workloads[99].users: must be at least 1, not 0"


def test_options_that_a_workload_brings_along_are_said_of_the_workload() -> None:
    document = TomlDocument.parse('users = 5\n[[workloads]]\nuse = "x"\n', "p.toml")
    use = PluginUse("x", "x", {"rate": 5, "users": 0}, document.where(("workloads", 0)))
    with pytest.raises(SpecError) as error:
        resolve_options(use, Options, document)
    assert str(error.value) == "p.toml:2:3: users: must be at least 1, not 0"


def test_hints() -> None:
    assert did_you_mean("rat", ["users", "rate"]) == 'did you mean "rate"?'
    assert did_you_mean("zzz", ["users", "rate"]) == ""
    assert known_hint("rat", ["users", "rate"]) == 'did you mean "rate"? (known: users, rate)'
    assert known_hint("zzz", ["users"], "roles") == "roles: users"
    assert known_hint("zzz", []) == "known: none"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\n\"", '"a\\n\\""'), (True, "true"), (1.5, "1.5"), ({}, "a table"), ([1], "a list"), (None, "nothing"),
     ("x" * 99, '"' + "x" * 56 + '…"'), (Rate(1), "a Rate")],
)  # fmt: skip
def test_shown(value: Any, text: str) -> None:
    assert shown(value) == text
