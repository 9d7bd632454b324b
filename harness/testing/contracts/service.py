"""The node of the contract suites: listens, answers, and does as it is told. Standard library only, one file.

    python service.py NAME BIND P2P_PORT API_PORT [ANYTHING…]

Whoever connects to the peer port is told NAME, and then each line that he says himself; but for "take NUMBER", whose
answer is "taken" when that many bytes have come. The API takes one request a connection, a JSON list on a line, and
answers a JSON value on a line:

    ["head"]                  how many requests it has answered
    ["facts"]                 {"pid", "argv", "env", "cwd", "time", "signals"}: signals: those that it was sent
    ["dial", HOST, PORT]      the name of the node at that peer port, or {"error"}
    ["connect", KEY, HOST, PORT]    the same, of a connection that is kept, and called KEY
    ["say", KEY, LINES]       says these lines on it
    ["hear", KEY, SECONDS]    the next line from there, null when none has come within so many seconds
    ["push", KEY, BYTES]      the seconds that so many bytes take to be there, all of them, and for the word of it
    ["shout", LINE]           says a line on all connections that were made to it
    ["lines"]                 all that was said to it on these
    ["write", FD, BASE64]     writes these bytes to its stdout (1) or stderr (2), all of them before it answers
    ["count", FROM, TO]       writes a line for each number to stdout
    ["child", MARK]           starts a process in a session of its own that does nothing, for ever; its pid. MARK is the
                              last of its arguments
    ["ignore", NUMBER]        ignores this signal from now on
    ["exit", CODE]            ends at once; no answer"""

import base64
import json
import os
import queue
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any

PATIENCE = 3.0
"""Seconds for a peer to answer."""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Node:
    """What it has done so far."""

    def __init__(self) -> None:
        self.answered = 0
        self.signals: list[int] = []
        self.lines: list[str] = []
        self.callers: set[BufferedIOBase] = set()
        self.kept: dict[str, tuple[socket.socket, queue.SimpleQueue[tuple[str, float]]]] = {}

    def answer(self, word: str, *arguments: Any) -> Any:
        self.answered += 1
        if word == "head":
            return self.answered
        if word == "facts":
            about = {"pid": os.getpid(), "argv": sys.argv[1:], "cwd": str(Path.cwd()), "time": time.time()}
            return {**about, "env": dict(os.environ), "signals": self.signals}
        if word == "dial":
            return dial(*arguments)
        if word in ("connect", "say", "hear", "push", "shout", "lines"):
            return getattr(self, f"_{word}")(*arguments)
        if word == "write":
            write(arguments[0], base64.b64decode(arguments[1]))
        elif word == "count":
            write(1, b"".join(b"%d\n" % number for number in range(*arguments)))
        elif word == "child":
            return subprocess.Popen(
                [sys.executable, "-c", "import time\nwhile True: time.sleep(1000)", *arguments], start_new_session=True
            ).pid
        elif word == "ignore":
            signal.signal(arguments[0], signal.SIG_IGN)
        elif word == "exit":
            os._exit(arguments[0])
        return None

    def greet(self, lines: BufferedIOBase, back: BufferedIOBase) -> None:
        """One who has dialled, until he goes."""
        self.callers.add(back)
        try:
            while line := lines.readline():
                said = line.decode().strip()
                word, _, number = said.partition(" ")
                if word == "take":
                    left = int(number)
                    while left and (piece := lines.read(min(left, 65536))):
                        left -= len(piece)
                    line = b"taken\n"
                else:
                    self.lines.append(said)
                back.write(line)
        except OSError:
            pass  # he has gone without a word
        finally:
            self.callers.discard(back)

    def _connect(self, key: str, host: str, port: int) -> Any:
        try:
            connection = socket.create_connection((host, port), PATIENCE)
        except OSError as error:
            return {"error": str(error)}
        connection.settimeout(None)
        heard: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        self.kept[key] = (connection, heard)

        def listen() -> None:
            for line in connection.makefile():
                heard.put((line.strip(), time.monotonic()))

        threading.Thread(target=listen, daemon=True).start()
        return self._hear(key, PATIENCE)

    def _say(self, key: str, lines: list[str]) -> None:
        self.kept[key][0].sendall("".join(f"{line}\n" for line in lines).encode())

    def _hear(self, key: str, seconds: float) -> str | None:
        try:
            return self.kept[key][1].get(timeout=seconds)[0]
        except queue.Empty:
            return None

    def _push(self, key: str, size: int) -> float:
        connection, heard = self.kept[key]
        began = time.monotonic()
        connection.sendall(f"take {size}\n".encode() + bytes(size))
        line, at = heard.get()
        assert line == "taken", line
        return at - began

    def _shout(self, line: str) -> None:
        for back in tuple(self.callers):
            back.write(line.encode() + b"\n")

    def _lines(self) -> list[str]:
        return self.lines

    def note(self, number: int, frame: object) -> None:
        self.signals.append(number)

    def stop(self, number: int, frame: object) -> None:
        write(1, b"stopping\n")
        os._exit(0)


def write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def dial(host: str, port: int) -> Any:
    try:
        with socket.create_connection((host, port), PATIENCE) as peer:
            return peer.makefile().readline().strip() or {"error": "it said nothing"}
    except OSError as error:
        return {"error": str(error)}


def main(name: str, bind: str, p2p: str, api: str, *more: str) -> None:
    node = Node()
    signal.signal(signal.SIGTERM, node.stop)
    signal.signal(signal.SIGUSR1, node.note)
    jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    woken, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())  # else a signal could come just before the wait, and be heard after it

    class Greeting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(name.encode() + b"\n")
            node.greet(self.rfile, self.wfile)

    class Api(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self.rfile.readline()
            if not request:
                return
            answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
            jobs.put(lambda: answers.put(node.answer(*json.loads(request))))
            wakeup.send(b"\0")
            self.wfile.write(json.dumps(answers.get()).encode() + b"\n")

    for port, handler in ((p2p, Greeting), (api, Api)):
        server = Server((bind, int(port)), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    write(1, f"{name} is up\n".encode())
    while woken.recv(4096):
        while not jobs.empty():
            jobs.get()()  # on the main thread: Python sets handlers of signals there only


if __name__ == "__main__":
    main(*sys.argv[1:])
