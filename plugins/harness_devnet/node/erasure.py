"""Reed-Solomon erasure coding over GF(256), and Merkle commitments to the shares.

Systematic: the first d shares are the blob itself, cut in d; the others are combinations of those by a Cauchy matrix,
every square submatrix of which is invertible (Blömer et al. 1995), so any d of the n shares give the blob back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

_POLYNOMIAL = 0x11D

_EXP = [0] * 510
_LOG = [0] * 256
_value = 1
for _i in range(255):
    _EXP[_i] = _EXP[_i + 255] = _value
    _LOG[_value] = _i
    _value = _value << 1 ^ (_POLYNOMIAL if _value & 0x80 else 0)


def multiply(a: int, b: int) -> int:
    return _EXP[_LOG[a] + _LOG[b]] if a and b else 0


def inverse(a: int) -> int:
    return _EXP[255 - _LOG[a]]


_TIMES = [bytes(multiply(a, b) for b in range(256)) for a in range(256)]
"""_TIMES[a] maps each byte to a times it: `bytes.translate` multiplies a whole share at once."""


def _combine(coefficients: Sequence[int], shares: Sequence[bytes]) -> bytes:
    """The sum of coefficient·share, byte by byte; addition in GF(256) is XOR."""
    size = len(shares[0])
    total = 0
    for coefficient, share in zip(coefficients, shares, strict=True):
        if coefficient:
            total ^= int.from_bytes(share.translate(_TIMES[coefficient]), "little")
    return total.to_bytes(size, "little")


def _row(index: int, needed: int) -> list[int]:
    """Share `index` as a combination of the d data shares."""
    if index < needed:
        return [int(i == index) for i in range(needed)]
    return [inverse(index ^ i) for i in range(needed)]


def share_size(size: int, needed: int) -> int:
    """Bytes in each share of a blob of `size` bytes."""
    return -(-size // needed)


def encode(blob: bytes, needed: int, count: int) -> list[bytes]:
    """`count` shares, any `needed` of which give the blob back. 1 ≤ needed ≤ count ≤ 256."""
    size = share_size(len(blob), needed)
    padded = blob.ljust(size * needed, b"\0")
    data = [padded[i * size : (i + 1) * size] for i in range(needed)]
    return data + [_combine(_row(index, needed), data) for index in range(needed, count)]


def _inverted(matrix: list[list[int]]) -> list[list[int]]:
    """Gauss-Jordan. The matrix is known to be invertible."""
    n = len(matrix)
    rows = [row + [int(i == j) for j in range(n)] for i, row in enumerate(matrix)]
    for column in range(n):
        pivot = next(r for r in range(column, n) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = inverse(rows[column][column])
        rows[column] = [multiply(scale, value) for value in rows[column]]
        for r in range(n):
            if r != column and (factor := rows[r][column]):
                rows[r] = [value ^ multiply(factor, p) for value, p in zip(rows[r], rows[column], strict=True)]
    return [row[n:] for row in rows]


def decode(shares: Mapping[int, bytes], needed: int, size: int) -> bytes:
    """The blob of `size` bytes from at least `needed` shares by index. Raises ValueError when they are too few."""
    if len(shares) < needed:
        raise ValueError(f"{len(shares)} shares, {needed} are needed")
    chosen = sorted(shares)[:needed]
    held = [shares[index] for index in chosen]
    matrix = _inverted([_row(index, needed) for index in chosen])
    return b"".join(_combine(row, held) for row in matrix)[:size]


def _leaf(index: int, share: bytes) -> bytes:
    return hashlib.sha256(b"\0" + index.to_bytes(2, "big") + share).digest()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _levels(shares: Sequence[bytes]) -> list[list[bytes]]:
    levels = [[_leaf(i, share) for i, share in enumerate(shares)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [_parent(a, b) for a, b in zip(below[::2], below[1::2], strict=False)]
        levels.append(pairs + below[len(pairs) * 2 :])
    return levels


def merkle_root(shares: Sequence[bytes]) -> bytes:
    """Commits to each share and its index; leaves and nodes are hashed in different domains (RFC 6962 §2.1)."""
    return _levels(shares)[-1][0]


def merkle_proofs(shares: Sequence[bytes]) -> list[list[bytes]]:
    """For each share the sibling digests from its leaf up. A last odd node rises as it is, without a sibling."""
    levels = _levels(shares)[:-1]
    return [
        [level[place ^ 1] for height, level in enumerate(levels) if (place := i >> height) ^ 1 < len(level)]
        for i in range(len(shares))
    ]


def in_commitment(root: bytes, share: bytes, index: int, count: int, proof: Sequence[bytes]) -> bool:
    """Whether this is share `index` of the `count` that `root` commits to."""
    if not 0 <= index < count:
        return False
    node, place, width = _leaf(index, share), index, count
    siblings = iter(proof)
    while width > 1:
        if place ^ 1 < width:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            node = _parent(sibling, node) if place & 1 else _parent(node, sibling)
        place, width = place >> 1, (width + 1) >> 1
    return node == root and next(siblings, None) is None
