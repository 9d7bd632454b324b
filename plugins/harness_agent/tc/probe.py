"""What a machine says of tc and of the ways to other machines. Run there, as root, by its own Python (3.8 or newer):
JSON on stdin and stdout.

    {"trials": {"link-rate": "…"}, "peers": {"node": "name or address"}}
        → {"tc": "/usr/sbin/tc", "problems": {"link-rate": ""}, "roots": {"eth0": "noqueue 0:"},
           "peers": {"node": [["theirs", "ours", "eth0"], …] or "why not"}}

Trials are batches for tc: they are made on `lo` of a network namespace that ends with them, or, where none can be had,
on an interface of their own that is never up. The machine's others are only looked at."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"])

SPARE = "harness-try"


def run(*argv: str, said: str = "") -> "tuple[bool, str]":
    try:
        done = subprocess.run(argv, input=said.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return False, f"{argv[0]} cannot be run: {error}"
    return done.returncode == 0, " ".join(done.stdout.decode(errors="replace").split())[:2000]


def tried(tc: str, ip: str, unshare: str, batch: str) -> str:
    if not tc:
        return "it has no tc (install iproute2)"
    if not unshare:
        return "it has no unshare (install util-linux), so that it cannot be tried what its kernel has"
    works, said = run(unshare, "--net", tc, "-batch", "-", said=batch)
    if not works and "unshare failed" in said and ip:  # a container, whose root may do things to its own network alone
        works, said = tried_beside(tc, ip, batch)
    return "" if works else f"its kernel or its tc does not take our queues: {said[:200]}"


def tried_beside(tc: str, ip: str, batch: str) -> "tuple[bool, str]":
    """On an interface that nobody uses, and that is never up."""
    made, said = False, ""
    for kind in (["dummy"], ["ifb"], ["veth"]):
        made, said = run(ip, "link", "add", SPARE, "type", *kind)
        if made:
            break
    if not made:
        return False, said
    try:
        return run(tc, "-batch", "-", said=batch.replace(" dev lo ", " dev " + SPARE + " "))
    finally:
        run(ip, "link", "del", SPARE)


def ways(ip: str, name: str) -> "list[list[str]] | str":
    try:
        found = {str(where[0]) for *_, where in socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM)}
    except (OSError, UnicodeError) as error:
        return f"{name} is not a name that is known there: {error}"
    pairs = []
    for theirs in sorted(found):
        there, said = run(ip, "-o", "route", "get", theirs)
        device, ours = re.search(r"\bdev (\S+)", said), re.search(r"\bsrc (\S+)", said)
        if there and device and ours:
            pairs.append([theirs, ours.group(1), device.group(1)])
    return pairs or f"there is no route to {name}"


def root(tc: str, device: str) -> str:
    _, said = run(tc, "qdisc", "show", "dev", device)
    found = re.search(r"qdisc (\S+ \S+) root", said)
    return found.group(1) if found else "none 0:"


def main() -> None:
    asked = json.load(sys.stdin)
    tc, ip, unshare = (shutil.which(name, path=PATH) or "" for name in ("tc", "ip", "unshare"))
    problems = {what: tried(tc, ip, unshare, batch) for what, batch in asked["trials"].items()}
    peers = {node: ways(ip, name) for node, name in asked["peers"].items()} if ip else {}
    devices = {way[2] for some in peers.values() if isinstance(some, list) for way in some}
    told = {"tc": tc, "problems": problems, "roots": {each: root(tc, each) for each in devices}, "peers": peers}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
