"""Signals, by that part of Python's module that is written in C: what is around it, enums of all names, takes longer to
load than an agent to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal

SIGKILL = 9
_BY_PYTHON = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name))
"""Those that Python ignores from its start on."""


def python_defaults() -> None:
    """Undo that: for what is not Python."""
    for number in _BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)


def nothing_ignored() -> None:
    """Have none ignored or blocked but by Python, as children inherit that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if number not in _BY_PYTHON and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
