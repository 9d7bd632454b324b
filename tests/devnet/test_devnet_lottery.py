"""The lottery's statistics against Praos' formula. Seeds are fixed, so these tests are deterministic."""

from __future__ import annotations

import math

import pytest

from harness_devnet.node.lottery import SPACE, Lottery, threshold

SLOTS = 8000


def _within_4_sigma(hits, probability):
    return abs(hits - SLOTS * probability) < 4 * math.sqrt(SLOTS * probability * (1 - probability))


@pytest.mark.parametrize("f", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("stakes", [[1], [1, 1, 1, 1], [7, 2, 1]])
def test_slots_are_active_with_probability_f_and_won_by_stake(keys, f, stakes):
    lottery = Lottery(keys(validators=len(stakes), stakes=stakes, f=f).genesis)
    wins = [0] * len(stakes)
    active = 0
    members = lottery._genesis.validators
    for slot in range(1, SLOTS + 1):
        leaders = lottery.leaders(slot)
        active += bool(leaders)
        for leader in leaders:
            wins[members.index(leader)] += 1
    assert _within_4_sigma(active, f)
    for stake, won in zip(stakes, wins, strict=True):
        assert _within_4_sigma(won, 1 - (1 - f) ** (stake / sum(stakes)))


def test_thresholds_keep_f_however_the_stake_is_split():
    for stakes in ([1], [1, 1], [5, 3, 1, 1]):
        idle = math.prod(1 - threshold(stake, sum(stakes), 0.3) / SPACE for stake in stakes)
        assert idle == pytest.approx(0.7)
    assert threshold(0, 3, 0.5) == 0
    assert threshold(1, 1, 1.0) == SPACE - 1


def test_next_led_is_the_first_led_slot(keys):
    keys = keys(validators=3, executors=1, f=0.2)
    lottery = Lottery(keys.genesis)
    for member in keys.genesis.validators:
        expected = [slot for slot in range(1, 300) if member in lottery.leaders(slot)]
        found, slot = [], -5
        while (slot := lottery.next_led(member, slot)) < 300:
            found.append(slot)
        assert found == expected
    executor = keys.genesis.members[-1]
    assert lottery.next_led(executor, 0) is None and not any(lottery.leads(s, executor) for s in range(100))


def test_epochs_have_their_own_seeds(keys):
    """With the same slots but another epoch length, draws agree in epoch 0 and differ after it."""
    short, long = (keys(epoch_slots=n) for n in (50, 100))
    key = short.genesis.validators[0].key
    a, b = Lottery(short.genesis), Lottery(long.genesis)
    assert [a.draw(s, key) for s in range(50)] == [b.draw(s, key) for s in range(50)]
    assert not {a.draw(s, key) for s in range(50, 100)} & {b.draw(s, key) for s in range(50, 100)}
    assert a.draw(7, key) == b.draw(7, key)  # back in an epoch that was left
