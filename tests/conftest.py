"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

from harness import redact


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides is not redacted in another's output."""
    monkeypatch.setattr(redact, "_process", redact.Redactor())
