"""`harness schema`: the JSON Schema of playbooks, from the plugins that are installed."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.main import tell
from harness.cli.options import open_project, open_registry
from harness.errors import ExitCode, PluginLoadError
from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry


@click.command()
def schema() -> int:
    """Print the JSON Schema of playbooks on stdout, for editors.

    It knows the options of every plugin that is installed, or in the project that you are in. With taplo or
    the "Even Better TOML" extension: save it and put `#:schema ./playbook.schema.json` on a playbook's first line."""
    click.echo(json.dumps(playbook_schema(open_registry(open_project())), indent=2))
    return ExitCode.PASS


def playbook_schema(registry: Registry) -> dict[str, Any]:
    """The schema; a plugin that cannot be imported is left out, and told on stderr."""
    from harness.spec.playbook_model import ExpectationModel, PlaybookModel, TaskModel

    whole = PlaybookModel.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    properties = whole["properties"]
    for kind, key in ((Kind.TASK, "prepare"), (Kind.WORKLOAD, "workloads"), (Kind.EXPECTATION, "expectations")):
        properties[key] = {"type": "array", "items": _one_of(registry, kind, definitions)}
    beside = TaskModel.model_json_schema()["properties"]
    for name in registry.names(Kind.TASK):
        if task := definitions.get(f"{Kind.TASK}.{name}"):
            task["properties"] = {**{key: beside[key] for key in beside if key != "use"}, **task["properties"]}
    properties["steps"] = {"type": "array", "items": _steps(registry, definitions)}
    marks = ExpectationModel.model_json_schema()["properties"]
    for name in registry.names(Kind.EXPECTATION):
        if expectation := definitions.get(f"{Kind.EXPECTATION}.{name}"):
            own = {key: marks[key] for key in marks if key != "use"}
            expectation["properties"] = {**expectation["properties"], **own}
    names = {"type": "string", "enum": registry.names(Kind.CHAIN)}
    properties["chain"] = {"anyOf": [names, _one_of(registry, Kind.CHAIN, definitions)]}
    whole["required"].remove("name")  # a playbook without one is called like its file
    verbatim = {key: properties[key] for key in ("vars", "matrix")}
    whole = _templated(whole) | {"$defs": {name: _templated(one) for name, one in definitions.items()}}
    whole["properties"] |= verbatim
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "harness playbook", **whole}


def _one_of(registry: Registry, kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    options = []
    for name in registry.names(kind):
        try:
            cls = registry.get(kind, name)
        except PluginLoadError as error:
            tell(f"left out: {error}")
            continue
        one = cls.Config.model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
        for inner, definition in one.pop("$defs", {}).items():
            definitions[f"{kind}.{name}.{inner}"] = definition
        summary = (cls.__doc__ or "").strip().split("\n\n")[0]
        one["properties"] = {"use": {"const": name, "description": summary}, **one.get("properties", {})}
        one["required"] = ["use", *one.get("required", [])]
        one["title"] = name
        definitions[f"{kind}.{name}"] = one
        options.append({"$ref": f"#/$defs/{kind}.{name}"})
    return {"anyOf": options}


def _steps(registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """A step's own keys, and beside `fault` or `expect` the options of the plugin that it names."""
    from harness.spec.playbook_model import ACTIONS, StepModel

    own = StepModel.model_json_schema()["properties"]
    beside = {key: value for key, value in own.items() if key not in ACTIONS}
    options: list[dict[str, Any]] = [
        {"properties": {**beside, key: own[key]}, "required": [key], "additionalProperties": False}
        for key in ("heal", "run")
    ]
    for kind, key in ((Kind.FAULT, "fault"), (Kind.EXPECTATION, "expect")):
        _one_of(registry, kind, definitions)
        for name in registry.names(kind):
            if plugin := definitions.get(f"{kind}.{name}"):
                theirs = {k: v for k, v in plugin["properties"].items() if k != "use"}
                required = [key, *(k for k in plugin["required"] if k != "use")]
                named = {**plugin["properties"]["use"]}
                options.append(
                    {
                        "title": f"{key} {name}",
                        "properties": {**theirs, **beside, key: named},
                        "required": required,
                        "additionalProperties": False,
                    }
                )
    return {"anyOf": options}


def _templated(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with templates allowed for every value in what it describes."""
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {key: _or_template(inner) for key, inner in schema["properties"].items()}
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            found[key] = _or_template(schema[key])
    if "prefixItems" in schema:
        found["prefixItems"] = [_or_template(inner) for inner in schema["prefixItems"]]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            found[key] = [_templated(inner) for inner in schema[key]]
    return found


def _or_template(schema: dict[str, Any]) -> dict[str, Any]:
    """What says what the key is for stays on top, where editors look for it."""
    either: dict[str, Any] = {"anyOf": [_templated(schema), {"type": "string", "pattern": r"\{[{%]"}]}
    return either | {key: schema[key] for key in ("title", "description", "default") if key in schema}
