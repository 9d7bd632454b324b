"""Who may look. Pure.

On loopback everybody on this machine may, but no page of another site through somebody's browser: requests must name
this host (DNS rebinding), and sockets must come from a page of ours. Elsewhere a token is asked for, too."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    return secrets.token_urlsafe(24)


def is_token(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def names_us(host_header: str) -> bool:
    """Whether a request that came over loopback was meant for this machine."""
    return is_loopback(_host_of(f"//{host_header}"))


def is_from_us(origin: str, host_header: str) -> bool:
    """Whether a socket is opened by a page of ours."""
    return bool(origin) and urlsplit(origin).netloc == host_header


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
