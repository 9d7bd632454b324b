"""Secrets in plugins' options: plain text where that may be seen, else where it is to be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from harness.errors import InfrastructureError, UsageError
from harness.spec.secrets import Secret


def _secret(value: object, info: ValidationInfo) -> Secret:
    if isinstance(value, str):
        raise ValueError('a playbook is no place for a secret: write { env = "NAME" }, { file = … } or { command = … }')
    return Secret.of(value, info.field_name or "the secret", (info.context or {}).get("folder", Path()))


def _header(value: object, info: ValidationInfo) -> str | Secret:
    if not isinstance(value, str):
        return _secret(value, info)
    if not value.isprintable():
        raise ValueError("a header's value is one line of text")
    return value


def _reference(value: str | Secret) -> Any:
    return value.reference() if isinstance(value, Secret) else value


_SOURCE = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        "env": {"type": "string"},
        "file": {"type": "string"},
        "command": {"type": "array", "items": {"type": "string"}},
    },
}
SecretSource = Annotated[
    Secret, PlainValidator(_secret), PlainSerializer(_reference, when_used="json"), WithJsonSchema(_SOURCE)
]
"""A secret by where it is to be had: `{ env = "NAME" }`, `{ file = "path" }`, `{ command = ["pass", "show", "x"] }`."""
Header = Annotated[
    str | Secret,
    PlainValidator(_header),
    PlainSerializer(_reference, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string"}, _SOURCE]}),
]
"""A header's value, or where it is to be had."""


def missing_secrets(secrets: Iterable[str | Secret | None]) -> list[str]:
    """What is wrong with these options in plan: a sentence for each secret that is not where it is to be had."""
    return [why for one in secrets if isinstance(one, Secret) and (why := one.missing())]


async def revealed(headers: Mapping[str, str | Secret]) -> dict[str, str]:
    """The headers with their secrets read. Raises InfrastructureError, which does not say what they are."""
    return {name: value if isinstance(value, str) else await reveal(value) for name, value in headers.items()}


async def reveal(secret: Secret) -> str:
    """Raises InfrastructureError, which says where it should have come from."""
    try:
        return await anyio.to_thread.run_sync(secret.reveal)
    except UsageError as error:
        raise InfrastructureError(str(error)) from None
