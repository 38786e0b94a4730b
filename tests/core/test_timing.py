import pytest

from parlante.core.timing import frame_times, num_frames, num_samples


@pytest.mark.parametrize("samples", [0, 1, 533, 534, 16000, 16001, 123457])
def test_frames_cover_the_audio(samples: int) -> None:
    count = num_frames(samples)
    assert count / 30 * 16000 >= samples > (count - 1) / 30 * 16000 or samples == count == 0
    assert samples <= num_samples(count) + 1


def test_one_second_is_thirty_frames_and_nonsense_is_refused() -> None:
    assert num_frames(16000) == 30 == num_frames(44100, 44100)
    assert num_samples(30) == 16000
    assert frame_times(3)[-1] == pytest.approx(2 / 30)
    with pytest.raises(ValueError, match="positive"):
        num_frames(10, 0)
