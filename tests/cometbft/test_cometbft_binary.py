"""Finding and building the binary. Scripts stand in for binaries and for Go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import InfrastructureError, UsageError
from harness.testing.fakes import FACTS
from harness_cometbft import binary, install
from harness_cometbft.chain import CometBFT, CometConfig

Script = Callable[[Path, str], Path]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No binary is to be found but those that a test puts there."""
    monkeypatch.delenv("HARNESS_COMETBFT", raising=False)
    monkeypatch.delenv("GOBIN", raising=False)
    monkeypatch.setenv("GOPATH", str(tmp_path / "gopath"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def script() -> Script:
    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def test_missing_says_what_to_run() -> None:
    with pytest.raises(UsageError, match=r"python -m harness_cometbft\.install"):
        CometBFT(CometConfig()).artifacts(FACTS)
    (what, there, how), _ = CometBFT.doctor()
    assert "cometbft" in what
    assert not there
    assert "harness_cometbft.install" in how


def test_order_of_places(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = "echo 0.38.19"
    gopath = script(tmp_path / "gopath/bin/cometbft", good)
    assert binary.find() == gopath
    on_path = script(tmp_path / "path/cometbft", good)
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert binary.find() == on_path
    tools = script(tmp_path / ".tools/bin/cometbft", good)
    assert binary.find() == tools
    environment = script(tmp_path / "environment", good)
    monkeypatch.setenv("HARNESS_COMETBFT", str(environment))
    assert binary.find() == environment
    configured = script(tmp_path / "configured", good)
    (artifact,) = CometBFT(CometConfig(binary=str(configured))).artifacts(FACTS)
    assert (artifact.name, artifact.content, artifact.executable) == ("cometbft", configured, True)


def test_another_series_is_passed_over_and_named(script: Script, tmp_path: Path) -> None:
    other = script(tmp_path / ".tools/bin/cometbft", "echo v1.0.1")
    with pytest.raises(UsageError, match=r"1\.0\.1"):
        binary.find()
    good = script(tmp_path / "gopath/bin/cometbft", "echo 0.38.2")
    assert binary.find() == good
    assert other != good


@pytest.mark.parametrize("text", ["echo v1.0.1", "exit 3", "kill $$"])
def test_a_named_binary_must_be_usable(script: Script, tmp_path: Path, text: str) -> None:
    named = script(tmp_path / "named", text)
    script(tmp_path / ".tools/bin/cometbft", "echo 0.38.19")
    with pytest.raises(UsageError, match="named"):
        binary.find(str(named))


def test_a_replaced_binary_is_looked_at_again(script: Script, tmp_path: Path) -> None:
    path = script(tmp_path / ".tools/bin/cometbft", "echo 0.37.0")
    assert binary.problem(path)
    script(path, "echo 0.38.19")
    assert not binary.problem(path)


def test_install_builds_once(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = script(
        tmp_path / "go",
        'echo "$@" >>"$GOBIN/calls"\ncp "$0.builds" "$GOBIN/cometbft"',
    )
    monkeypatch.setattr(install, "find_go", lambda: go)
    script(tmp_path / "go.builds", "echo 0.38.19")
    into = tmp_path / "tools"
    said: list[str] = []
    assert install.install(into, said.append) == into / "cometbft"
    assert install.install(into, said.append) == into / "cometbft"
    calls = (into / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].endswith(f"github.com/cometbft/cometbft/cmd/cometbft@{binary.RELEASE}")
    assert any("building" in line for line in said)


def test_install_without_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "find_go", lambda: None)
    assert install.main(["--into", str(tmp_path)]) == 4
    assert "Go is needed" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["exit 1", "true"])
def test_a_build_that_gives_no_binary_fails(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    go = script(tmp_path / "go", text)
    monkeypatch.setattr(install, "find_go", lambda: go)
    with pytest.raises(InfrastructureError):
        install.install(tmp_path / "tools", lambda line: None)
