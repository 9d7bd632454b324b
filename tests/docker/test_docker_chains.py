"""What the chains bring along to build images from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.api import UsageError
from harness_cometbft import binary
from harness_cometbft.chain import CometBFT, CometConfig
from harness_devnet.chain import Devnet, DevnetConfig
from harness_docker.images import bases


def test_devnet_brings_itself() -> None:
    chain = Devnet(DevnetConfig())
    image = chain.image("x86_64")
    assert bases(image.dockerfile, {"BASE": "other:1"}) == ["other:1"]
    for name, path in image.artifacts.items():
        assert f"COPY {name} {path}\n" in image.dockerfile
        assert image.files[name]
    assert image == chain.image("aarch64")


def test_cometbft_brings_its_binary_and_none_for_another_machine(tmp_path: Path) -> None:
    script = tmp_path / "cometbft"
    script.write_text("#!/bin/sh\necho 0.38.19\n")
    script.chmod(0o755)
    chain = CometBFT(CometConfig(binary=str(script)))
    with pytest.raises(UsageError, match="is for no Linux, and the image is to run on Linux x86_64"):
        chain.image("x86_64")


@pytest.mark.parametrize(
    ("header", "machine"),
    [
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00", "x86_64"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00", "aarch64"),
        (b"\x7fELF\x02\x02" + bytes(12) + b"\x00\x3e", "x86_64"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x01\x01", ""),
        (b"\x7fELF", ""),
        (b"", ""),
    ],
)
def test_whose_binary_it_is(tmp_path: Path, header: bytes, machine: str) -> None:
    (tmp_path / "binary").write_bytes(header)
    assert binary.architecture(tmp_path / "binary") == machine
