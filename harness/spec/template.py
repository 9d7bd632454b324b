"""`{{ variable }}` in the strings of a document: Jinja2, strict and sandboxed (harness.spec.sandbox).

A string that is exactly one `{{ … }}` becomes what the expression gives, a number say; any other stays text."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import Problem
from harness.spec.problems import known_hint
from harness.spec.toml_document import KeyPath

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

    from harness.spec.sandbox import Sandbox

ProblemAt = Callable[[KeyPath, str, str], Problem]
"""Makes a problem of (path, message, hint): `TomlDocument.problem` is one."""

_MARKS = re.compile(r"\{[{%#]")
_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_EVALUATION = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What expressions may raise beside jinja2's own errors."""
_TOML_VALUES = (str, bool, int, float, datetime.datetime, datetime.date, datetime.time)


@dataclass(frozen=True, slots=True)
class Rendered:
    """`value` with its templates filled in. `broken` are the paths of the strings that could not be, which are
    left as they were: for reasons among `problems`, or because they use a variable that is itself broken."""

    value: Any
    problems: tuple[Problem, ...]
    broken: tuple[KeyPath, ...]


def render(value: Any, variables: Mapping[str, Any], problem_at: ProblemAt, path: KeyPath = ()) -> Rendered:
    """Fill in every template in `value`, which stands at `path` of its document."""
    problems: list[Problem] = []
    broken: list[KeyPath] = []

    def visit(value: Any, path: KeyPath) -> Any:
        match value:
            case str() if _MARKS.search(value):
                try:
                    return _fill_in(value, variables)
                except _BrokenVariable:
                    broken.append(path)
                except _TemplateProblem as error:
                    broken.append(path)
                    problems.append(problem_at(path, error.message, error.hint))
                return value
            case Mapping():
                return {key: visit(item, (*path, key)) for key, item in value.items()}
            case list():
                return [visit(item, (*path, index)) for index, item in enumerate(value)]
            case _:
                return value

    return Rendered(visit(value, path), tuple(problems), tuple(broken))


def fill_in(text: str, variables: Mapping[str, Any]) -> str:
    """A whole text of templates, a file's, filled in; as Ansible does it, the newline after a block is not kept.

    Raises ValueError, which says in which line and why."""
    if not _MARKS.search(text):
        return text
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return _bounded(_for_files().from_string(text).generate(variables))
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {_said(error)}") from None
    except _TemplateProblem as error:
        raise ValueError(error.message) from None
    except MemoryError:
        raise ValueError("template: the result is too large") from None
    except (TemplateError, *_EVALUATION) as error:
        line = _line_in_template(error)
        told = _said(error)
        if match := _UNDEFINED.fullmatch(str(error)):
            told = f'undefined variable "{match[1]}"; {known_hint(match[1], sorted(variables), "defined")}'
        raise ValueError(f"line {line}: {told}" if line else told) from None


def verbatim(value: Any) -> Any:
    """The value with every text in it written so that `render` gives back just this text."""
    match value:
        case str() if _MARKS.search(value):
            return f"{{{{ {value!a} }}}}"  # a literal of Python's is one of Jinja2's
        case Mapping():
            return {key: verbatim(item) for key, item in value.items()}
        case list() | tuple():
            return [verbatim(item) for item in value]
        case _:
            return value


def is_variable_name(name: str) -> bool:
    """Whether a template can name a variable so: Jinja2 has words of its own."""
    from jinja2 import TemplateSyntaxError, nodes

    if not name.isidentifier() or name == "self":
        return False
    try:
        tree = _environment().parse(f"{{{{ {name} }}}}")
    except TemplateSyntaxError:
        return False
    match tree.body:
        case [nodes.Output(nodes=[nodes.Name(name=parsed)])]:
            return bool(parsed == name)
    return False


def broken_variable(name: str) -> object:
    """Stands for a variable whose own problem is reported already: what uses it is broken too, silently."""
    from jinja2 import StrictUndefined

    # Not one of Jinja2's own errors: it is to pass by the handlers that make problems of those.
    return StrictUndefined(name=name, exc=_BrokenVariable)  # type: ignore[arg-type]


def variables_used(value: Any) -> frozenset[str]:
    """Names that the templates in `value` refer to; none for a template with a syntax error."""
    texts = [text for text in _strings(value) if _MARKS.search(text)]
    if not texts:
        return frozenset()  # and jinja2 is not even imported
    from jinja2 import TemplateSyntaxError, meta

    names: set[str] = set()
    for text in texts:
        try:
            names |= meta.find_undeclared_variables(_environment().parse(text))
        except TemplateSyntaxError:
            continue  # `render` reports it, with its place
    return frozenset(names - _environment().globals.keys())


class _TemplateProblem(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _BrokenVariable(Exception):
    pass


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)


@cache
def _environment() -> Sandbox:
    from harness.spec.sandbox import Sandbox

    return Sandbox()


@cache
def _for_files() -> Environment:
    return _environment().overlay(trim_blocks=True)


def _line_in_template(error: BaseException) -> int:
    """The line of the template in which this was raised: jinja2 rewrites tracebacks to say so. 0 when not known."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _fill_in(text: str, variables: Mapping[str, Any]) -> Any:
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

    environment = _environment()
    try:
        tree = environment.parse(text)
        expression = _only_expression(tree)
        if expression is None:
            return _bounded(environment.from_string(tree).generate(variables))
        return _evaluate(environment.from_string(expression), variables)
    except TemplateSyntaxError as error:
        raise _TemplateProblem(_said(error), 'a variable is written "{{ name }}"') from None
    except UndefinedError as error:
        if match := _UNDEFINED.fullmatch(str(error)):
            name, hint = match[1], known_hint(match[1], sorted(variables), "defined")
            raise _TemplateProblem(f'undefined variable "{name}"', hint) from None
        raise _TemplateProblem(_said(error)) from None
    except MemoryError:
        raise _TemplateProblem("template: the result is too large") from None
    except (TemplateError, *_EVALUATION) as error:
        raise _TemplateProblem(_said(error)) from None


def _bounded(pieces: Iterator[str]) -> str:
    """The text of all pieces, which loops may make without end."""
    from harness.spec.sandbox import LARGEST

    text, left = [], LARGEST
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise _TemplateProblem(f"template: the text is longer than {LARGEST:,} characters")
        text.append(piece)
    return "".join(text)


def _said(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"template: {text[:1].lower()}{text[1:]}"


def _only_expression(tree: nodes.Template) -> nodes.Template | None:
    """For `{{ expression }}` alone: a template that assigns the expression's value to `result`."""
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            assign = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            return nodes.Template([assign], lineno=1)
    return None


def _evaluate(template: Template, variables: Mapping[str, Any]) -> Any:
    """As jinja2's own TemplateExpression does, but an undefined result is an error."""
    from jinja2 import Undefined

    context = template.new_context(dict(variables))
    for _ in template.root_render_func(context):
        pass
    result = context.vars["result"]
    if isinstance(result, Undefined):
        str(result)  # raises UndefinedError: it is a StrictUndefined
    return _toml_value(result)


def _toml_value(value: Any) -> Any:
    match value:
        case _ if type(value) in _TOML_VALUES:
            return value
        case str():  # Markup, and other kinds of text
            return str(value)
        case Mapping():
            return {str(key): _toml_value(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [_toml_value(item) for item in value]
        case None:
            raise _TemplateProblem("the expression gives nothing", "give it a value: {{ x | default(0) }}")
        case _:
            raise _TemplateProblem(f"the expression gives a {type(value).__name__}, not a value", "add | list to it")
