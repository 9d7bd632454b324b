"""Keys as they are read from a terminal."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

import pytest
from textual.events import Key
from textual.message import Message

from harness.tui.driver import PromptDriver

PATIENCE = 30.0


class Reading(PromptDriver):
    """Without an app or a screen: what is written to `keys` is read."""

    def __init__(self) -> None:
        self.fileno, self.keys = os.pipe()
        self._debug = False
        self.exit_event = threading.Event()
        self.read: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self.run_input_thread)
        self.thread.start()

    def process_message(self, message: Message) -> None:
        if isinstance(message, Key):
            self.read.put(message.key)

    def write(self, data: str | bytes) -> None:
        os.write(self.keys, data if isinstance(data, bytes) else data.encode())


@pytest.fixture
def reading() -> Iterator[Reading]:
    driver = Reading()
    yield driver
    driver.exit_event.set()
    driver.thread.join(PATIENCE)
    assert not driver.thread.is_alive()
    os.close(driver.fileno)
    if driver.keys >= 0:
        os.close(driver.keys)


def test_a_lone_escape_is_told_while_nothing_follows(reading: Reading) -> None:
    reading.write(b"\x1b")
    assert reading.read.get(timeout=PATIENCE) == "escape"


def test_a_sequence_is_one_key(reading: Reading) -> None:
    reading.write(b"\x1b[A\x1b[1;2Cq")
    assert [reading.read.get(timeout=PATIENCE) for _ in range(3)] == ["up", "shift+right", "q"]


def test_whatever_is_written_the_next_key_is_read(reading: Reading) -> None:
    reading.write(b"\xff\xc3" + b"\x1b[" + b"9;" * 3000)
    reading.write("ä".encode() + b"\x1b[Bz")
    keys = []
    while not keys or keys[-1] != "z":
        keys.append(reading.read.get(timeout=PATIENCE))
    os.close(reading.keys)  # the terminal is gone
    reading.keys = -1
    reading.thread.join(PATIENCE)
    assert not reading.thread.is_alive()
