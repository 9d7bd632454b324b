from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.observe.virtual_time import VirtualLoop
from tests.observe.world import World


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Virtual time: an hour takes as long as what happens in it."""
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    def make(*names: str, **options: Any) -> World:
        return World(tmp_path, names or ("validator-0", "validator-1", "executor-0"), **options)

    return make
