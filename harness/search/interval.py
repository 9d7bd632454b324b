"""How sure a search is of its limit. Pure.

The limit is taken to be the rate at which half of all probes would pass. Around it the chance to pass falls along a
logistic curve in the logarithm of the rate, of unknown steepness; every probe counts, at whatever rate it was. The
interval holds 95 % of the posterior of the limit, with flat priors over the logarithms of the limit (within the bounds)
and of the curve's width (0.2 % to 50 %), summed on a grid: as psychometric functions are fitted (Kontsevich & Tyler
1999). It depends on that model; what the repeats alone tell is `pass_chance`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.search.strategy import Outcome, Trial

_PLACES = 1_200
_WIDTHS = 16
_NARROWEST, _WIDEST = 0.002, 0.5


def limit_interval(trials: Sequence[Trial], low: float, high: float, share: float = 0.95) -> tuple[float, float]:
    """The central interval of the limit, which lies between the rates `low` and `high`. Raises ValueError without
    trials."""
    if not trials or not 0 < low < high:
        raise ValueError("there is nothing to tell a limit from")
    passes: dict[float, tuple[int, int]] = {}
    for trial in trials:
        yes, no = passes.get(trial.rate, (0, 0))
        held = trial.outcome is Outcome.PASS
        passes[trial.rate] = (yes + held, no + (not held))
    step = math.log(high / low) / (_PLACES - 1)
    places = [math.log(low) + step * index for index in range(_PLACES)]
    grow = (_WIDEST / _NARROWEST) ** (1 / (_WIDTHS - 1))
    widths = [_NARROWEST * grow**index for index in range(_WIDTHS)]
    rates = [(math.log(rate), yes, no) for rate, (yes, no) in passes.items()]
    likely = [[_log_likelihood(rates, place, width) for width in widths] for place in places]
    top = max(map(max, likely))
    weights = [sum(math.exp(one - top) for one in row) for row in likely]
    total, edge = sum(weights), (1 - share) / 2
    return math.exp(_quantile(places, weights, total * edge)), math.exp(_quantile(places, weights, total * (1 - edge)))


def _log_likelihood(rates: Sequence[tuple[float, int, int]], place: float, width: float) -> float:
    return sum(
        -yes * _softplus((rate - place) / width) - no * _softplus((place - rate) / width) for rate, yes, no in rates
    )


def _softplus(x: float) -> float:
    """log(1 + e^x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _quantile(places: Sequence[float], weights: Sequence[float], wanted: float) -> float:
    below = 0.0
    for place, weight in zip(places, weights, strict=True):
        below += weight
        if below >= wanted:
            return place
    return places[-1]


def pass_chance(passed: int, of: int, share: float = 0.95) -> tuple[float, float]:
    """The exact interval of a chance of which `of` independent trials saw `passed` (Clopper & Pearson 1934)."""
    edge = (1 - share) / 2
    low = 0.0 if not passed else _solve(lambda p: _at_least(passed, of, p) - edge)
    high = 1.0 if passed == of else _solve(lambda p: edge - (1 - _at_least(passed + 1, of, p)))
    return low, high


def _at_least(count: int, of: int, p: float) -> float:
    return sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(count, of + 1))


def _solve(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
