"""How fast bytes pass between two machines: run on both by their own Python, standard library only.

    python rate_script.py sink '["0.0.0.0", 40001, TOKEN, SIZE, PATIENCE]'  takes SIZE bytes, sends as many, ends; with
                                                                            status 98 where the port is somebody's
    python rate_script.py send '["10.0.0.2", 40001, TOKEN, SIZE, PATIENCE]' → [seconds there, seconds back, "why not"]

Either way is timed by who dials: until the sink has said that it has all, and until all that it sends is here. The sink
greets with TOKEN: what took the connection may be a relay with nobody behind it yet, then it is dialled again.
"""

import errno
import json
import socket
import sys
import time

AGAIN = 0.05
"""Seconds until a sink that is not there yet is dialled again."""
PIECE = bytes(1 << 16)
TAKEN = 98
"""The exit status of a sink at whose port somebody listens already."""


def left(until: float) -> float:
    return max(0.001, until - time.monotonic())


def take(connection: socket.socket, size: int, until: float) -> bytes:
    """Take exactly so many bytes; the last of them. Raises OSError."""
    last = b""
    while size:
        connection.settimeout(left(until))
        last = connection.recv(min(size, len(PIECE)))
        if not last:
            raise ConnectionError("it has ended the connection")
        size -= len(last)
    return last


def give(connection: socket.socket, size: int, until: float) -> None:
    while size:
        connection.settimeout(left(until))
        size -= connection.send(PIECE[:size])


def sink(host: str, port: int, token: str, size: int, patience: float) -> None:
    until = time.monotonic() + patience
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        sys.exit(TAKEN if error.errno == errno.EADDRINUSE else str(error))
    with listening:
        while True:
            listening.settimeout(left(until))
            connection, _ = listening.accept()
            try:
                with connection:
                    connection.sendall(token.encode())
                    take(connection, size, until)
                    connection.sendall(b"!")
                    take(connection, 1, until)
                    give(connection, size, until)
                    return
            except OSError:  # somebody else's, or one given up meanwhile
                if time.monotonic() >= until:
                    raise


def send(host: str, port: int, token: str, size: int, patience: float) -> "tuple[float | None, float | None, str]":
    until = time.monotonic() + patience
    there, error = None, ""
    while time.monotonic() < until:
        try:
            with socket.create_connection((host, port), left(until)) as connection:
                greeting = b""
                while len(greeting) < len(token):
                    greeting += take(connection, 1, until)
                if greeting != token.encode():
                    return None, None, "somebody else listens there"
                began = time.monotonic()
                give(connection, size, until)
                take(connection, 1, until)
                there = time.monotonic() - began
                began = time.monotonic()
                connection.sendall(b"?")
                take(connection, size, until)
                return there, time.monotonic() - began, ""
        except OSError as why:
            error = str(why) or type(why).__name__
            if there is not None:
                break
            time.sleep(AGAIN)
    return there, None, error or "it took too long"


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink(*json.loads(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(send(*json.loads(sys.argv[2]))))
