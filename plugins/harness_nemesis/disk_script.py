"""A file that takes all room: run on a machine by its own Python, standard library only.

… '["fill", FOLDER, FILE, LEAVE, LARGEST]'  fills the file system of the FOLDER, but for LEAVE bytes; or says why not
… '["look", FOLDER, FILE, BYTES]'           → {size of FILE or null, free, total, error of writing so many BYTES}"""

import errno
import json
import os
import sys

CHUNK = 1 << 20
TIDY = {"lost+found"}
"""What file systems have of themselves."""


def refusal(folder: str, largest: int) -> str:
    """Why the file system of this folder must not be filled; "" if it is the folder's own, and bounded."""
    device = os.stat(folder).st_dev
    top, chain = folder, []
    while top != "/" and os.stat(os.path.dirname(top)).st_dev == device:
        chain.append(os.path.basename(top))
        top = os.path.dirname(top)
    if top == "/":
        return f"{folder} is on the machine's root file system: filling it would hit everybody there"
    here = top
    for name in reversed(chain):
        if others := set(os.listdir(here)) - TIDY - {name}:
            return f"{folder} shares the file system at {top} with {', '.join(sorted(others)[:3])}"
        here = os.path.join(here, name)
    total = size_of(folder)["total"]
    if total > largest:
        return f"the file system at {top} has {total} bytes, more than the {largest} that may be filled"
    return ""


def size_of(folder: str) -> "dict[str, int]":
    found = os.statvfs(folder)
    return {"free": found.f_bavail * found.f_frsize, "total": found.f_blocks * found.f_frsize}


def write(path: str, size: "int | None") -> str:
    """Write so many bytes, None: as many as there is room for. Returns the name of the error, "" for none."""
    chunk, step, written = os.urandom(CHUNK), CHUNK, 0
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while size is None or written < size:
            try:
                written += os.write(file, chunk[: step if size is None else min(step, size - written)])
            except OSError as error:
                if size is not None or error.errno != errno.ENOSPC:
                    return errno.errorcode.get(error.errno or 0, str(error))
                if step == 1:
                    return ""
                step //= 2
        os.fsync(file)
        return ""
    except OSError as error:  # room is sometimes missed only then
        return errno.errorcode.get(error.errno or 0, str(error))
    finally:
        os.close(file)


def fill(folder: str, name: str, leave: int, largest: int) -> None:
    if why := refusal(folder, largest):
        sys.exit(why)
    path = os.path.join(folder, name)
    if error := write(path, None):
        os.unlink(path)
        sys.exit(f"{folder} could not be filled: {error}")
    os.truncate(path, max(0, os.stat(path).st_size - leave))


def look(folder: str, name: str, size: int) -> "dict[str, object]":
    path, probe = os.path.join(folder, name), os.path.join(folder, name + ".probe")
    there = os.stat(path).st_size if os.path.exists(path) else None
    try:
        error = write(probe, size)
    except OSError as refused:  # not even its name could be written
        error = errno.errorcode.get(refused.errno or 0, str(refused))
    finally:
        if os.path.exists(probe):
            os.unlink(probe)
    return {"file": there, **size_of(folder), "write": error}


def main() -> None:
    command, *arguments = json.loads(sys.argv[1])
    if command == "fill":
        fill(*arguments)
    sys.stdout.write(json.dumps(look(*arguments) if command == "look" else None))


if __name__ == "__main__":
    main()
