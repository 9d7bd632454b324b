"""What must hold for a probe to pass: `transaction-inclusion.p99 < 5s and inclusion > 99%`. Pure.

    criterion   = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | "(" criterion ")" | comparison
    comparison  = NAME ("<" | "<=" | ">" | ">=" | "==" | "!=") VALUE
    VALUE       = 0.99 | 99% | 5s | 20 blocks | 50/s | pass | unknown | fail

A name that several workloads (or accounts of one expectation) have is compared for each: all must hold. What a run did
not measure is unknown, and so is what depends on it (Kleene's logic): never a pass."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.spec.durations import parse_duration
from harness.spec.problems import known_hint
from harness.spec.units import Rate, Span
from harness.spec.verdict import Verdict

Measure = float | str
Measures = Mapping[str, Sequence[Measure | None]]
"""Name → what was measured: one value for each workload or account that has it, None where it was not measured."""

_TOKEN = re.compile(
    r"\s*(?:(?P<op><=|>=|==|!=|<|>)|(?P<paren>[()])"
    r"|(?P<value>\d[\d.]*(?:\s*%|\s*/\s*\w+|\s*blocks?\b|[a-z][a-z0-9.]*)?)|(?P<word>[A-Za-z_][\w.#-]*))"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_LATENCIES = ("p50", "p90", "p99", "max")
_DEEPEST = 50
_MOST_LISTED = 40


class CriterionError(UsageError):
    """A criterion that cannot be read, with the text and a caret under the place. `column` counts from 1."""

    def __init__(self, text: str, column: int, message: str) -> None:
        self.column = column
        super().__init__(f"--until, column {column}: {message}\n{text}\n{' ' * (column - 1)}^")


@dataclass(frozen=True, slots=True)
class Comparison:
    """`unit` is that of `value`: "" (a number, a share), s, blocks, /s, or verdict. `column` of the name."""

    name: str
    op: str
    value: Measure
    unit: str
    column: int

    def holds(self, measures: Measures, block_interval: float) -> bool | None:
        values = measures.get(self.name) or (None,)
        return _all([self._of(value, block_interval) for value in values])

    def _of(self, measured: Measure | None, block_interval: float) -> bool | None:
        if measured is None:
            return None
        if isinstance(measured, str) or isinstance(self.value, str):
            if Verdict.UNKNOWN in (measured, self.value) and measured != self.value != Verdict.UNKNOWN:
                return None
            return (measured == self.value) == (self.op == "==")
        scale = block_interval if self.unit == "blocks" else 1.0
        return _COMPARE[self.op](measured, self.value * scale)


@dataclass(frozen=True, slots=True)
class Not:
    inner: Node

    def holds(self, measures: Measures, block_interval: float) -> bool | None:
        inner = self.inner.holds(measures, block_interval)
        return None if inner is None else not inner


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]

    def holds(self, measures: Measures, block_interval: float) -> bool | None:
        return _all([part.holds(measures, block_interval) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]

    def holds(self, measures: Measures, block_interval: float) -> bool | None:
        found = [part.holds(measures, block_interval) for part in self.parts]
        return True if True in found else None if None in found else False


Node = Comparison | Not | And | Or


def _all(found: Collection[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


@dataclass(frozen=True, slots=True)
class Criterion:
    """`text` as it was written."""

    text: str
    root: Node

    def holds(self, measures: Measures, block_interval: float) -> bool | None:
        """Whether it does, of a run with blocks every `block_interval` seconds; None where that was not measured."""
        return self.root.holds(measures, block_interval)

    def comparisons(self) -> Iterator[Comparison]:
        """In the order in which they are written."""
        return _comparisons(self.root)

    def check(self, known: Collection[str], label: str = "there are") -> None:
        """Raises CriterionError for a name that is not known."""
        for one in self.comparisons():
            if one.name not in known:
                message = f'nothing measures "{one.name}"; {known_hint(one.name, _near(one.name, known), label)}'
                raise CriterionError(self.text, one.column, message)

    def level(self, *endings: str) -> float | None:
        """The bound in seconds that it sets to a measure with one of these endings, for a chart; None without one."""
        found = (c for c in self.comparisons() if c.unit == "s" and c.name.rpartition(".")[2] in endings)
        return next((c.value for c in found if isinstance(c.value, float)), None)


def _near(name: str, known: Collection[str]) -> Sequence[str]:
    """Those of the same component, where it has some; of too many the ones with the shortest paths."""
    head = name.rpartition(".")[0]
    nearest = [one for one in known if head and one.startswith(f"{head}.")] or list(known)
    listed = sorted(nearest, key=lambda one: (one.count("."), one))
    return listed if len(listed) <= _MOST_LISTED else [*listed[:_MOST_LISTED], "…"]


def _comparisons(node: Node) -> Iterator[Comparison]:
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Not):
        yield from _comparisons(node.inner)
    else:
        for part in node.parts:
            yield from _comparisons(part)


def parse_criterion(text: str) -> Criterion:
    """Raises CriterionError, a UsageError, with the column."""
    text = " ".join(text.split())
    return Criterion(text, _Parser(text).parse())


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


class _Parser:
    """By recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._or()
        if self._peek().kind != "end":
            raise self._error(f'"{self._peek().text}" is not expected here; write "and" or "or" between comparisons')
        return node

    def _scan(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                column = at + 1 + (self._text[at] == " ")
                raise CriterionError(self._text, column, f'"{self._text[column - 1]}" means nothing here')
            kind = match.lastgroup or ""
            yield _Token(kind, match[kind], match.start(kind) + 1)
            at = match.end()
        yield _Token("end", "the end", len(self._text) + 1)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> bool:
        found = self._peek().kind != "end" and self._peek().text in texts
        self._next += found
        return found

    def _error(self, message: str, token: _Token | None = None) -> CriterionError:
        return CriterionError(self._text, (token or self._peek()).column, message)

    def _or(self) -> Node:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Node:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} levels deep")
        try:
            if self._take("not"):
                return Not(self._not())
            if self._take("("):
                node = self._or()
                if not self._take(")"):
                    raise self._error('")" is missing')
                return node
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        name = self._peek()
        if name.kind != "word" or name.text in ("and", "or", "not"):
            raise self._error(
                f"a name is expected here, not {_quoted(name)}; write like transaction-inclusion.p99 < 5s"
            )
        self._next += 1
        op = self._peek()
        if op.kind != "op":
            raise self._error(f"one of {' '.join(_COMPARE)} is expected after {name.text}, not {_quoted(op)}")
        self._next += 1
        token = self._peek()
        if token.kind not in ("value", "word"):
            raise self._error(f"a value is expected after {op.text}, not {_quoted(token)}; write 5s, 99%, 50/s or pass")
        self._next += 1
        value, unit = self._value(token)
        if complaint := _mismatch(name.text, op.text, unit, token.text):
            raise self._error(complaint, token)
        return Comparison(name.text, op.text, value, unit, name.column)

    def _value(self, token: _Token) -> tuple[Measure, str]:
        text = token.text
        try:
            if token.kind == "word":
                return Verdict(text).value, "verdict"
            if text.endswith("%"):
                return float(text[:-1]) / 100, ""
            if "/" in text:
                rate = Rate.parse(text)
                if rate.per != "s":
                    raise ValueError("what is measured is per second; write like 50/s")
                return rate.value, "/s"
            if "block" in text:
                return Span.parse(text).value, "blocks"
            if text[-1].isalpha():
                return parse_duration(text), "s"
            return float(text), ""
        except ValueError as error:
            known = "; write a number, 99%, 5s, 20 blocks, 50/s, or pass, unknown or fail"
            raise self._error(
                f"{_quoted(token)} is no value{known if token.kind == 'word' else f': {error}'}", token
            ) from None


def _quoted(token: _Token) -> str:
    return token.text if token.kind == "end" else f'"{token.text}"'


def is_time(name: str) -> bool:
    """Whether what is called so is measured in seconds."""
    return name.rpartition(".")[2] in _LATENCIES or "_seconds" in name


def _mismatch(name: str, op: str, unit: str, written: str) -> str:
    """What is wrong with comparing this to a value of this unit, "" if nothing is."""
    of_verdict = name.rpartition(".")[2] == "verdict"
    if of_verdict != (unit == "verdict"):
        return f"{name} is {'' if of_verdict else 'no '}verdict; write like transaction-inclusion.verdict == pass"
    if of_verdict and op not in ("==", "!="):
        return f"a verdict is compared with == or !=, not {op}"
    if is_time(name) and unit == "" and "%" not in written:
        return f"{name} is a time, and {written} has no unit; write {written}s for seconds"
    if not of_verdict and is_time(name) != (unit in ("s", "blocks")):
        return (
            f"{name} is a time, and {written} is none"
            if is_time(name)
            else f"{name} is no time, and {written} is one; times are called {', '.join(_LATENCIES)}, …_seconds"
        )
    return ""
