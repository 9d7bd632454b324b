"""This host as a machine. Everything that runs on it for a run is held by the run's agent, commands too."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

from harness_agent import AgentClient, AgentMachine


class LocalMachine(AgentMachine):
    """This host, as the user that runs the harness. Commands run in the run's folder unless told otherwise."""

    kernel = "local"

    def __init__(self, name: str, run_dir: Path, client: AgentClient) -> None:
        super().__init__(client, name=name, folder=PurePosixPath(run_dir), shared_files=True)
        self.python = sys.executable
        self._run_dir = run_dir
