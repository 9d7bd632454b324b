"""What the kernel says of processes, also to those who may not ask it everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness_agent.remote.processes import MARK, mark_of

WAITS = "import sys; print('up', flush=True); sys.stdin.read()"
ASKS = "import sys; from harness_agent.remote.processes import mark_of; print(mark_of(int(sys.argv[1])))"
PLUGINS = Path(__file__).parents[2] / "plugins"


def test_a_mark_is_what_a_process_was_started_with() -> None:
    argv = [sys.executable, "-c", WAITS]
    with subprocess.Popen(argv, env={MARK: "1:2:3"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        assert mark_of(process.pid) == "1:2:3"
        process.communicate()
        assert mark_of(process.pid) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has others' processes")
def test_root_reads_the_marks_of_others_without_the_capability_to_trace_them() -> None:
    """Root of a container has not got it, and without the mark what left its session would not be found."""
    argv = ["/usr/bin/python3", "-I", "-S", "-c", WAITS]
    as_other = subprocess.Popen(
        argv,
        env={MARK: "1:2:3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=65534,
        group=65534,
        extra_groups=(),
    )
    with as_other as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        fewer = "-sys_ptrace,-perfmon,-sys_admin"  # newer kernels take the others for it
        without = ["setpriv", f"--bounding-set={fewer}", f"--inh-caps={fewer}", "--"]
        asked = [*without, sys.executable, "-c", ASKS, str(process.pid)]
        said = subprocess.run(asked, capture_output=True, text=True, cwd=PLUGINS, check=True)
        assert said.stdout == "1:2:3\n"
        process.communicate()
