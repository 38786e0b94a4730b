"""Long recordings wait on disk and slice like arrays; silence is told from the level alone."""

import numpy as np
import pytest
from stand_in import spoken

from parlante.audio import recording as speech
from parlante.core import InputError


def test_long_audio_is_spooled_and_reads_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "IN_MEMORY", 1000)
    sound = spoken(30.0)
    spooled = speech._spool(iter(np.array_split(sound, 7)))
    assert isinstance(spooled, speech.SpooledAudio)
    assert len(spooled) == len(sound) and spooled.nbytes == sound.nbytes and spooled.shape == sound.shape
    np.testing.assert_array_equal(spooled[1000:2000], sound[1000:2000])
    np.testing.assert_array_equal(spooled[-5:], sound[-5:])
    assert len(spooled[10**7 :]) == 0
    np.testing.assert_array_equal(np.asarray(spooled), sound)
    np.testing.assert_array_equal(np.concatenate(list(spooled)), sound)


def test_level_silence_is_the_same_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = spoken(60.0, silent_after=40.0)
    whole = speech.hear((sound, 16000)).digital_silence(30)
    assert whole.shape == (1800,) and not whole[:1190].any() and whole[1210:].all()
    monkeypatch.setattr(speech, "IN_MEMORY", 1000)
    spooled = speech._spool([sound])
    np.testing.assert_array_equal(speech.Speech("x", spooled, 16000, spooled).digital_silence(30), whole)


@pytest.mark.parametrize(("gain", "silent"), [(1.0, False), (0.003, False), (1e-5, True), (0.0, True)])
def test_quiet_speech_is_not_silence(gain: float, silent: bool) -> None:
    assert speech.hear((gain * spoken(2.0), 16000)).digital_silence(30).all() == silent


def test_arrays_of_any_rate() -> None:
    for rate, kept in ((16000, 16000), (44100, 44100), (96000, 48000), (1000, 48000)):
        heard = speech.hear((spoken(1.0, rate), rate))
        assert heard.sample_rate == kept
        assert abs(len(heard.audio) - kept) < 3 and abs(len(heard.audio_16k) - 16000) < 3
    with pytest.raises(InputError, match=r"-1\.\.1"):
        speech.hear((1000 * spoken(1.0), 16000))
    with pytest.raises(InputError, match="sample rate"):
        speech.hear((spoken(1.0), 0))
