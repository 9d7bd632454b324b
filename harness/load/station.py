"""The program on a machine that load comes from: it has a sender for everyone who knows the secret.

It is brought there with the senders as one file (harness.load.bundle), and imports nothing that is not in there:

    python sender.pyz serve ADDRESS PORT SECRET_FILE
    python sender.pyz worker            (a sender, spoken with on stdin and stdout)

Whoever connects says the secret and a line feed, is told of the machine in a line of JSON, and then speaks with a
sender of its own, which ends with the connection."""

from __future__ import annotations

import hmac
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

ALONE = ("-I", "-S")
"""Options of Python: what is installed there may be of any version, and is not needed."""
LIBRARIES = "lib"
"""Folder, in the file and beside where this runs, of what cannot be imported from within a zip file."""
SECRET_LENGTH = 64
SECRET_WITHIN = 10.0
"""Seconds in which whoever connects must have said the secret."""
STRANGERS = 32
"""Connections at once that have not said it."""


def main(argv: list[str]) -> None:
    """Do what the command line says."""
    program, command, *rest = argv
    libraries = Path.cwd() / LIBRARIES
    if command == "serve":
        _unpack(Path(program), libraries)
    sys.path.insert(0, str(libraries))
    if command == "worker":
        from harness.load.worker import main as send

        send()
    else:
        address, port, secret_file = rest
        serve(program, address, int(port), Path(secret_file).read_bytes().strip())


def serve(program: str, address: str, port: int, secret: bytes) -> None:
    """Until this process is ended."""
    about = json.dumps(_about()).encode() + b"\n"
    room = threading.BoundedSemaphore(STRANGERS)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=128) as listener:
        while True:
            room.acquire()
            connection, _ = listener.accept()
            threading.Thread(target=_receive, args=(program, connection, secret, about, room), daemon=True).start()


def _receive(
    program: str, connection: socket.socket, secret: bytes, about: bytes, room: threading.BoundedSemaphore
) -> None:
    with connection:
        try:
            known = _knows(connection, secret)
            if known:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(about)
        except OSError:
            return  # whoever it was is gone, or says nothing
        finally:
            room.release()
        if not known:
            return
        connection.settimeout(None)
        argv, stream = [sys.executable, *ALONE, program, "worker"], connection.fileno()
        code = subprocess.Popen(argv, stdin=stream, stdout=stream).wait()
        if code:  # said before the connection ends, whose end is what has this looked for
            sys.stderr.write(f"a sender: {ending(code)}\n")
            sys.stderr.flush()


def ending(code: int) -> str:
    """How a process ended that has this return code, as subprocess has it; "" for one that ended well."""
    if code >= 0:
        return f"exit code {code}" if code else ""
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time one has no name
        return f"killed by signal {-code}"


def _knows(connection: socket.socket, secret: bytes) -> bool:
    """Whether the other side says it. Not a byte more is read: what comes after is for the sender. Raises OSError."""
    connection.settimeout(SECRET_WITHIN)
    said = b""
    while len(said) <= SECRET_LENGTH:
        more = connection.recv(SECRET_LENGTH + 1 - len(said))
        if not more:
            return False
        said += more
    return hmac.compare_digest(said, secret + b"\n")


def _about() -> dict[str, str | int]:
    """Of this machine what its controller wants to know."""
    from harness.load.loops import NAME as LOOP
    from harness.load.parser import NAME as PARSER

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpus": cpus, "python": platform.python_version(), "parser": PARSER, "loop": LOOP}


def _unpack(program: Path, to: Path) -> None:
    with zipfile.ZipFile(program) as archive:
        archive.extractall(to.parent, [name for name in archive.namelist() if name.startswith(f"{LIBRARIES}/")])


if __name__ == "__main__":
    main(sys.argv)
