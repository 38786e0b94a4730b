"""Protocols and the published vertex lists behind them."""

import numpy as np
import pytest

from parlante.core import InputError
from parlante.evaluation.protocols import PROTOCOLS, protocol
from parlante.geometry.regions import ORIGINS, VERTICES, checksum, region


def test_every_list_has_a_source_and_fits_its_mesh() -> None:
    for name in ORIGINS:
        numbers = region(name)
        assert len(numbers) and numbers.min() >= 0 and numbers.max() < VERTICES[name.split("/")[0]], name
    assert len(region("BIWI/lve")) == 3921 and set(region("BIWI/lve")) < set(region("BIWI/lip_talkingstyle"))
    assert len(set(region("vocaset/lip_talkingstyle").tolist())) == 648


def test_lists_are_told_apart_by_checksum() -> None:
    assert checksum("BIWI/lve") != checksum("BIWI/lip_talkingstyle")
    assert len(checksum("BIWI/fdd")) == 64
    with pytest.raises(InputError, match="choose from"):
        region("BIWI/nose")


def test_every_protocol_scores_a_perfect_prediction_as_zero() -> None:
    rng = np.random.default_rng(0)
    for name, rules in PROTOCOLS.items():
        count = VERTICES[rules.lips.split("/")[0]]
        truth = {"F2_e37": rng.normal(size=(3, count, 3)).astype(np.float32)}
        found = rules.score(truth, truth, {"F2": truth["F2_e37"][0]})
        assert found.pop("frames") == 3 and set(found) == set(rules.measures), name
        assert not any(found.values()), name


def test_what_is_missing_is_said() -> None:
    rules = protocol("talkingstyle-biwi-a")
    motion = np.zeros((2, 9, 3))
    for predicted, truth, templates, said in (
        ({}, {}, {}, "nothing to compare"),
        ({"F2_e37": motion}, {}, {"F2": motion[0]}, "no truth"),
        ({"F2_e37": motion}, {"F2_e37": motion}, {}, "no template"),
        ({"F2_e37": motion}, {"F2_e37": motion[:, :5]}, {"F2": motion[0]}, "vertices"),
        ({"F2_e37": motion}, {"F2_e37": motion}, {"F2": motion[0]}, "do not fit"),
    ):
        with pytest.raises(InputError, match=said):
            rules.score(predicted, truth, templates)
    with pytest.raises(InputError, match="choose from"):
        protocol("nobody")


def test_conditioned_predictions_find_their_truth() -> None:
    motion = np.random.default_rng(0).normal(size=(4, 9, 3))
    found = protocol("facediffuser-biwi-a").score(
        {"F1_e37_condition_F2": motion + 1.0, "F1_e37_condition_M3": motion}, {"F1_e37": motion}, {"F1": motion[0]},
        lips=[0, 1], upper=[2, 3],
    )  # fmt: skip
    assert found["lve"] == pytest.approx(1.5) and found["frames"] == 8
