"""Bootstrap intervals: they hold what they should, and pairing removes what both share."""

from itertools import combinations

import numpy as np
import pytest

from parlante.evaluation.intervals import beyond_noise, difference, holm, interval, p_value
from parlante.evaluation.measures import MEASURES

MVE, PSNR, JITTER = MEASURES["mve"], MEASURES["psnr"], MEASURES["jitter"]


def test_the_interval_agrees_with_the_standard_error_and_repeats() -> None:
    values = np.random.default_rng(0).normal(5e-3, 1e-3, 80)
    found = interval(MVE, values, np.ones(80))
    error = 1e3 * values.std() / np.sqrt(80)
    assert found.value == pytest.approx(1e3 * values.mean()) and found.clips == 80
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found == interval(MVE, values, np.ones(80)) != interval(MVE, values, np.ones(80), seed=1)


def test_it_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(1), 0
    for trial in range(200):
        found = interval(MVE, rng.normal(2.0, 1.0, 40), np.ones(40), unit="", seed=trial, draws=400)
        inside += found.low <= 2.0 <= found.high
    assert 0.89 <= inside / 200 <= 0.985


def test_clips_weigh_by_their_frames_and_decibels_come_last() -> None:
    assert interval(MVE, [1.0, 4.0], [3.0, 1.0], unit="data").value == pytest.approx(1.75)
    assert interval(PSNR, [1.0, 3.0], [1, 1]).value == pytest.approx(10 * np.log10(255**2 / 2))
    one = interval(MVE, [1.0], [1.0])
    assert np.isnan(one.low) and np.isnan(one.high)


def test_pairing_finds_small_differences_among_hard_and_easy_clips() -> None:
    rng = np.random.default_rng(2)
    hard = rng.lognormal(0, 1, 30)
    weights = np.ones(30)
    better, worse = (hard, weights), (hard * 1.05 + rng.normal(0, 0.005, 30), weights)
    assert beyond_noise(difference(MVE, worse, better)) and difference(MVE, worse, better).value > 0
    alone = [interval(MVE, *pair) for pair in (better, worse)]
    assert alone[1].low < alone[0].high  # unpaired intervals could not tell them apart
    noise = hard + rng.normal(0, 0.3, 30)
    assert not beyond_noise(difference(MVE, (noise, weights), better))
    with pytest.raises(ValueError, match="same clips"):
        difference(MVE, ([1.0], [1.0]), better)


def test_many_pairs_are_corrected_for() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([]).tolist() == []
    weights, mistakes, single = np.ones(30), 0, 0
    for trial in range(30):  # ten equal models, so that every difference is chance
        models = np.random.default_rng(trial).normal(2, 1, (10, 30))
        found = [
            p_value(MVE, (one, weights), (other, weights), seed=trial, draws=1000)
            for one, other in combinations(models, 2)
        ]
        single += min(found) < 0.05
        mistakes += holm(found).min() < 0.05
    assert single > 20 and mistakes <= 8
    assert p_value(MVE, ([1.0], [1.0]), ([2.0], [1.0])) == 1


def test_worse_is_told_by_the_measure() -> None:
    loud, quiet = ([2.0, 2.1], [1, 1]), ([1.0, 1.1], [1, 1])
    assert difference(MEASURES["ssim"], loud, quiet).value < 0 < difference(MVE, loud, quiet).value
    assert difference(JITTER, loud, quiet).value == pytest.approx(1.0)
    assert difference(JITTER, ([0.5, 0.5], [1, 1]), ([1.5, 1.5], [1, 1])).value == pytest.approx(0.0)


def test_lengths_of_unknown_units_keep_their_digits() -> None:
    """BIWI's published unit makes faces one unit long: two decimals would make all models equal."""
    found = {"lve": [0.00004], "lip_mm": [0.006]}
    for name, values in found.items():
        measure = MEASURES[name]
        shown = interval(measure, values, [1.0], unit="normalised")
        assert float(f"{shown.value:.{measure.digits_in('normalised')}f}") == pytest.approx(values[0])
        assert measure.digits_in("m") == measure.digits
    assert PSNR.digits_in("normalised") == PSNR.digits
