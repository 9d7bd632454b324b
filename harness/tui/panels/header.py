"""The top lines: which run, how far, what is known of its verdict; and its phases."""

from __future__ import annotations

from rich.text import Text

from harness.record.state import PhaseState
from harness.record.text import counted
from harness.tui.bars import gauge
from harness.tui.look import ACCENT, BAD, DIM, DOUBTFUL, GOOD, clock, cut, span
from harness.tui.moment import Mode, Moment, so_far

BADGES = {
    Mode.LIVE: ("● LIVE", "bold reverse green"),
    Mode.FROZEN: ("❄ FROZEN", "bold reverse cyan"),
    Mode.PAUSED: ("‖ PAUSED", "bold reverse yellow"),
    Mode.REPLAY: ("▶ REPLAY", "bold reverse blue"),
    Mode.DISCONNECTED: ("✗ DISCONNECTED", "bold reverse red"),
}
_BAR = 12


def badge(moment: Moment) -> Text:
    text, style = BADGES[moment.mode]
    if moment.mode is Mode.REPLAY:
        text = f"▶ REPLAY {moment.speed:g}×" if moment.speed else "■ REPLAY"
    return Text(f" {text} ", style)


def header(moment: Moment, width: int) -> Text:
    """One line, what matters most first."""
    state = moment.state
    if state.run is None and moment.read is not None:
        return Text("reading the journal …", DIM)
    word, why = _verdict(moment)
    doubtful = state.finish is not None or moment.is_cut_off or "UNKNOWN" in word
    style = BAD if "FAIL" in word else GOOD if word == "PASS" else DOUBTFUL if doubtful else DIM
    line = Text.assemble(badge(moment), " ")
    line.append(cut(state.run.name if state.run else "run", 40), "bold")
    time = f"  {clock(moment.t)}"
    if moment.mode is not Mode.LIVE and moment.end > moment.t:
        time += f" of {clock(moment.end)}"
    line.append(time, "bold")
    if moment.silence:
        line.append(f", nothing heard for {clock(moment.silence)}", f"bold {DOUBTFUL}")
    elif (left := moment.remaining) is not None:
        line.append(f", {clock(left)} left", DIM)
    line.append("  ")
    line.append(cut(word, 60), f"bold {style}")
    if why:
        line.append(f" ({cut(why, max(10, width - line.cell_len - 3))})", DIM)
    return line


def _verdict(moment: Moment) -> tuple[str, str]:
    """Nothing will be judged of a run without a controller; what was seen to be wrong was."""
    word, why = so_far(moment.state)
    if not moment.is_cut_off:
        return word, why
    gone = "its controller is gone: see `harness clean`"
    return (word, f"{why}; {gone}") if word.isupper() or word.startswith(("FAIL", "UNKNOWN")) else ("NOT JUDGED", gone)


def facts(moment: Moment, width: int) -> Text:
    """The second line: what runs, and where."""
    state = moment.state
    lost = [f"? {counted(moment.lost, 'line')} of the journal cannot be read"] if moment.lost else []
    if state.run is None:
        nothing = "it has not said what it was" if moment.is_cut_off else "the run has not said yet what it is"
        return Text(cut(" · ".join([*lost, "" if moment.read is not None else nothing]), width), DIM)
    run = state.run
    parts = [run.run_id, f"{counted(len(state.nodes), 'node')} of {run.chain} by {run.deployer}", f"seed {run.seed}"]
    if (rate := state.block_rate()) is not None and state.highest is not None:
        parts.insert(0, f"height {state.highest.height:,}, {rate:.2f} blocks/s")
    if moment.read is not None:
        parts.insert(0, f"history: {moment.read:.0%} read")
    if active := state.active_faults:
        parts.insert(0, f"⚡ {counted(len(active), 'fault')} on")
    parts[:0] = lost
    return Text(cut(" · ".join(parts), width), DIM)


def phases(moment: Moment, width: int) -> Text:
    """Each phase with the time it took, the one that goes on with its budget; the first are left out where there is
    no room for all."""
    told = [_phase(phase, moment) for phase in moment.state.phases]
    between = Text(" › ", DIM)
    line = between.join(told)
    while line.cell_len > width and len(told) > 1:
        del told[0]
        line = between.join([Text("…", DIM), *told])
    line.truncate(width, overflow="ellipsis")
    return line


def _phase(phase: PhaseState, moment: Moment) -> Text:
    name = cut(phase.phase, 20)
    if phase.ok is not None or phase.started_at > moment.t:
        mark, style = ("✗", BAD) if phase.ok is False else ("✓", GOOD)
        return Text.assemble((mark, style), (f" {name} {span(phase.seconds)}", DIM))
    spent = moment.t - phase.started_at
    if moment.is_cut_off:
        return Text(f"✗ {name} cut off after {clock(spent)}", BAD)
    line = Text(f"▸ {name} {clock(spent)}", f"bold {ACCENT}")
    if phase.budget:
        line = Text.assemble(line, (f"/{clock(phase.budget)} {gauge(spent / phase.budget, _BAR)}", ACCENT))
    return line
