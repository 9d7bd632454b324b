"""Units: what is written is what is meant, and wrong units say what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.durations import LONGEST, format_duration, parse_duration
from harness.spec.units import Rate, Span, parse_size

amounts = st.floats(min_value=0, max_value=LONGEST, allow_nan=False)


@given(st.builds(Rate, amounts, st.sampled_from(["block", "s"])))
def test_rate_round_trip(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate


@given(st.builds(Span, amounts, st.sampled_from(["s", "blocks"])))
def test_span_round_trip(span: Span) -> None:
    assert Span.parse(str(span)) == span


@given(amounts)
def test_shown_durations_read_back_to_about_themselves(seconds: float) -> None:
    shown = parse_duration(format_duration(seconds))
    assert abs(shown - seconds) <= max(0.5 if seconds >= 59.9 else 0.0, 0.006 * seconds)


@given(st.integers(0, int(LONGEST)))
def test_whole_seconds_are_shown_exactly(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (0.9996, "1s"), (1.5, "1.5s"), (12.345, "12.3s"), (59.97, "1m"), (150, "2m30s"),
     (3661, "1h1m1s"), (1e-8, "0.00001ms"), (-2, "-2s")],
)  # fmt: skip
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("2m30s", 150), ("250ms", 0.25), ("1h", 3600), ("1d", 86400), (" 5s ", 5)]
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("written", "rate"),
    [(10, Rate(10)), (2.5, Rate(2.5)), ("15/block", Rate(15)), ("200 / s", Rate(200, "s")), ("30/m", Rate(0.5, "s"))],
)
def test_parse_rate(written: object, rate: Rate) -> None:
    assert Rate.parse(written) == rate


def test_rates_and_spans_in_seconds() -> None:
    assert Rate(10).per_second(block_interval=2) == 5
    assert Rate(10, "s").per_second(block_interval=2) == 10
    assert Span.parse("20 blocks").seconds(block_interval=1.5) == 30
    assert Span.parse("1 block").seconds(block_interval=1.5) == 1.5


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65536), ("1.5MB", 1_500_000), (12, 12), ("0B", 0)])
def test_parse_size(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (parse_duration, 10, '10 has no unit; write "10s" for seconds'),
        (parse_duration, "10", '"10" is not a duration; write one like "10s", "2m30s" or "250ms"'),
        (parse_duration, "ten's", '"ten\'s" is not a duration; write one like "10s", "2m30s" or "250ms"'),
        (parse_duration, True, 'true is not a duration; write one like "10s", "2m30s" or "250ms"'),
        (parse_duration, float("nan"), 'nan is not a duration; write one like "10s", "2m30s" or "250ms"'),
        (parse_duration, "99999999999999999999h", '"99999999999999999999h" is longer than 365 days'),
        (Span.parse, "366d", '"366d" is longer than 365 days'),
        (Span.parse, "99999999999 blocks", '"99999999999 blocks" is more than 31,536,000 blocks'),
        (Span.parse, 5, '5 has no unit; write "5s" for seconds, or "20 blocks"'),
        (
            Span.parse,
            "5 slots",
            '"5 slots" is not a duration; write one like "10s", "2m30s" or "250ms", or "20 blocks"',
        ),
        (Rate.parse, "5/slot", '"5/slot" is not a rate; write one like "15/block" or "200/s"'),
        (Rate.parse, -1, '-1 is not a rate; write one like "15/block" or "200/s"'),
        (Rate.parse, float("inf"), 'inf is not a rate; write one like "15/block" or "200/s"'),
        (Rate.parse, {"a": 1}, 'a table is not a rate; write one like "15/block" or "200/s"'),
        (parse_size, "64 kib", '"64 kib" is not a size; write one like "512B", "64KiB" or "1MB"'),
        (parse_size, "9" * 400 + "GB", f'"{"9" * 56}… is more than 1 TiB'),
        (parse_size, 10**400, f"1{'0' * 56}… is more than 1 TiB"),
        (Rate.parse, 10**400, f"1{'0' * 56}… is more than 1,000,000,000 per block"),
        (Rate.parse, "9" * 400 + "/s", f'"{"9" * 56}… is more than 1,000,000,000'),
        (parse_duration, "9" * 400 + "h", f'"{"9" * 56}… is longer than 365 days'),
        (parse_size, -1, '-1 is not a size; write one like "512B", "64KiB" or "1MB"'),
    ],
)
def test_wrong_units(parse: Callable[[Any], object], value: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(value)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["1ms", "1.5ms", "250ms", "1.5s", "2m30s", "20 blocks", "12.345s", "0s"])
def test_a_span_is_shown_as_people_write_it(text: str) -> None:
    assert str(Span.parse(text)) == text
