"""`harness search`: the greatest value of a setting with which a criterion still holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import OF_PLAYBOOK, extra_option, forks_option, inventory_option, open_project
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.search.record import Settings

_ASKED = {
    "vary": "--vary", "until": "--until", "start": "--from", "stop": "--to", "precision": "--precision",
    "repeats": "--repeats", "max_probes": "--max-probes", "max_time": "--max-time", "seed": "--seed",
    "inventory_path": "-i", "limit": "--limit", "deployer": "--deployer",
}  # fmt: skip


@click.command(short_help="Find the greatest rate at which a criterion holds.")
@click.argument("playbook", type=click.Path(path_type=Path), required=False)
@click.option("--vary", metavar="NAME", help="A variable of the playbook, or a setting: workloads.transactions.rate.")
@click.option("--until", metavar="CRITERION", help="What must hold, over what runs measure.")
@click.option("--from", "start", metavar="VALUE", help="Where to begin. Default: what the playbook says.")
@click.option("--to", "stop", metavar="VALUE", help="Where to end. Default: a thousand times --from.")
@click.option("--precision", metavar="SHARE", default=None, help="How near, e.g. 5% (default) or 0.02.")
@click.option("--repeats", type=click.IntRange(1, 99), help="Probes of a rate around the limit. Default: 3.")
@click.option("--max-probes", type=click.IntRange(1, 1000), help="Default: 60.")
@click.option("--max-time", metavar="DURATION", help="Begin no probe after so long, e.g. 1h.")
@click.option("--seed", type=click.IntRange(min=0), help="Probes' seeds are derived from it. Default: drawn.")
@inventory_option
@extra_option(OF_PLAYBOOK)
@click.option("--limit", default="", metavar="PATTERN", help="Use only hosts that match.")
@click.option("--deployer", default="", metavar="NAME", help="Deployer to use, whatever the inventory says.")
@forks_option
@click.option(
    "--runs", "runs_dir", type=click.Path(path_type=Path), help="Folder for run directories and the search's."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Go on with a search that was ended.")
@click.option("--json", "as_json", is_flag=True, help="Print search.json instead of tables.")
def search(**options: Any) -> int:
    """Find the limit: the greatest value of a setting of PLAYBOOK with which a criterion still holds.

    From --from the value doubles until the criterion does not hold; then the interval is halved until it is as narrow
    as --precision. Around the limit the majority of --repeats probes decides. Each probe is a run as any other, in a
    network of its own; `harness runs list` shows it.

    \b
    Examples:
      harness search playbooks/load_progression.toml --vary rate --from 5 --to 2000 \\
          --until "transaction-inclusion.p99 < 5s and inclusion > 99%"
      harness search playbooks/sustained_load.toml --vary workloads.transactions.rate \\
          --from 20/s --until "p99 < 20 blocks and transaction-inclusion.verdict == pass" -e duration=30s
      harness search --resume runs/search-2026-01-31T12-00-00-load-progression-7f3a

    \b
    In a criterion:
      inclusion acceptance       shares of the accepted and of the offered: inclusion > 99%
      p50 p99                    latency from the intended sending: p99 < 5s, p99 < 20 blocks
      sustained                  share of the offered that was in a block by the end of the drive: sustained > 90%
      offered accepted achieved  per second of the drive: achieved > 50/s
      WORKLOAD.p99               of one workload, where there are several
      EXPECTATION.verdict        nodes-healthy.verdict == pass
      EXPECTATION.FIGURE         any number that it measured
      and or not ( )             < <= > >= == !=

    Exits with 0 when the limit was found, and 2 when it was not within the bounds, or is the generator's.
    """
    from harness.cli.searching import begin, carry_on
    from harness.search.record import load

    extra: tuple[str, ...] = options["extra_texts"]
    if (resume := options["resume"]) is not None:
        given = [word for key, word in _ASKED.items() if options[key] not in (None, "")]
        if options["playbook"] is not None or given:
            what = "PLAYBOOK" if options["playbook"] is not None else given[0]
            raise UsageError(f"--resume goes on as the search began; leave {what} out")
        folder = Path(resume).absolute()
        found = load(folder)
        return carry_on(folder if folder.is_dir() else folder.parent, found, extra, as_json=options["as_json"])
    for key, word in (("playbook", "PLAYBOOK"), ("vary", "--vary"), ("until", "--until")):
        if not options[key]:
            raise UsageError(f"{word} is missing: write harness search PLAYBOOK --vary NAME --until CRITERION")
    settings = _settings(options, extra)
    runs = options["runs_dir"] or open_project(options["playbook"]).runs
    return begin(runs, settings, as_json=options["as_json"])


def _settings(options: Mapping[str, Any], extra: tuple[str, ...]) -> Settings:
    """What is asked, checked as far as it can be without a plan. Raises UsageError."""
    from hashlib import sha256

    from harness.engine.seed import fresh_seed
    from harness.search.criterion import parse_criterion
    from harness.search.record import Settings
    from harness.search.strategy import Bounds
    from harness.search.vary import ends, find_varied
    from harness.spec.durations import parse_duration
    from harness.spec.playbook import load_playbook

    parse_criterion(options["until"])
    playbook: Path = options["playbook"]
    file = load_playbook(playbook)
    start, stop, unit = ends(find_varied(file, options["vary"]), options["start"], options["stop"])
    try:
        max_seconds = parse_duration(options["max_time"]) if options["max_time"] else math.inf
    except ValueError as error:
        raise UsageError(f"--max-time: {error}") from None
    bounds = Bounds(
        start,
        stop,
        _share(options["precision"] or "5%"),
        options["repeats"] or 3,
        max_probes=options["max_probes"] or 60,
        max_seconds=max_seconds,
    )
    inventory = options["inventory_path"]
    return Settings(
        playbook=str(playbook.absolute()),
        sha256=sha256(file.document.text.encode()).hexdigest(),
        vary=options["vary"],
        until=options["until"],
        unit=unit,
        bounds=bounds,
        seed=options["seed"] if options["seed"] is not None else fresh_seed(),
        inventory=str(inventory.absolute()) if inventory is not None else "",
        extra=extra,
        limit=options["limit"],
        deployer=options["deployer"],
        forks=options["forks"],
    )


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not 0.001 <= share <= 1:
        raise UsageError(f"--precision {text}: must be a share from 0.1% to 100%, like 5% or 0.05")
    return share
