"""Changes of rate: laws that hold at any length."""

import pytest
import torch

from parlante.audio.rates import REFERENCE_RULES, RateRule, change_rate
from parlante.core import InputError

THIRTY = REFERENCE_RULES["aligned30"]
PAIRS = REFERENCE_RULES["pairs25"]


@pytest.mark.parametrize("length, steps", [(2, 1), (49, 29), (50, 30), (205, 122), (410, 245), (820, 491), (1615, 968)])
def test_free_length_is_the_one_of_double_precision(length, steps):
    assert change_rate(torch.zeros(1, length, 2), THIRTY).shape == (1, steps, 2)


@pytest.mark.parametrize("steps", [1, 2, 17, 60, 333])
def test_aligned_reading_of_a_line_is_a_line_between_its_ends(steps):
    line = torch.arange(100, dtype=torch.float64)[None, :, None]
    read = change_rate(line, THIRTY, steps)[0, :, 0]
    assert torch.allclose(read, torch.linspace(0, 99, steps, dtype=torch.float64))


def test_aligned_reading_equals_torch():
    x = torch.randn(2, 77, 3, dtype=torch.float64)
    theirs = torch.nn.functional.interpolate(x.mT, size=123, mode="linear", align_corners=True).mT
    assert torch.allclose(change_rate(x, THIRTY, 123), theirs, atol=1e-12)


def test_centred_reading_equals_torch():
    x = torch.randn(1, 50, 3, dtype=torch.float64)
    theirs = torch.nn.functional.interpolate(x.mT, size=60, mode="linear").mT
    assert torch.allclose(change_rate(x, RateRule(kind="centred", fps=60.0)), theirs, atol=1e-12)


def test_centred_keeps_the_sound_of_the_frames_or_squeezes_twice_as_much():
    ramp = torch.arange(100, dtype=torch.float64)[None, :, None]
    kept = change_rate(ramp, RateRule(kind="centred", fps=60.0, steps_per_frame=2), 30)
    squeezed = change_rate(ramp, RateRule(kind="centred", fps=60.0, steps_per_frame=2, keep_fps=30.0), 30)
    assert kept.shape == squeezed.shape == (1, 60, 1)
    assert kept.max() == 49 and squeezed.max() > 98


@pytest.mark.parametrize("length, frames, steps", [(50, None, 50), (49, None, 48), (50, 15, 30), (49, 80, 48)])
def test_pairs_drop_the_odd_one_then_cut(length, frames, steps):
    x = torch.randn(1, length, 2)
    assert torch.equal(change_rate(x, PAIRS, frames), x[:, :steps])
    assert PAIRS.frames(steps) == steps // 2 and PAIRS.frame_rate == 25


def test_no_change():
    x = torch.randn(1, 49, 2)
    assert change_rate(x, REFERENCE_RULES["none"], 7) is not None and torch.equal(
        change_rate(x, REFERENCE_RULES["none"], 7), x
    )


@pytest.mark.parametrize("rule, length, frames", [(THIRTY, 1, None), (PAIRS, 1, None), (THIRTY, 0, 5), (THIRTY, 9, 0)])
def test_too_short_is_one_clear_error(rule, length, frames):
    with pytest.raises(InputError, match="too short"):
        change_rate(torch.zeros(1, length, 2), rule, frames)


def test_single_precision_keeps_time_on_long_clips():
    x = torch.randn(1, 50 * 600, 1)
    exact = change_rate(x.double(), THIRTY)
    assert (change_rate(x, THIRTY) - exact).abs().max() < 2e-6


def test_gradient_reaches_the_features():
    x = torch.randn(1, 20, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: change_rate(x, THIRTY), (x,))


@pytest.mark.parametrize("rule", REFERENCE_RULES.values(), ids=REFERENCE_RULES)
def test_rules_survive_a_config_file(rule):
    assert RateRule.from_dict(rule.to_dict()) == rule


@pytest.mark.parametrize(
    "fields",
    [{"kind": "BIWI"}, {"speed": 3}, {"kind": "pairs"}, {"kind": "aligned", "fps": 0}, {"kind": "none", "fps": 30.0}],
)
def test_wrong_rules_are_refused(fields):
    with pytest.raises(InputError, match="rate rule"):
        RateRule.from_dict(fields)
