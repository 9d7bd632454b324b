"""`search.json`: what a search was asked, what its probes came to, and what it found.

    format     1
    id         the search's; its folder is called so
    settings   as asked: playbook, vary, until, unit, bounds {start, stop, precision, repeats, ratio, max_probes,
               max_seconds (null: none)}, seed, inventory, extra, limit, deployer, forks, sha256 (of the playbook)
    probes     [{number, rate, outcome, run, exit_code, seconds, reason, figures {offered, accepted, achieved,
               sustained, acceptance, inclusion, p50, p99}}]; outcome: pass, fail, unknown, generator, or broken: a run
               whose infrastructure failed, which tells nothing of the rate
    result     null before the end; {ending, exit_code, sentence, notes, passed, failed {rate, passed, of},
               interval [low, high]}

Written after each probe, all of it or nothing."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.record.rundir import write_atomically
from harness.redact import redact
from harness.search.strategy import Bounds, Outcome, Trial

FORMAT = 1
BROKEN = "broken"
PREFIX = "search-"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. Paths are absolute; `inventory` is "" where none was named."""

    playbook: str
    sha256: str
    vary: str
    until: str
    unit: str
    bounds: Bounds
    seed: int
    inventory: str = ""
    extra: tuple[str, ...] = ()
    limit: str = ""
    deployer: str = ""
    forks: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One run. `outcome` is an Outcome or BROKEN; `run` its id; `reason` why it did not pass."""

    number: int
    rate: float
    outcome: str
    run: str
    exit_code: int
    seconds: float
    reason: str = ""
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """A search as far as it came. `result` as it stands in the file."""

    id: str
    settings: Settings
    probes: tuple[Probe, ...] = ()
    result: Mapping[str, Any] | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The probes that tell something."""
        return tuple(Trial(one.rate, Outcome(one.outcome)) for one in self.probes if one.outcome != BROKEN)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.probes)

    def probed(self, probe: Probe) -> Search:
        return replace(self, probes=(*self.probes, probe))

    def value(self, rate: float) -> str:
        """A rate with its unit."""
        return f"{rate:,.4g}{self.settings.unit}" if rate < 10_000 else f"{rate:,.0f}{self.settings.unit}"


def to_json(search: Search) -> str:
    content = {"format": FORMAT, **asdict(search)}
    if math.isinf(search.settings.bounds.max_seconds):
        content["settings"]["bounds"]["max_seconds"] = None
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def save(folder: Path, search: Search) -> None:
    """Raises OSError."""
    write_atomically(folder / "search.json", redact(to_json(search)))


def load(folder: Path) -> Search:
    """Raises UsageError for a folder that holds no search."""
    path = folder / "search.json" if folder.is_dir() else folder
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise UsageError(f"{path}: is of format {data['format']}, which this version does not read")
        asked = dict(data["settings"])
        bounds = dict(asked.pop("bounds"))
        bounds["max_seconds"] = math.inf if bounds["max_seconds"] is None else bounds["max_seconds"]
        asked["extra"] = tuple(asked["extra"])
        probes = tuple(Probe(**one) for one in data["probes"])
        search = Search(data["id"], Settings(**asked, bounds=Bounds(**bounds)), probes, data["result"])
        assert all(trial.rate > 0 for trial in search.trials)
    except OSError as error:
        raise UsageError(f"{path}: there is no search to resume: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise UsageError(f"{path}: is not a search's: {type(error).__name__}: {error}") from None
    return search


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else goes on with this search meanwhile. Raises UsageError when somebody does."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{folder}: this search goes on already, in another process") from None
        yield
