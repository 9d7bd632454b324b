"""When requests are to be sent: a rate that changes over time, and arrivals drawn from it.

The moments are where the integral of the rate reaches whole numbers (`uniform`: evenly spaced at a constant rate), or
the sums of exponentially distributed steps of mean one (`poisson`: an inhomogeneous Poisson process by time change,
Çinlar 1975). Both depend on nothing but the profile and the generator."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Arrivals = Literal["uniform", "poisson"]


@dataclass(frozen=True, slots=True)
class Segment:
    """`seconds` in which the rate goes evenly from `start` to `end`, both requests per second."""

    seconds: float
    start: float
    end: float

    @property
    def amount(self) -> float:
        """How many requests are due in it."""
        return self.seconds * (self.start + self.end) / 2

    def reaches(self, amount: float) -> float:
        """After how many seconds so many are due; `amount` is at most that of the whole segment.

        The root of `start·t + slope·t²/2 = amount`, in the form that does not cancel for small slopes."""
        slope = (self.end - self.start) / self.seconds
        root = math.sqrt(max(0.0, self.start * self.start + 2 * slope * amount))
        divisor = self.start + root
        return min(self.seconds, 2 * amount / divisor) if divisor else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A rate over time, from moment 0 on; nothing after its last segment."""

    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        return sum(segment.seconds for segment in self.segments)

    @property
    def amount(self) -> float:
        """How many requests are due in all."""
        return sum(segment.amount for segment in self.segments)

    @property
    def peak(self) -> float:
        """The highest rate, per second."""
        return max((max(segment.start, segment.end) for segment in self.segments), default=0.0)

    def due_until(self, at: float) -> float:
        """How many requests are due before this moment, on average."""
        found = 0.0
        for segment in self.segments:
            if at < segment.seconds:
                part = max(0.0, at)
                return found + part * (segment.start + self.rate_in(segment, part)) / 2
            found += segment.amount
            at -= segment.seconds
        return found

    @staticmethod
    def rate_in(segment: Segment, at: float) -> float:
        """The rate so many seconds after a segment's beginning."""
        return segment.start + (segment.end - segment.start) * at / segment.seconds

    def rate(self, at: float) -> float:
        """The rate at this moment, per second; 0 outside."""
        for segment in self.segments:
            if 0 <= at < segment.seconds:
                return self.rate_in(segment, at)
            at -= segment.seconds
        return 0.0


def constant(rate: float, seconds: float) -> Profile:
    """The same rate all the time."""
    return Profile((Segment(seconds, rate, rate),)) if seconds > 0 else Profile(())


def of_points(points: Sequence[tuple[float, float]], seconds: float) -> Profile:
    """Straight lines between (moment, rate) points in order of time; two of one moment are a step. The first rate holds
    before the first point, the last one after the last, up to `seconds`; what comes later is cut off."""
    if not points:
        raise ValueError("a rate needs a point at least")
    edges = [(0.0, points[0][1]), *points, (math.inf, points[-1][1])]
    segments = []
    for (begin, start), (until, end) in itertools.pairwise(edges):
        if until < begin:
            raise ValueError("points of a rate must be in order of time")
        if begin >= seconds or until == begin:
            continue
        if until > seconds:
            end = start + (end - start) * (seconds - begin) / (until - begin) if math.isfinite(until) else end
            until = seconds
        segments.append(Segment(until - begin, start, end))
    return Profile(tuple(segments))


def moments(profile: Profile, arrivals: Arrivals = "uniform", rng: random.Random | None = None) -> Iterator[float]:
    """Seconds from the profile's beginning, in order: when each request is due. The first uniform one is due at once.

    `rng` is needed for poisson arrivals."""
    if arrivals == "poisson":
        if rng is None:
            raise ValueError("poisson arrivals need a random generator")
        draw = rng.expovariate
        steps: Iterator[float] = (draw(1.0) for _ in itertools.count())
        reached = next(steps)
    else:
        steps, reached = itertools.repeat(1.0), 0.0
    begin = passed = 0.0
    for segment in profile.segments:
        whole = passed + segment.amount
        bound = whole - 1e-9 * max(1.0, whole)  # rounding must not move the next segment's first one into this one
        if segment.start == segment.end and segment.start > 0:
            rate = segment.start
            while reached < bound:
                yield begin + max(0.0, reached - passed) / rate
                reached += next(steps)
        else:
            while reached < bound:
                yield begin + segment.reaches(max(0.0, reached - passed))
                reached += next(steps)
        begin += segment.seconds
        passed = whole


def share(of: Iterator[float], number: int, among: int) -> Iterator[float]:
    """Every `among`-th moment from the one with this number (from 0) on: what one of several senders is to send."""
    return itertools.islice(of, number, None, among)
