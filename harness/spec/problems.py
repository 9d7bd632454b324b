"""From pydantic's errors to problems that a person can mend: where, what is wrong, what to write."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Problem, SpecError
from harness.spec.durations import format_duration, parse_duration
from harness.spec.model import PluginUse, SourceRef
from harness.spec.secrets import Secret
from harness.spec.toml_document import KeyPath, TomlDocument, show_path

ModelT = TypeVar("ModelT", bound=BaseModel)

_MUST_BE = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
}
"""pydantic's types of error (https://docs.pydantic.dev/latest/errors/validation_errors/) after "must be …"."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`did you mean "rate"?` for the option most like `word`, "" where none is."""
    guess = _guess(word, options)
    return f'did you mean "{guess}"?' if guess else ""


def _guess(word: str, options: Iterable[str], likeness: float = 0.6) -> str:
    return next(iter(difflib.get_close_matches(word, list(options), 1, likeness)), "")


def known_hint(word: str, known: Collection[str], label: str = "known") -> str:
    """A hint for an unknown word: what was probably meant, and all that there is."""
    listed = f"{label}: {', '.join(known) or 'none'}"
    guess = did_you_mean(word, known)
    return f"{guess} ({listed})" if guess else listed


def problems_from_validation(
    error: ValidationError,
    document: TomlDocument | None,
    prefix: KeyPath,
    model: type[BaseModel],
    where: SourceRef | None = None,
    data: Any = None,
    broken: Collection[KeyPath] = (),
    beside: Sequence[str] = (),
) -> list[Problem]:
    """One problem for each key that `model` refused.

    `prefix` is the path in the document of the table that was validated, `data` that table where it is no
    longer as it stands there. Without a document (a scenario built in code), or without a path in it (options that
    another plugin brought along), every problem is at `where`.

    `broken` are paths of values that are not known, since their templates have problems of their own: nothing is
    said of these, nor of what holds them, but for keys that are missing or unknown.

    `beside` are keys of somebody else's that may stand in the same table: one of them may be what was meant."""
    if where is not None and not prefix:
        document = None
    if data is None and document is not None:
        data = _descend(document.data, prefix)
    details = error.errors(include_url=False)
    # A misspelt key is one problem, not two: it is not also missing under its right name.
    meant = {(d["loc"][:-1], _guess(str(d["loc"][-1]), _keys(_model_at(model, d["loc"][:-1])))) for d in details
             if d["type"] == "extra_forbidden"}  # fmt: skip
    messages: dict[KeyPath, list[tuple[str, str]]] = {}
    missing: list[tuple[KeyPath, tuple[str, str]]] = []
    for detail in details:
        path = (*prefix, *_path(detail, data))
        if detail["type"] == "too_short" and any(
            d["loc"][: len(detail["loc"])] == detail["loc"] != d["loc"] for d in details
        ):
            continue  # what is in it is wrong, and was not counted
        if detail["type"] not in ("missing", "extra_forbidden") and any(b[: len(path)] == path for b in broken):
            continue
        if detail["type"] != "missing":
            written = _descend(data, path[len(prefix) :])
            messages.setdefault(path, []).append(_explain(detail, model, written, beside))
        elif (detail["loc"][:-1], str(detail["loc"][-1])) not in meant:
            missing.append((path, _explain_missing(detail, model)))
    # Several at one place come from the members of a union: any of them would do.
    wrong = [
        (path, (_either([message for message, _ in said]), "; ".join(dict.fromkeys(hint for _, hint in said if hint))))
        for path, said in messages.items()
    ]
    return [_problem(document, path, *said, where) for path, said in wrong + missing]


def resolve_options(use: PluginUse, model: type[ModelT], document: TomlDocument | None) -> ModelT:
    """The plugin's options, checked. Raises SpecError with every problem that they have."""
    try:
        return model.model_validate(dict(use.options))
    except ValidationError as error:
        raise SpecError(problems_from_validation(error, document, use.path, model, use.where, use.options)) from None


def shown(value: object) -> str:
    """A value as TOML writes it, shortened; tables and lists by name only."""
    match value:
        case str() | bool() | int() | float():
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 60 else text[:57] + '…"'
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
        case Secret():
            return str(value)
        case _:
            return f"a {type(value).__name__}"


def _problem(document: TomlDocument | None, path: KeyPath, message: str, hint: str, where: SourceRef | None) -> Problem:
    if document is not None:
        return document.problem(path, message, hint)
    where = where or SourceRef("")
    return Problem(where.file, where.line, where.column, show_path(path), message, hint)


def _either(messages: list[str]) -> str:
    """`must be a whole number or a list, not 1.5`."""
    parts = [message.rpartition(", not ") for message in dict.fromkeys(messages)]
    if len({end for _, _, end in parts}) == 1 and all(start.startswith("must be ") for start, _, _ in parts):
        return f"must be {' or '.join(start.removeprefix('must be ') for start, _, _ in parts)}, not {parts[0][2]}"
    return " or ".join(dict.fromkeys(messages))


def _has(data: Any, step: str | int) -> bool:
    is_key = isinstance(data, Mapping) and step in data
    return is_key or (isinstance(data, list) and isinstance(step, int) and step < len(data))


def _descend(data: Any, path: KeyPath) -> Any:
    """What stands there; None where a template stands for it."""
    for step in path:
        data = data[step] if _has(data, step) else None
    return data


def _path(detail: ErrorDetails, data: Any) -> KeyPath:
    """The part of pydantic's location that is a path in the data: it also names members of unions."""
    loc = detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]
    if data is None:
        return loc
    path: KeyPath = ()
    for step in loc:
        if _has(data, step):
            path, data = (*path, step), data[step]
    return path


def _explain_missing(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint for a key that is not there."""
    key, table = str(detail["loc"][-1]), detail["input"]
    holder = _model_at(model, detail["loc"][:-1])
    hint = (holder.model_fields[key].description if holder and key in holder.model_fields else None) or ""
    others = [other for other in table if other not in _keys(holder)] if isinstance(table, Mapping) else []
    # Where any key may stand, most are options that are meant: only what is very like it is taken for it.
    if written := _guess(key, others, 0.8):
        hint = f'it is written "{written}" here'
    return f'missing key "{key}"', hint


def _explain(
    detail: ErrorDetails, model: type[BaseModel], written: Any = None, beside: Sequence[str] = ()
) -> tuple[str, str]:
    """Message and hint for a value that is wrong. `written` is what stands in the file, before it was converted."""
    kind, loc, context, value = detail["type"], detail["loc"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return "unknown key", known_hint(
            str(loc[-1]), [*_keys(_model_at(model, loc[:-1])), *(beside if len(loc) == 1 else ())]
        )
    if kind in ("value_error", "assertion_error"):
        return str(context["error"]), ""
    if kind in ("too_short", "string_too_short") and context["min_length"] == 1:
        return "must not be empty", ""
    if kind in ("too_short", "string_too_short"):
        return f"must have at least {context['min_length']}, not {len(value)}", ""
    if kind in ("too_long", "string_too_long"):
        return f"must have at most {context['max_length']}, not {len(value)}", ""
    if kind in ("literal_error", "enum"):
        options = context["expected"].replace("'", '"')
        words = re.findall(r'"([^"]*)"', options)
        return f"must be {options}, not {shown(value)}", did_you_mean(value, words) if isinstance(value, str) else ""
    if kind in ("list_type", "tuple_type") and isinstance(value, Mapping) and len(loc) == 1:
        return f"must be a list, not {shown(value)}", f"write [[{loc[0]}]]"
    if kind in _MUST_BE and _is_duration(written, value):
        limits = {k: format_duration(v) if isinstance(v, int | float) else v for k, v in context.items()}
        return f"must be {_MUST_BE[kind].format(**limits)}, not {shown(written)}", ""
    if kind in _MUST_BE:
        context = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in context.items()}
        return f"must be {_MUST_BE[kind].format(**context)}, not {shown(value)}", ""
    message = detail["msg"].replace("Input should", "must").replace("Value should", "must")
    return message[:1].lower() + message[1:], ""


def _is_duration(written: Any, value: Any) -> bool:
    """Whether the value was written as a duration, and taken for its seconds."""
    if not isinstance(written, str):
        return False
    try:
        return value in (written, parse_duration(written))
    except ValueError:
        return False


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel] | None:
    """The model that validates the table at this location."""
    here: type[BaseModel] | None = model
    for step in loc:
        if here and isinstance(step, str) and step in here.model_fields:
            here = _model_in(here.model_fields[step].annotation)
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
