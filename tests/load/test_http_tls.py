"""The workload `http` over https and IPv6, with authorities of one's own, and a secret that is seen nowhere."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from harness.api import NodeSpec, PlanView, Verdict
from harness.testing import Finished, run_playbook
from harness_traffic.http import Http
from tests.load.servers import Request, answer, serving

pytestmark = pytest.mark.anyio

NETWORK = """
name = "https"
duration = "1s"
settle = "100ms"
chain = { use = "devnet", slot_duration = "200ms", active_slot_coeff = 0.9 }
[topology]
layout = "full"
validators = 1
"""
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """`file`: its certificate. `server`: TLS of a server at ::1 and 127.0.0.1 that it has signed."""

    file: Path
    server: ssl.SSLContext


def authority(folder: Path, name: str) -> Authority:
    now = datetime.now(UTC)
    times = now - timedelta(days=1), now + timedelta(days=1)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "service")])
    root = (
        x509.CertificateBuilder(root_name, root_name, root_key.public_key(), 1, *times)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    at = [x509.IPAddress(ip_address(address)) for address in ("::1", "127.0.0.1")]
    leaf = (
        x509.CertificateBuilder(root_name, leaf_name, key.public_key(), 2, *times)
        .add_extension(x509.SubjectAlternativeName(at), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    file, both = folder / f"{name}.pem", folder / f"{name}-server.pem"
    file.write_bytes(b"# not only a certificate \xc3\xbc\n" + root.public_bytes(PEM))
    plain = serialization.NoEncryption()
    both.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain) + leaf.public_bytes(PEM)
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return Authority(file, context)


async def run(options: str, tmp_path: Path) -> Finished:
    return await run_playbook(f'{NETWORK}[[workloads]]\nuse = "http"\nrate = "20/s"\n{options}', tmp_path / "runs")


def judged(finished: Finished) -> Any:
    (state,) = finished.state.expectations.values()
    return state


async def says_yes(request: Request) -> bytes:
    return answer()


@pytest.fixture
def host() -> str:
    """::1, where there is one."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return "127.0.0.1"
    return "::1"


@pytest.mark.real
async def test_who_is_signed_by_an_authority_of_ones_own_is_asked_with_a_secret_that_is_written_nowhere(
    tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R6_TOKEN", "Bearer the-very-secret-token")
    own = authority(tmp_path, "own")
    async with serving(says_yes, host, ssl=own.server) as server:
        url = f"https://[{host}]" if ":" in host else f"https://{host}"
        options = (
            f'url = "{url}:{server.port}/a"\nca = "{own.file}"\nheaders = {{ Authorization = {{ env = "R6_TOKEN" }} }}'
        )
        finished = await run(options, tmp_path)
    state = judged(finished)
    assert state.verdict == Verdict.PASS, state
    assert state.evidence["http"]["accepted"] == len(server.requests) == 20
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer the-very-secret-token"}
    files = [file for file in finished.directory.path.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert b"the-very-secret-token" not in file.read_bytes(), file


@pytest.mark.real
async def test_who_is_signed_by_somebody_else_is_not_asked_and_told_why(tmp_path: Path) -> None:
    own, other = authority(tmp_path, "own"), authority(tmp_path, "other")
    async with serving(says_yes, ssl=own.server) as server:
        state = judged(await run(f'url = "https://127.0.0.1:{server.port}/"\nca = "{other.file}"', tmp_path))
    assert state.verdict == Verdict.FAIL
    assert "CERTIFICATE_VERIFY_FAILED" in state.measured
    assert state.evidence["http"]["failed"] == 20
    assert not server.requests


def plan() -> PlanView:
    nodes = (NodeSpec("validator-0", "validator", 0, 0),)
    return PlanView({"validator": 1}, nodes, 0, 60.0, 2.0)


def test_an_authority_that_cannot_be_is_refused_in_plan(tmp_path: Path) -> None:
    own = authority(tmp_path, "own")
    (tmp_path / "text").write_text("no certificate", encoding="utf-8")
    (tmp_path / "broken").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", encoding="utf-8"
    )  # fmt: skip

    def wrong(**options: Any) -> str:
        values = {"url": "https://h/", "rate": "10/s", **options}
        (sentence,) = Http(Http.Config.model_validate(values, context={"folder": tmp_path})).check(plan())
        return sentence

    assert "No such file" in wrong(ca="nowhere.pem")
    assert str(tmp_path / "nowhere.pem") in wrong(ca="nowhere.pem")
    assert "there is no certificate in it" in wrong(ca="text")
    assert "ca = " in wrong(ca="broken")
    assert "take it out" in wrong(ca=str(own.file), url="http://h/")
    assert "take it out" in wrong(ca=str(own.file), verify=False)
    with pytest.raises(ValidationError, match="line break|one line"):
        wrong(headers={"A": "b\nc"})
