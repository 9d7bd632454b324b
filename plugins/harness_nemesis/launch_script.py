"""Which processes of a machine run as a launch says: run there by its own Python, standard library only.

… '[[argument, …], {name: value, …}]'  → [[pid, whether its environment has all of that, null: unknown], …]"""

import json
import os
import sys


def words(path: str) -> "list[bytes]":
    with open(path, "rb") as file:
        return file.read().split(b"\0")[:-1]


def runs_so(line: "list[bytes]", argv: "list[bytes]") -> bool:
    """A script's interpreter stands before what it was started as."""
    return line[len(line) - len(argv) :] == argv


def main() -> None:
    argv, env = json.loads(sys.argv[1])
    wanted = [os.fsencode(word) for word in argv]
    pairs = {os.fsencode(f"{name}={value}") for name, value in env.items()}
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if not runs_so(words(f"/proc/{name}/cmdline"), wanted):
                continue
            try:
                has = pairs <= set(words(f"/proc/{name}/environ"))
            except PermissionError:
                has = None
            found.append([int(name), has])
        except OSError:
            continue
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
