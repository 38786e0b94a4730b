"""Pivots guessed from a face at rest: as good as the likeness between faces allows, never worse than the mean."""

import numpy as np
import pytest

from parlante.core import InputError, Style
from parlante.models.textalker.pivots import PivotPredictor, aligned, thumbnail

VERTICES, PERSONS = 60, 24


def persons(seed: int = 0, skins: bool = True, linked: bool = True):
    """Faces of three traits whose motion pivots follow their shape, and wrinkle pivots their skin."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(VERTICES, 3))
    ways, tones = rng.normal(size=(3, VERTICES, 3)), rng.uniform(-60, 60, (2, 20, 24, 3))
    shape, skin = rng.normal(size=(PERSONS, 3)), rng.uniform(-1, 1, (PERSONS, 2))
    faces = base + 0.05 * np.tensordot(shape, ways, 1)
    pictures = np.clip(128 + np.tensordot(skin, tones, 1), 0, 255).astype(np.uint8)
    told = (shape, skin) if linked else (rng.normal(size=shape.shape), rng.normal(size=skin.shape))
    motion = np.tensordot(told[0], rng.normal(size=(3, 4, 2, 2)), 1) + 5
    wrinkle = np.tensordot(told[1], rng.normal(size=(2, 4, 2, 2)), 1) - 2
    styles = [
        Style(m.astype(np.float32), w.astype(np.float32), f"p{k}", "textalker", "abc")
        for k, (m, w) in enumerate(zip(motion, wrinkle))
    ]
    return faces, list(pictures), styles


def errors(faces, skins, styles):
    """Of the last persons, predicted from the others: (motion, wrinkle) RMS over that of the mean pivot."""
    known = slice(0, PERSONS - 6)
    predictor = PivotPredictor(faces[known], skins and skins[known], styles[known])
    found = []
    for part in ("motion", "wrinkle"):
        mean = np.mean([getattr(s, part) for s in styles[known]], 0)
        mine = other = 0.0
        for k in range(PERSONS - 6, PERSONS):
            guess = predictor.predict(faces[k], skins[k] if skins else None, "new").style
            mine += np.square(getattr(guess, part) - getattr(styles[k], part)).sum()
            other += np.square(mean - getattr(styles[k], part)).sum()
        found.append((mine / other) ** 0.5)
    return found, predictor.errors


def test_likeness_is_used_where_there_is_some() -> None:
    (motion, wrinkle), (told_motion, told_wrinkle) = errors(*persons())
    assert motion < 0.3 and wrinkle < 0.3
    assert told_motion < 0.3 and told_wrinkle < 0.3
    faces, _, styles = persons()
    (motion, _), _ = errors(faces, None, styles)
    assert motion < 0.3


def test_the_mean_is_returned_where_there_is_none() -> None:
    found, told = errors(*persons(linked=False))
    assert max(found) < 1.15 and max(told) <= 1.0


def test_the_left_out_error_is_that_of_leaving_out() -> None:
    """The closed form against fitting without each person, at a fixed strength."""
    from parlante.models.textalker.pivots import _Kernel, _left_out

    faces, _, styles = persons()
    kernel = _Kernel(faces.reshape(PERSONS, -1))
    targets = np.stack([s.motion for s in styles]).reshape(PERSONS, -1).astype(float)
    known = targets - targets.mean(0)
    for ridge in (0.1, 1.0, np.inf):
        total = 0.0
        for k in range(PERSONS):
            keep = np.arange(PERSONS) != k
            mean = targets[keep].mean(0)
            guess = mean
            if np.isfinite(ridge):  # the mean is fitted together with the weights: their rows sum to zero
                system = np.zeros((PERSONS, PERSONS))
                system[:-1, :-1] = kernel.gram[np.ix_(keep, keep)] + ridge * np.eye(PERSONS - 1)
                system[:-1, -1] = system[-1, :-1] = 1
                solved = np.linalg.solve(system, np.vstack([targets[keep], np.zeros(targets.shape[1])]))
                guess = kernel.gram[k, keep] @ solved[:-1] + solved[-1]
            total += np.square(targets[k] - guess).sum() / PERSONS
        assert _left_out(kernel.gram, ridge, known @ known.T).mean() == pytest.approx(total, rel=1e-6)


def test_place_size_and_turn_do_not_matter() -> None:
    faces, skins, styles = persons()
    predictor = PivotPredictor(faces[:-1], skins[:-1], styles[:-1])
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    np.testing.assert_allclose(aligned(7 * faces[3] @ turn + 4, faces[3]), faces[3], atol=1e-9)
    one = predictor.predict(faces[-1], skins[-1], "new")
    other = predictor.predict(7 * faces[-1] @ turn + 4, skins[-1], "new")
    np.testing.assert_allclose(one.style.motion, other.style.motion, atol=1e-5)
    assert one.style.checkpoint == "abc" and one.style.model == "textalker" and len(one.nearest) == 3


def test_errors() -> None:
    faces, skins, styles = persons()
    with pytest.raises(InputError, match="three persons"):
        PivotPredictor(faces[:2], None, styles[:2])
    predictor = PivotPredictor(faces, skins, styles)
    with pytest.raises(InputError, match=r"\(59, 3\)"):
        predictor.predict(faces[0][:-1], skins[0], "new")
    with pytest.raises(InputError, match="no texture"):
        predictor.predict(faces[0], None, "new")
    with pytest.raises(InputError, match="16 a side"):
        thumbnail(np.zeros((8, 8, 3), np.uint8))
