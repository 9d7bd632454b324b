"""Whose signature on a server's certificate is good, where the machine's own authorities are not asked."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from harness.api import UsageError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def _absolute(value: str, info: ValidationInfo) -> str:
    return str((Path((info.context or {}).get("folder", "")) / Path(value).expanduser()).absolute()) if value else ""


CertificateFile = Annotated[str, AfterValidator(_absolute)]
"""A path, relative to the playbook's folder; "" for none."""


def certificates(path: str) -> str:
    """The certificates in this file, as PEM, and nothing else that is in it. Raises UsageError where there are none."""
    try:
        found = "\n".join(_CERTIFICATE.findall(Path(path).read_text(encoding="ascii", errors="replace")))
        if not found:
            raise ValueError("there is no certificate in it (PEM: -----BEGIN CERTIFICATE-----)")
        ssl.create_default_context(cadata=found)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise UsageError(f"ca = {path}: {getattr(error, 'strerror', None) or error}") from None
    return found
