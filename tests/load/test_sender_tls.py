"""Senders that speak TLS, and heads of requests."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.load.arrivals import constant
from harness.load.job import Job, Start, head
from tests.load.servers import at_once, balances, run, serving, shots, target

pytestmark = pytest.mark.anyio


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """One that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    both = tmp_path / "both.pem"
    plain = serialization.NoEncryption()
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


async def test_tls_is_spoken_and_a_certificate_that_nobody_signed_is_refused(certificate: ssl.SSLContext) -> None:
    async with serving(at_once, ssl=certificate) as server:
        trusting = Job((target(server.port, tls=True, verify=False),))
        heard = await run(trusting, Start(0.0, constant(50, 0.2)), shots(10))
        assert heard.tally.taken == 10
        strict = Job((target(server.port, tls=True),))
        refused = await run(strict, Start(0.0, constant(50, 0.2)), shots(10))
        assert refused.tally.failed == 10
        assert any("certificate" in reason.lower() for reason in refused.tally.reasons)
        balances(refused)


def test_a_head_takes_no_line_breaks() -> None:
    with pytest.raises(ValueError, match="head"):
        head("POST", "/", "h", {"X": "a\r\nEvil: 1"})
    with pytest.raises(ValueError, match="head"):
        head("GET", "/a b", "h")
