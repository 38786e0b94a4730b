"""Long recordings wait on disk and slice like arrays; silence is told from the level alone."""

import numpy as np
import pytest
from stand_in import spoken

from parlante.audio import recording
from parlante.core import InputError


def test_long_audio_is_spooled_and_reads_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "IN_MEMORY", 1000)
    sound = spoken(30.0)
    spooled = recording._spool(iter(np.array_split(sound, 7)))
    assert isinstance(spooled, recording.SpooledAudio)
    assert len(spooled) == len(sound) and spooled.nbytes == sound.nbytes and spooled.shape == sound.shape
    np.testing.assert_array_equal(spooled[1000:2000], sound[1000:2000])
    np.testing.assert_array_equal(spooled[-5:], sound[-5:])
    assert len(spooled[10**7 :]) == 0
    np.testing.assert_array_equal(np.asarray(spooled), sound)
    np.testing.assert_array_equal(np.concatenate(list(spooled)), sound)


def test_level_silence_is_the_same_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = spoken(60.0, silent_after=40.0)
    whole = recording.load_audio((sound, 16000)).digital_silence(30)
    assert whole.shape == (1800,) and not whole[:1190].any() and whole[1210:].all()
    monkeypatch.setattr(recording, "IN_MEMORY", 1000)
    spooled = recording._spool([sound])
    np.testing.assert_array_equal(recording.Recording("x", spooled, 16000, spooled).digital_silence(30), whole)


@pytest.mark.parametrize(("gain", "silent"), [(1.0, False), (0.003, False), (1e-5, True), (0.0, True)])
def test_quiet_speech_is_not_silence(gain: float, silent: bool) -> None:
    assert recording.load_audio((gain * spoken(2.0), 16000)).digital_silence(30).all() == silent


def test_arrays_of_any_rate() -> None:
    for rate, kept in ((16000, 16000), (44100, 44100), (96000, 48000), (1000, 48000)):
        heard = recording.load_audio((spoken(1.0, rate), rate))
        assert heard.sample_rate == kept
        assert abs(len(heard.audio) - kept) < 3 and abs(len(heard.audio_16k) - 16000) < 3
    with pytest.raises(InputError, match=r"-1\.\.1"):
        recording.load_audio((1000 * spoken(1.0), 16000))
    with pytest.raises(InputError, match="sample rate"):
        recording.load_audio((spoken(1.0), 0))


def test_arrays_of_several_channels_are_averaged_over_the_channels() -> None:
    left, right = spoken(1.0), 0.5 * spoken(1.0)
    stereo = np.stack([left, right], axis=1)  # (N, channels), as soundfile reads
    np.testing.assert_allclose(recording.load_audio((stereo, 16000)).audio, (left + right) / 2, atol=1e-6)
    np.testing.assert_array_equal(recording.load_audio((left[:, None], 16000)).audio, left)
    for samples in (stereo.T, left[None], np.zeros((3, 4, 5)), np.float32(0)):
        with pytest.raises(InputError, match=r"\(N,\) or \(N, channels\), got"):
            recording.load_audio((samples, 16000))
    with pytest.raises(InputError, match="no samples"):
        recording.load_audio((stereo[:0], 16000))
