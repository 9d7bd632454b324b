"""What tests wait with."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from harness.testing.waiting import eventually, wait_until

pytestmark = pytest.mark.anyio


async def test_what_comes_true_is_waited_for_and_what_does_not_is_named() -> None:
    asked: list[bool] = []

    async def third_time() -> bool:
        asked.append(True)
        await anyio.lowlevel.checkpoint()
        return len(asked) == 3

    await eventually(third_time, "the third time has come")
    assert len(asked) == 3
    await eventually(lambda: asked, "somebody asked")
    said = "it did not come true within 0.05 s that pigs fly"
    for never in (lambda: False, anyio.Event().wait):
        with pytest.raises(pytest.fail.Exception, match=said):
            await eventually(never, "pigs fly", patience=0.05)
    wait_until(lambda: asked)
    with pytest.raises(pytest.fail.Exception, match=said):
        wait_until(lambda: False, "pigs fly", patience=0.05)
