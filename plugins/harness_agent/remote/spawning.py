"""A process made of an agent. Popen does more, and loading it takes as long as half of an agent's start; posix_spawn
could not have what is done here between fork and exec."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence

from .light import suppress
from .signals import python_defaults


def keep_to_ourselves() -> None:
    """Whatever we have inherited but stdin, stdout and stderr, no process of ours is to inherit. What Python opens it
    does not."""
    with suppress(FileNotFoundError):  # not every folder that one can be locked into has /dev
        for fd in map(int, os.listdir("/dev/fd")):
            if fd > 2:
                with suppress(OSError):  # that of the list itself
                    os.set_inheritable(fd, False)


def spawn(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, files: Sequence[int], prepare: Callable[[], None]
) -> int:
    """The pid of a new process in a session of its own. `files` become its stdin, stdout and stderr, and are none of
    these here; `prepare` is called in it last. argv[0] is looked for in the PATH of `env`. Raises OSError, that of
    what failed in the child included, ValueError and TypeError."""
    words = [_whole(word) for word in argv]
    variables = {_name(name): _whole(value) for name, value in env.items()}
    folder = _whole(cwd)
    programs = [words[0]]
    if b"/" not in words[0]:
        programs = [os.path.join(os.fsencode(path), words[0]) for path in os.get_exec_path(env)]
    reading, writing = os.pipe()  # closed by becoming the program
    try:
        pid = os.fork()
        if pid == 0:
            _become(words, variables, folder, files, prepare, programs, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        number, _, failed = os.read(reading, 100).decode().partition(" ")
    finally:
        os.close(reading)
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)), cwd if failed == "cwd" else argv[0])
    return pid


def _become(
    words: list[bytes],
    variables: dict[bytes, bytes],
    folder: bytes,
    files: Sequence[int],
    prepare: Callable[[], None],
    programs: list[bytes],
    writing: int,
) -> None:
    """In the child, and never back from here."""
    doing = "cwd"
    try:
        for target, fd in enumerate(files):
            os.dup2(fd, target)
        os.chdir(folder)
        doing = "argv"
        python_defaults()
        os.setsid()
        prepare()
        raise _execute(programs, words, variables)
    except BaseException as error:  # noqa: BLE001 - whatever it is, this copy of the agent must not go on
        os.write(writing, f"{getattr(error, 'errno', None) or errno.EINVAL} {doing}".encode())
    finally:
        os._exit(255)


def _execute(programs: list[bytes], words: list[bytes], variables: dict[bytes, bytes]) -> OSError:
    """Only returns why it did not: what is wrong with a program that is there counts more than that others are not."""
    failure = OSError(errno.ENOENT, "")
    for program in programs:
        try:
            os.execve(program, words, variables)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failure = error
    return failure


def _whole(word: str) -> bytes:
    encoded = os.fsencode(word)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _name(name: str) -> bytes:
    if "=" in name:
        raise ValueError("illegal environment variable name")
    return _whole(name)
