"""Where an agent begins, once its bootstrap has read it."""

from __future__ import annotations

import os

from . import facts
from .agent import Agent
from .frames import MAGIC, encode
from .loop import take_signals
from .processes import look
from .users import User


def main(mode: str, fd: int, source: bytes, rest: bytes) -> None:
    """`fd` is where the program was read from; `rest` what came after it."""
    if mode == "keeper":
        from . import keeper  # not at the top: few need it

        keeper.main(source, rest)
    else:
        attached(source, fd, rest)
        os._exit(0)  # nothing is left to be done, and to take an interpreter apart takes as long as a command


def attached(source: bytes, reading: int, rest: bytes) -> None:
    """Serve stdin and stdout, or the socket that is both, until its end; then end everything."""
    user = User()
    agent = Agent(source, user, _home(user))
    take_signals(agent.loop, agent.children.collect, agent.loop.stop)
    try:
        connection = agent.connect(os.dup(reading), os.dup(1), agent.loop.stop)
        connection.write(MAGIC + encode(_hello(user)))
        connection.begin(rest)
        agent.loop.run()
    finally:
        agent.giving_up = True
        agent.end()


def _home(user: User) -> str:
    home = user.env.get("HOME", "/")
    return home if os.path.isdir(home) else "/"


def _hello(user: User) -> dict[str, object]:
    me = look(os.getpid())
    assert me is not None
    return {
        "pid": me.pid,
        "start": me.start,
        "python": facts.python(),
        "version": facts.version(),
        "user": user.name,
        "uid": os.geteuid(),
        "home": _home(user),
        "system": os.uname().sysname,
        "systemd": os.path.isdir("/run/systemd/system"),
    }
