"""Reading a terminal's keys."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from contextlib import suppress

from textual import constants
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

IDLE = 0.1
"""Seconds between two looks at whether the app has ended."""
MARGIN = 0.002
"""Seconds that are waited longer than needed, so that it is over then whatever clocks are read."""
READ = 4096


class PromptDriver(LinuxDriver):
    """Textual's, that tells a lone Escape as soon as it is one: theirs looks for that ten times a second, which is
    later than keys are to be answered."""

    def run_input_thread(self) -> None:
        """Until the app ends, or the terminal is gone. What is no UTF-8 is told as such."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.DefaultSelector() as selector, suppress(EOFError, ParseError):
            selector.register(self.fileno, selectors.EVENT_READ)
            patience = IDLE
            while not self.exit_event.is_set():
                if selector.select(patience):
                    data = os.read(self.fileno, READ)
                    if not data:
                        break
                    for event in parser.feed(decode(data)):
                        self.process_message(event)
                    patience = constants.ESCAPE_DELAY + MARGIN  # it may have been the beginning of a sequence
                else:
                    patience = IDLE
                for event in parser.tick():
                    self.process_message(event)
            for _ in parser.feed(""):
                pass
