"""The images: debian:bookworm-slim, made here where there is no registry, and the image of the hosts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from fleet.command import PATH, run, which
from fleet.engine import Docker
from fleet.errors import FleetError

BASE = "debian:bookworm-slim"
MIRROR = os.environ.get("HARNESS_TESTS_DEBIAN_MIRROR")
"""Of Debian's packages; debootstrap knows one itself."""
HOST = "harness-fleet-host"
OPS_PASSWORD = "fleet ops: sudo's password"
DOCKERFILE = Path(__file__).with_name("host.Dockerfile")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def _exists(docker: Docker, image: str) -> bool:
    return bool(docker("images", "--quiet", image))


def base(docker: Docker) -> str:
    """Have debian:bookworm-slim. One that is there is left as it is."""
    if not _exists(docker, BASE):
        if os.geteuid() == 0 and which("debootstrap"):
            _bootstrap(docker)
        else:
            docker("pull", BASE)
    return BASE


def _bootstrap(docker: Docker) -> None:
    """Debian's own packages, as debootstrap lays them, without what the slim image is slim of."""
    with tempfile.TemporaryDirectory(prefix="fleet-bookworm-") as folder:
        root = Path(folder)
        run(["debootstrap", "--variant=minbase", "bookworm", folder, *([MIRROR] if MIRROR else [])])
        for heavy in ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists"):
            shutil.rmtree(root / heavy, ignore_errors=True)
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        (root / "etc/apt/apt.conf.d/99machine").write_text(_apt_settings())
        tar = subprocess.Popen(["tar", "--create", "--directory", folder, "."], stdout=subprocess.PIPE)
        argv = ["docker", "--host", docker.host, "import", "--change", 'CMD ["bash"]', "-", BASE]
        imported = subprocess.run(argv, stdin=tar.stdout, capture_output=True, env={**os.environ, "PATH": PATH})
        assert tar.stdout is not None
        tar.stdout.close()
        if tar.wait() != 0 or imported.returncode != 0:
            raise FleetError(f"docker import of {BASE}: {imported.stderr.decode(errors='replace')}")


def _apt_settings() -> str:
    """How apt reaches its mirror from this machine: proxies, and what it may not check."""
    wanted = ("Acquire::http", "Acquire::Check-", "Acquire::Retries")
    lines = run(["apt-config", "dump", "--no-empty"]).splitlines() if which("apt-config") else []
    return "".join(f"{line}\n" for line in lines if line.startswith(wanted))


def host(docker: Docker) -> str:
    """The image of the hosts, built from its Dockerfile unless that was done."""
    recipe = DOCKERFILE.read_bytes()
    tag = f"{HOST}:{hashlib.sha256(recipe + OPS_PASSWORD.encode()).hexdigest()[:12]}"
    if not _exists(docker, tag):
        base(docker)
        arguments = [f"--build-arg={name}={os.environ[name]}" for name in PROXIES if name in os.environ]
        docker("build", "--tag", tag, f"--build-arg=OPS_PASSWORD={OPS_PASSWORD}", *arguments, "-", input=recipe)
    return tag
