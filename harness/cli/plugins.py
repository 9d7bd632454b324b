"""`harness plugins`: what is installed, and what one of them does and takes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from harness.cli.options import open_project, open_registry
from harness.errors import ExitCode, UnknownPluginError
from harness.plugin.contract.base import Plugin
from harness.plugin.discovery import Kind
from harness.plugin.registry import CONTRACTS, Registry
from harness.record.text import block, one_line
from harness.spec.durations import format_duration, parse_duration


@click.group()
def plugins() -> None:
    """List plugins, and read what one does and takes.

    Plugins come from installed packages (entry points of the group "harness") and from the plugins/ folder of
    the project that you are in."""


@plugins.command("list")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_plugins(kind: str | None, as_json: bool) -> int:
    """List what can be used. Nothing is imported for it."""
    registry = open_registry(open_project())
    found = sorted(
        (c for c in registry.candidates if kind in (None, c.kind)), key=lambda c: (str(c.kind or "~"), c.name)
    )
    if as_json:
        rows = [{"kind": c.kind, "name": c.name, "from": c.origin, "problem": c.problem or None} for c in found]
        click.echo(json.dumps(rows, indent=2))
        return ExitCode.PASS
    kinds = max((len(str(c.kind or "?")) for c in found), default=0)
    width = max((len(c.name) for c in found), default=0)
    for candidate in found:
        problem = f"  BROKEN: {candidate.problem}" if candidate.problem else ""
        click.echo(one_line(f"{candidate.kind or '?':<{kinds}} {candidate.name:<{width}}  {candidate.origin}{problem}"))
    return ExitCode.PASS


@plugins.command()
@click.argument("name")
@click.option("--kind", type=click.Choice([kind.value for kind in CONTRACTS]), help="Where kinds share a name.")
def doc(name: str, kind: str | None) -> int:
    """Show what plugin NAME does and which options it takes, with their types and defaults."""
    registry = open_registry(open_project())
    kinds = [k for k in CONTRACTS if kind in (None, k) and name in registry.names(k)]
    if not kinds:
        raise UnknownPluginError(_unknown(registry, name))
    for number, found in enumerate(kinds):
        if number:
            click.echo()
        for line in doc_lines(found, registry.get(found, name)):
            click.echo(block(line))
    return ExitCode.PASS


def _unknown(registry: Registry, name: str) -> str:
    import difflib

    names = sorted({n for kind in CONTRACTS for n in registry.names(kind)})
    near = difflib.get_close_matches(name, names, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    return f'no plugin is named "{name}"{meant} (installed: {", ".join(names)})'


def doc_lines(kind: Kind, cls: type[Plugin[Any]]) -> Iterator[str]:
    """A plugin's documentation, from its docstring and its `Config`."""
    yield f"{cls.name} ({kind})"
    yield ""
    yield from (f"  {line}".rstrip() for line in inspect.cleandoc(cls.__doc__ or "Not documented.").splitlines())
    properties = cls.Config.model_json_schema().get("properties", {})
    required = cls.Config.model_json_schema().get("required", [])
    yield ""
    if not properties:
        yield "  It takes no options."
        return
    yield "  Options:"
    for name, schema in properties.items():
        default = "required" if name in required else f"default {_default(cls, name)}"
        yield f"    {name:<18} {_type(schema):<28} {default}"
        if text := schema.get("description"):
            yield f"    {'':<18} {text}"
    if about := inspect.cleandoc(cls.Config.__doc__ or ""):
        yield ""
        yield from (f"  {line}".rstrip() for line in about.splitlines())


def _default(cls: type[Plugin[Any]], name: str) -> str:
    field = next(field for key, field in cls.Config.model_fields.items() if name in (key, field.alias))
    value = field.get_default(call_default_factory=True)
    if isinstance(value, float):
        return f'"{format_duration(value)}"' if _is_duration(field) else f"{value:g}"
    return json.dumps(value) if isinstance(value, str | bool | int | list | dict) or value is None else f'"{value}"'


def _is_duration(field: Any) -> bool:
    return any(getattr(item, "func", None) is parse_duration for item in field.metadata)


def _type(schema: dict[str, Any]) -> str:
    if choices := schema.get("enum"):
        return " | ".join(json.dumps(choice) for choice in choices)
    if examples := schema.get("examples"):
        return f"like {json.dumps(examples[0])}"
    if options := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    kind: str = schema.get("type", "any")
    plain = {"integer": "whole number", "string": "text", "array": "list", "object": "table", "null": "nothing"}
    return plain.get(kind, kind)
