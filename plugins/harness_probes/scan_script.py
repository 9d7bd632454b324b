"""Look for regular expressions in files, line by line; a process of its own, which can be killed.

Python's regular expressions may take time that is exponential in the length of a line, and nothing but the end of the
process stops them. Standard input has one JSON object: `files` (each a `path`, and the `offset` and the number of
`lines` to begin after), `texts`, and `patterns`. Standard output gets one, of what was found, in the same order."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, BinaryIO

PIECE = 65536  # bytes of a line that are looked at together; what follows in a longer one is looked at by itself
SHOWN = 5  # matching lines of a pattern that are kept, in each file
SHOWN_LENGTH = 300  # characters


def scan(file: dict[str, Any], patterns: list[str]) -> dict[str, Any]:
    """How often each pattern matches from `offset` on, and where the file and its last whole line end."""
    found: list[dict[str, Any]] = [{"count": 0, "first": []} for _ in patterns]
    result: dict[str, Any] = {"found": found, "offset": file["offset"], "lines": file["lines"], "error": ""}
    try:
        with open(file["path"], "rb") as log:
            size = log.seek(0, 2)
            if size < file["offset"]:
                result["error"] = "it is shorter than it was: something has cut it"
                return result
            log.seek(file["offset"])
            look(log, file["lines"], [re.compile(pattern) for pattern in patterns], result)
    except OSError as error:
        result["error"] = error.strerror or str(error)
    return result


def look(log: BinaryIO, number: int, patterns: list[re.Pattern[str]], result: dict[str, Any]) -> None:
    inside = False
    while raw := log.readline(PIECE):
        number += not inside
        inside = not raw.endswith(b"\n")
        if not inside:
            result["offset"], result["lines"] = log.tell(), number
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        for pattern, hit in zip(patterns, result["found"], strict=True):
            if pattern.search(line):
                hit["count"] += 1
                if len(hit["first"]) < SHOWN:
                    hit["first"].append({"line": number, "text": line[:SHOWN_LENGTH]})


def main() -> None:
    asked = json.load(sys.stdin)
    answer = {
        "files": [scan(file, asked["patterns"]) for file in asked["files"]],
        "texts": [[bool(re.search(pattern, text)) for pattern in asked["patterns"]] for text in asked["texts"]],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
