"""Ed25519 (RFC 8032): by `cryptography` where it can be imported, otherwise by the pure Python below.

Both must agree on every input, or a mixed network would split; so what implementations are known to differ in
(non-canonical encodings of keys and scalars) is refused here, before either is asked.

The pure code is not constant-time: it guards the play money of a test network."""

from __future__ import annotations

import hashlib
from functools import lru_cache

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
D2 = 2 * D % P
_SQRT_M1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]
"""Extended twisted Edwards coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z (Hisil, Wong, Carter, Dawson 2008)."""
Cached = tuple[int, int, int, int]
"""A point readied for addition: (Y+X, Y-X, 2Z, 2dT)."""

_NEUTRAL: Point = (0, 1, 1, 0)
_MASK = (1 << 255) - 1


def _cached(p: Point) -> Cached:
    x, y, z, t = p
    return (y + x) % P, (y - x) % P, 2 * z % P, D2 * t % P


def _add(p: Point, q: Cached) -> Point:
    """RFC 8032 §5.1.4; complete, so it doubles too."""
    x, y, z, t = p
    a = (y - x) * q[1] % P
    b = (y + x) * q[0] % P
    c = t * q[3] % P
    d = z * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(p: Point) -> Point:
    x, y, z, _ = p
    a = x * x % P
    b = y * y % P
    h = a + b
    e = h - (x + y) * (x + y) % P
    g = a - b
    f = 2 * z * z % P + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _negated(p: Point) -> Point:
    return P - p[0], p[1], p[2], P - p[3]


def _recover_x(y: int, sign: int) -> int | None:
    """The x of a point with this y; None where there is none (RFC 8032 §5.1.3)."""
    u = (y * y - 1) % P
    v = (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * _SQRT_M1 % P
        if v * x * x % P != u:
            return None
    return P - x if x & 1 != sign else x


def _decompress(data: bytes) -> Point | None:
    value = int.from_bytes(data, "little")
    y, sign = value & _MASK, value >> 255
    x = _recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def _compress(p: Point) -> bytes:
    inverse = pow(p[2], -1, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _odd_multiples(p: Point, count: int) -> list[Cached]:
    """1p, 3p, 5p … readied for addition."""
    twice = _cached(_double(p))
    multiples = [p]
    while len(multiples) < count:
        multiples.append(_add(multiples[-1], twice))
    return [_cached(q) for q in multiples]


def _naf(scalar: int, width: int) -> list[int]:
    """Width-w non-adjacent form, least significant digit first: odd digits below 2^(w-1), mostly zeros."""
    digits = []
    full, half = 1 << width, 1 << (width - 1)
    while scalar:
        digit = 0
        if scalar & 1:
            digit = scalar & (full - 1)
            if digit >= half:
                digit -= full
            scalar -= digit
        digits.append(digit)
        scalar >>= 1
    return digits


def _negated_cached(q: Cached) -> Cached:
    return q[1], q[0], q[2], P - q[3]


def _multiply_sum(terms: list[tuple[int, list[Cached], int]]) -> Point:
    """Sum of scalar·point for (scalar, odd multiples, width): one run of doublings for all of them (Straus)."""
    nafs = [(_naf(scalar, width), table) for scalar, table, width in terms]
    result = _NEUTRAL
    for i in range(max(len(naf) for naf, _ in nafs) - 1, -1, -1):
        result = _double(result)
        for naf, table in nafs:
            digit = naf[i] if i < len(naf) else 0
            if digit > 0:
                result = _add(result, table[digit >> 1])
            elif digit < 0:
                result = _add(result, _negated_cached(table[-digit >> 1]))
    return result


_BASE_Y = 4 * pow(5, -1, P) % P
_BASE_X = _recover_x(_BASE_Y, 0)
assert _BASE_X is not None
_BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)
_BASE_WIDTH, _KEY_WIDTH = 8, 5


@lru_cache(maxsize=1)
def _base_table() -> list[Cached]:
    return _odd_multiples(_BASE, 1 << (_BASE_WIDTH - 2))


@lru_cache(maxsize=1024)
def _negated_key_table(public: bytes) -> list[Cached] | None:
    """Odd multiples of -A: the same few keys sign most of what a node sees."""
    point = _decompress(public)
    return None if point is None else _odd_multiples(_negated(point), 1 << (_KEY_WIDTH - 2))


def _hash_mod_l(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def _expand(secret: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


def pure_public_key(secret: bytes) -> bytes:
    scalar, _ = _expand(secret)
    return _compress(_multiply_sum([(scalar % L, _base_table(), _BASE_WIDTH)]))


def pure_sign(secret: bytes, message: bytes) -> bytes:
    scalar, prefix = _expand(secret)
    public = pure_public_key(secret)
    r = _hash_mod_l(prefix, message)
    commitment = _compress(_multiply_sum([(r, _base_table(), _BASE_WIDTH)]))
    s = (r + _hash_mod_l(commitment, public, message) * scalar) % L
    return commitment + s.to_bytes(32, "little")


def pure_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether sB - kA encodes to R: the cofactorless equation, as OpenSSL checks it."""
    table = _negated_key_table(public)
    if table is None:
        return False
    s = int.from_bytes(signature[32:], "little")
    k = _hash_mod_l(signature[:32], public, message)
    return _compress(_multiply_sum([(s, _base_table(), _BASE_WIDTH), (k, table, _KEY_WIDTH)])) == signature[:32]


def _canonical(public: bytes, signature: bytes) -> bool:
    """Sizes are right, the key's y is below P and no "minus zero", and S is below the group's order."""
    if len(public) != 32 or len(signature) != 64:
        return False
    value = int.from_bytes(public, "little")
    y = value & _MASK
    if y >= P or (value >> 255 and y in (1, P - 1)):
        return False
    return int.from_bytes(signature[32:], "little") < L


try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    BACKEND = "pure"
    public_key, sign, _verify = pure_public_key, pure_sign, pure_verify
else:
    BACKEND = "cryptography"

    def public_key(secret: bytes) -> bytes:
        """The public key of a 32-byte secret."""
        # Not public_bytes_raw(): machines have older ones too (Debian 12 has 38), and that came with 40.
        return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(secret: bytes, message: bytes) -> bytes:
        """The 64-byte signature of a message. The same for the same secret and message."""
        return Ed25519PrivateKey.from_private_bytes(secret).sign(message)

    def _verify(public: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature of the message. False for whatever is malformed; never raises."""
    return _canonical(public, signature) and _verify(public, message, signature)
