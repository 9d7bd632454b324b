"""Faults on a bench's nodes, without a run around them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.api import FaultContext
from harness.testing.contracts.bench import Net
from harness.testing.contracts.faults import BenchContext


@pytest.fixture
def fault_context() -> Callable[[Net], FaultContext]:
    return BenchContext
