"""Carrying out a search: one run after the other, each where `decide` says."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
from typing import Any

import anyio
import click

from harness.cli.main import tell
from harness.cli.options import open_project, open_registry, read_inventory
from harness.cli.reporting import write_report
from harness.engine.execute import execute
from harness.engine.plan import Plan, resolve_file
from harness.engine.recorder import Recorder
from harness.engine.seed import derive
from harness.engine.target import Target, choose_target
from harness.errors import ExitCode, UsageError
from harness.plugin.registry import Registry
from harness.record.render import console_for, render_table
from harness.record.result import result_of
from harness.record.rundir import run_id, write_atomically
from harness.record.summary import short_path
from harness.record.text import counted, one_line
from harness.search.criterion import Criterion, Measure, is_time, parse_criterion
from harness.search.finding import Finding, conclude
from harness.search.loads import loads_of
from harness.search.measures import FIGURES, Measured, measured
from harness.search.page import level_table, probe_line, search_page
from harness.search.record import BROKEN, PREFIX, Probe, Search, Settings, held, save, to_json
from harness.search.strategy import Next, Outcome, decide
from harness.search.vary import Varied, find_varied
from harness.spec.durations import format_duration
from harness.spec.playbook import PlaybookFile, load_playbook
from harness.spec.variables import parse_extras

_AMOUNTS = ("offered", "accepted", "achieved", "included")
"""What is less where the generator drops some of the load."""
_TRIES = 2
"""Runs in a row whose infrastructure fails, until the search ends for it."""
_BROKEN_RUN = (ExitCode.INFRASTRUCTURE, ExitCode.TEARDOWN, ExitCode.USAGE)


def begin(runs: Path, settings: Settings, *, as_json: bool) -> int:
    """A new search, in a folder of its own beside its runs. Returns the exit code."""
    probing = _Probing.of(settings, (), runs)
    probing.check()
    id = PREFIX + run_id(f"{Path(settings.playbook).stem} {settings.vary}", time())
    folder = runs.absolute() / id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"{runs}: a search's folder cannot be made here: {error}; choose another with --runs"
        ) from None
    return _go_on(folder, Search(id, settings), probing, as_json=as_json)


def carry_on(folder: Path, search: Search, extra: tuple[str, ...], *, as_json: bool) -> int:
    """The rest of a search that was ended. `extra` replaces secrets, which are not written down."""
    settings = search.settings
    probing = _Probing.of(settings, extra, folder.parent)
    if sha256(probing.file.document.text.encode()).hexdigest() != settings.sha256:
        raise UsageError(f"{settings.playbook}: has changed since this search began: begin a new one")
    probing.check()
    return _go_on(folder, search, probing, as_json=as_json)


def _go_on(folder: Path, search: Search, probing: _Probing, *, as_json: bool) -> int:
    with held(folder):
        save(folder, search)
        told = f"search {search.id}"
        _progress(f"{told}, goes on after {counted(len(search.probes), 'probe')}" if search.probes else told)
        broken = 0
        while isinstance(step := decide(search.settings.bounds, search.trials, search.seconds), Next):
            try:
                number = len(search.probes) + 1
                _progress(f"probe {number}  {search.settings.vary} = {search.value(step.rate)} …")
                probe = probing.probe(number, step.rate, search.id)
            except KeyboardInterrupt:
                probe = None
            if probe is None:
                return _stopped(folder, search, ExitCode.INTERRUPTED, "interrupted; the probe is repeated")
            search = search.probed(probe)
            save(folder, search)
            _progress(probe_line(search, probe))
            broken = broken + 1 if probe.outcome == BROKEN else 0
            if broken == _TRIES:
                return _stopped(folder, search, ExitCode(probe.exit_code), f"ended: {probe.reason}")
        finding = conclude(search, step)
        search = replace(search, result=finding.as_result())
        save(folder, search)
        page = _write_page(folder, search, finding)
        _show(search, finding, page, as_json=as_json)
        return finding.exit_code


def _stopped(folder: Path, search: Search, code: ExitCode, why: str) -> int:
    """Before its end, with all that it has."""
    _write_page(folder, search, None)
    tell(f"{why}; go on with: harness search --resume {short_path(folder)}")
    return code


def _write_page(folder: Path, search: Search, finding: Finding | None) -> Path:
    links = {
        probe.run: f"../{probe.run}/report.html"
        for probe in search.probes
        if (folder.parent / probe.run / "report.html").exists()
    }
    page = folder / "search.html"
    write_atomically(page, search_page(search, finding, links))
    return page


def _progress(text: str) -> None:
    click.echo(one_line(text), err=True)


def _show(search: Search, finding: Finding, page: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(search), nl=False)
        return
    render_table(level_table(search), console_for(sys.stdout))
    sys.stdout.flush()
    click.echo()
    click.echo(one_line(f"{search.settings.vary} until {search.settings.until}"))
    click.echo(one_line(finding.sentence))
    for note in finding.notes:
        click.echo(one_line(f"  {note}"))
    click.echo(one_line(f"page  {short_path(page)}"))


@dataclass(frozen=True, slots=True)
class _Probing:
    """How a probe is made: everything but its value."""

    settings: Settings
    criterion: Criterion
    file: PlaybookFile
    varied: Varied
    extra: Mapping[str, Any]
    registry: Registry
    target: Target
    elsewhere: frozenset[str]
    runs: Path
    words: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, more: tuple[str, ...], runs: Path) -> _Probing:
        """Raises UsageError for what cannot be run so."""
        path = Path(settings.playbook)
        file = load_playbook(path)
        project = open_project(path)
        registry = open_registry(project)
        texts = (*settings.extra, *more)
        extra = parse_extras(texts)
        inventory = read_inventory(Path(settings.inventory) if settings.inventory else None, project)
        at_once = settings.forks or project.forks
        target = choose_target(
            registry, inventory, deployer=settings.deployer, limit=settings.limit, extra=extra, forks=at_once
        )
        varied = find_varied(file, settings.vary)
        words = ["harness", "run", short_path(path)]
        words += ["-i", short_path(Path(settings.inventory))] if settings.inventory else []
        words += [word for text in texts for word in ("-e", text)]
        words += ["--limit", settings.limit] if settings.limit else []
        words += ["--deployer", settings.deployer] if settings.deployer else []
        if not varied.path and varied.name in extra:
            raise UsageError(f"-e {varied.name}: is what is varied: use --from and --to")
        criterion = parse_criterion(settings.until)
        names = frozenset(inventory.variable_names())
        return cls(settings, criterion, file, varied, extra, registry, target, names, runs, tuple(words))

    def check(self) -> None:
        """Before the first probe: that its ends make plans, and that the criterion is over what these judge."""
        for rate in (self.settings.bounds.start, self.settings.bounds.stop):
            plan = self.plan(rate, 1)
        judged = {one.id for one in plan.expectations}
        components = judged | {one.id for one in plan.workloads}
        known = {"verdict", *FIGURES, *components}
        named = {one.name for one in self.criterion.comparisons() if _head(one.name, components) in known}
        self.criterion.check({"verdict", *FIGURES, *named, *(f"{one}.verdict" for one in judged)}, "among others")
        anyio.run(self.target.check, plan)

    def plan(self, rate: float, number: int) -> Plan:
        file, given = self.varied.apply(self.file, rate, self.settings.unit)
        seed = derive(self.settings.seed, "search", str(number)).randrange(2**32)
        plans = resolve_file(file, self.registry, extra={**self.extra, **given}, elsewhere=self.elsewhere, seed=seed)
        if len(plans) > 1:
            raise UsageError(
                f"{self.settings.playbook}: its [matrix] makes {len(plans)} runs of each probe: choose one with -e"
            )
        return plans[0]

    def probe(self, number: int, rate: float, search: str) -> Probe | None:
        """One run, judged; None where it was interrupted."""
        plan = self.plan(rate, number)
        place = {"id": search, "number": number, "varies": [self.settings.vary]}
        given = self.varied.apply(self.file, rate, self.settings.unit)[1]
        words = (*self.words, *(word for name, value in given.items() for word in ("-e", f"{name}={value}")))
        recorder = Recorder.create(self.runs, plan, self.target, command=words, matrix=place)
        if self.varied.path:  # no option says this: the run's own record does
            recorder.command = ("harness", "run", short_path(recorder.run_dir.run_toml))
        recorder.observe(self.registry.observers())
        began = monotonic()
        done = anyio.run(
            execute, plan, self.target, recorder, None, self.registry, backend="asyncio",
            backend_options={"use_uvloop": True},
        )  # fmt: skip
        if done.interrupted:
            return None
        try:
            write_report(recorder.run_dir)
        except Exception as error:  # noqa: BLE001 - it can be made again: no probe hangs on it
            tell(f"{recorder.run_id}: its report was not written: {type(error).__name__}: {error}")
        found = measured(result_of(recorder.state), loads_of(recorder.state, recorder.run_dir.samples))
        code = done.outcome.exit_code
        if code in _BROKEN_RUN:
            outcome, reason = BROKEN, done.outcome.reason
        else:
            outcome, reason = self._judge(found)
        figures = {name: found.figure(name) for name in FIGURES}
        seconds = monotonic() - began
        return Probe(number, rate, outcome, recorder.run_id, int(code), round(seconds, 3), reason, figures)

    def _judge(self, found: Measured) -> tuple[Outcome, str]:
        """What its measures say, and why it is no pass. Raises CriterionError for a name that nothing measures."""
        self.criterion.check(found.measures, "this run measured")
        holds = self.criterion.holds(found.measures, found.block_interval)
        amounts = any(one.name.rpartition(".")[2] in _AMOUNTS for one in self.criterion.comparisons())
        if found.late or (found.short and (holds is not False or amounts)):
            return Outcome.GENERATOR, found.late or found.short
        if holds:
            return Outcome.PASS, ""
        broken = [
            f"{one.name} {_told(one.name, found.measures[one.name])}"
            for one in self.criterion.comparisons()
            if one.holds(found.measures, found.block_interval) is not True
        ]
        broken += [found.short] if found.short else []
        return (Outcome.UNKNOWN if holds is None else Outcome.FAIL), ", ".join(broken)


def _told(name: str, values: Sequence[Measure | None]) -> str:
    """What was measured, as it is compared."""
    return "/".join(
        "not measured"
        if one is None
        else one
        if isinstance(one, str)
        else format_duration(one)
        if is_time(name)
        else f"{one:.4g}"
        for one in values
    )


def _head(name: str, components: set[str]) -> str:
    """Whose a name is: the longest component in front of a dot, else what stands before the last dot."""
    found = [one for one in components if name.startswith(f"{one}.")]
    return max(found, key=len) if found else name.rpartition(".")[0] or name
