"""Makes a test's journal of a real run's: `python tests/tui/record.py RUN > tests/tui/journals/NAME.jsonl.gz`. Logs of
nodes lie as they are in the folder NAME beside it.

Where it was recorded is left out: paths and the commands that were run on machines. Times are told to the
millisecond, which makes a file half as big."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

LEFT_OUT = {"command-ran"}
ROUNDED = ("at", "t", "time", "cpu")


def recorded(run: Path) -> bytes:
    text = (run / "journal.jsonl").read_text()
    playbook = next(event["playbook"] for event in map(json.loads, text.splitlines()) if event["kind"] == "run-started")
    where = f"playbooks/{Path(playbook).name}"
    text = text.replace(playbook, where).replace(str(run.absolute()), f"runs/{run.name}")
    lines = []
    for line in text.splitlines():
        event = json.loads(line)
        if event["kind"] == "run-started":
            event |= {"command": ["harness", "run", where], "deployer_options": {}}
        event |= {name: round(event[name], 3) for name in ROUNDED if isinstance(event.get(name), float)}
        if event["kind"] not in LEFT_OUT:
            lines.append(json.dumps(event, separators=(",", ":")))
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


if __name__ == "__main__":
    sys.stdout.buffer.write(recorded(Path(sys.argv[1])))
