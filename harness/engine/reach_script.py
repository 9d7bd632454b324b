"""Dial addresses, all at once: run on a machine by its own Python, standard library only.

    python reach_script.py '[PATIENCE, [["10.0.0.2", 26656], …]]'  → [[connected, round trip or null, "why not"], …]

A connection is ended by us as soon as it is there, and the other side's end is waited for: whatever protocol is spoken
there, that takes a round trip through all that delays data, which a handshake done by a relay's kernel does not."""

import json
import socket
import sys
import threading
import time


def dial(host: str, port: int, patience: float) -> "tuple[bool, float | None, str]":
    began = time.monotonic()
    try:
        with socket.create_connection((host, port), patience) as connection:
            ended = time.monotonic()
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(max(0.001, patience - (ended - began)))
            try:
                while connection.recv(65536):
                    pass
            except TimeoutError:
                return True, None, "it does not end a connection that we have ended"
            return True, time.monotonic() - ended, ""
    except OSError as error:  # a reset too: what took the connection had nobody behind it
        return False, None, str(error) or type(error).__name__


def main() -> None:
    patience, addresses = json.loads(sys.argv[1])
    answers: list[object] = [None] * len(addresses)

    def one(number: int, host: str, port: int) -> None:
        answers[number] = dial(host, port, patience)

    threads = [threading.Thread(target=one, args=(n, *address)) for n, address in enumerate(addresses)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()
