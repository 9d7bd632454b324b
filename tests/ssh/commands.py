"""Runs `harness` again and again without starting Python each time.

A line on stdin, `{"arguments": […], "stdout": PATH, "stderr": PATH}`, is a command; its answer is a line with its exit
code. Its standard streams are these files, which may be terminals."""

from __future__ import annotations

import json
import os
import sys

from harness.cli.main import cli


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        for number, name in ((1, "stdout"), (2, "stderr")):
            opened = os.open(command[name], os.O_WRONLY | os.O_CREAT | os.O_NOCTTY)
            os.dup2(opened, number)
            os.close(opened)
        print(cli(command["arguments"]), file=answers, flush=True)


main()
