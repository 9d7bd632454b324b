"""What a machine says of nft and of other machines. Run there, as root, by its own Python (3.8 or newer): JSON on stdin
and stdout.

    {"ruleset": "…", "peers": {"node": "name or address"}}
        → {"nft": "/usr/sbin/nft", "problem": "", "peers": {"node": [["theirs", "ours"], …] or "why not"}}

`theirs` are the addresses of a peer, `ours` what this machine sends from to each. Nothing is sent, and no rule made:
nft checks the ruleset and puts it aside."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys


def main() -> None:
    asked = json.load(sys.stdin)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    nft = shutil.which("nft", path=path) or ""
    peers = {node: _addresses(name) for node, name in asked["peers"].items()}
    json.dump({"nft": nft, "problem": _problem(nft, asked["ruleset"]), "peers": peers}, sys.stdout)


def _problem(nft: str, ruleset: str) -> str:
    if not nft:
        return "it has no nft (install nftables)"
    try:
        done = subprocess.run(
            [nft, "--check", "-f", "-"],
            input=ruleset.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"its nft cannot be run: {error}"
    said = " ".join(done.stdout.decode(errors="replace").split())
    return "" if done.returncode == 0 else f"its nft does not take our rules: {said[:300]}"


def _addresses(name: str) -> list[list[str]] | str:
    try:
        found = socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return f"{name} is not a name that is known there: {error}"
    pairs = []
    for family, kind, protocol, _, where in found:
        with socket.socket(family, kind, protocol) as ours:
            try:
                ours.connect(where)
            except OSError:  # no route to this one of its addresses
                continue
            pairs.append([where[0], ours.getsockname()[0]])
    return pairs or f"there is no route to {name}"


if __name__ == "__main__":
    main()
