"""The other tools, brought here unless they are here: of Debian, from Go's modules and PyPI in stated versions."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "fleet"))
from figures import NotHereError

from fleet.command import run, which
from fleet.errors import FleetError
from fleet.packages import ensure

GO = {"vegeta": "github.com/tsenart/vegeta/v12@v12.13.0", "k6": "go.k6.io/k6@v1.8.1"}
LOCUST = ("locust==2.47.0",)
CLIENTS = ("aiohttp==3.14.5", "httpx==0.28.1", "uvloop==0.23.0")
GO_BUILD = 1800.0
"""Seconds; k6 takes two minutes of one core."""


def default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness-benchmarks"


@dataclass(frozen=True)
class Tools:
    """Where they are kept. Each method raises NotHereError where the tool cannot be had."""

    folder: Path

    def debian(self, program: str) -> Path:
        """A program of the Debian package of its name."""
        try:
            ensure({program: program})
        except FleetError as error:
            raise NotHereError(str(error)) from error
        return Path(which(program) or program)

    def nginx(self) -> Path:
        """Only unpacked where it is not installed: to install the package would start a server."""
        installed = which("nginx")
        if installed:
            return Path(installed)
        program = self.folder / "nginx" / "usr/sbin/nginx"
        if not program.exists():
            if which("apt-get") is None:
                raise NotHereError("missing: nginx")
            package = self.folder / "nginx-package"
            package.mkdir(parents=True, exist_ok=True)
            try:
                if os.geteuid() == 0:
                    run(["apt-get", "-qq", "update"])
                run(["sh", "-c", 'cd "$0" && apt-get -qq -o APT::Sandbox::User=root download nginx', str(package)])
                (archive,) = package.glob("nginx_*.deb")
                run(["dpkg-deb", "--extract", str(archive), str(self.folder / "nginx")])
            except FleetError as error:
                raise NotHereError(str(error)) from error
        return program

    def go(self, name: str) -> Path:
        """A program of GO, built with the machine's Go, or else with Debian's."""
        folder = (self.folder / GO[name].rpartition("@")[2]).resolve()
        program = folder / name
        if not program.exists():
            try:
                if which("go") is None:
                    ensure({"go": "golang-go"})
                environment = {"GOBIN": str(folder), "GOFLAGS": "-mod=mod -buildvcs=false"}
                run(["nice", "-n", "19", "go", "install", GO[name]], env=environment, timeout=GO_BUILD)
            except FleetError as error:
                raise NotHereError(str(error)) from error
        return program

    def python(self, packages: Sequence[str]) -> Path:
        """The interpreter of a virtual environment that has these packages, and is made for them alone."""
        place = self.folder / "+".join(packages).replace("==", "-")
        complete = place / "complete"
        if not complete.exists():
            venv.create(place, with_pip=True, clear=True)
            try:
                run([str(place / "bin/pip"), "install", "--quiet", *packages])
            except FleetError as error:
                raise NotHereError(str(error)) from error
            complete.touch()
        return place / "bin/python"


def version(program: Path, flag: str) -> str:
    """The first line that the program says of its version, wherever it says it."""
    said = subprocess.run([program, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return said.stdout.splitlines()[0].strip() if said.stdout else "?"
