"""Clean speech that sounds like recordings."""

import numpy as np
import pytest

from parlante.audio.augment import augmented_views


def test_hearings_begin_with_the_sound_itself_and_can_be_heard_again() -> None:
    wave = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    first, again, other = (list(augmented_views(wave, 2, seed=1, number=n, strength=0.5)) for n in (3, 3, 4))
    assert len(first) == 3 and first[0][0] is wave and first[0][1] == 1
    for (sound, speed), (same, _) in zip(first, again):
        np.testing.assert_array_equal(sound, same)
        assert len(sound) == pytest.approx(16000 / speed, abs=1)
    assert first[1][1] != first[2][1] and first[1][1] != other[1][1]
