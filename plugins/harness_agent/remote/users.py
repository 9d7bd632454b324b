"""Who does what: an agent that runs as root does most things as the user who logged in."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from .children import Identity

INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""What processes get of the agent's environment, with LC_*. No more: neither proxies, nor PYTHONPATH, nor secrets of
whoever started it are to make a node behave otherwise on one machine than on another."""


def base_environment() -> dict[str, str]:
    """The environment that every process starts from."""
    return {key: value for key, value in os.environ.items() if key in INHERITED or key.startswith("LC_")}


class User:
    """`name` and `env`, the environment that it logged in with; without a name, whoever the agent is."""

    def __init__(self, name: str = "", env: Mapping[str, str] | None = None) -> None:
        self.env = dict(env) if env is not None else base_environment()
        self.identity: Identity | None = None
        if name:
            entry = pwd.getpwnam(name)
            if entry.pw_uid != os.geteuid():
                self.identity = Identity(entry.pw_uid, entry.pw_gid, os.getgrouplist(name, entry.pw_gid))
        self.name = name or login()

    def acting(self) -> Acting:
        """What is done to files inside is done as this user. There is one thread: nobody else is affected."""
        return Acting(self.identity)


class Acting:
    """For a while; without an identity as oneself."""

    def __init__(self, identity: Identity | None) -> None:
        self._identity = identity

    def __enter__(self) -> None:
        if self._identity is not None:
            self._before = os.getgroups(), os.getegid(), os.geteuid()
            os.setgroups(list(self._identity.groups))
            os.setegid(self._identity.gid)
            os.seteuid(self._identity.uid)

    def __exit__(self, *_: object) -> None:
        if self._identity is not None:
            groups, gid, uid = self._before
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)


def login() -> str:
    """The name of the user that the agent runs as, its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
