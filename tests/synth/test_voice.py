# ruff: noqa: RUF001
"""Voices: exact phone times, closures before their burst, the same bytes every time."""

import numpy as np
import pytest

from parlante.audio.phones import PHONES
from parlante.core import InputError
from parlante.synth import voice_espeak, voice_natural
from parlante.synth.voice import VOICES, cover, random_voice, speak, speak_many
from parlante.synth.voice_corpus import WEIGHT_NAMES, labels, nonsense
from parlante.synth.voice_ipa import to_phones


@pytest.fixture(scope="module", autouse=True)
def engine():
    pytest.importorskip("espeakng_loader", reason="espeakng_loader is not installed: pip install 'parlante[train]'")


def symbols(utterance) -> list[str]:
    return [phone.symbol for phone in utterance.phones if phone.symbol != "sil"]


def test_phones_follow_the_text_and_cover_the_sound():
    utterance = speak("Bob may pop the map.", "espeak/en-us/m3/175/50/50")
    assert symbols(utterance) == ["b", "aa", "b", "m", "ey", "p", "aa", "p", "dh", "ah", "m", "ae", "p"]
    starts, ends = zip(*((phone.start, phone.end) for phone in utterance.phones))
    assert starts[0] == 0 and starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(len(utterance.audio) / utterance.sample_rate, abs=1e-3)
    assert utterance.sample_rate == 16000 and utterance.audio.dtype == np.float32
    assert 0.05 < np.abs(utterance.audio).max() <= 1.1


@pytest.mark.parametrize("voice", ["espeak/en-gb/f2/175/50/50", "espeak/en-us/own7/120/40/60"])
def test_unvoiced_closures_are_quiet_before_they_burst(voice):
    utterance = speak("A copper pot, a paper cup, a happy puppy.", voice)
    level = np.abs(utterance.audio)
    for phone in utterance.phones:
        if phone.symbol == "p" and phone.start > 0.1:
            first = level[round((phone.start + 0.005) * 16000) : round((phone.start + 0.03) * 16000)]
            whole = level[round(phone.start * 16000) : round(phone.end * 16000)]
            assert first.max() < 0.15 * max(whole.max(), 0.05), phone


def test_same_jobs_same_bytes():
    jobs = [("We move above the water.", VOICES[3]), ("Five foxes.", "espeak/en-gb-scotland/own80/200/60/30")]
    for first, second in zip(speak_many(jobs), speak_many(jobs)):
        np.testing.assert_array_equal(first.audio, second.audio)
        assert first.phones == second.phones


def test_many_speakers_and_languages():
    rng = np.random.default_rng(0)
    names = {random_voice(rng, foreign=0.5) for _ in range(12)}
    assert len(names) == 12 and len(VOICES) >= 150
    spoken = speak_many([(nonsense(rng), name) for name in sorted(names)])
    assert all(len(symbols(utterance)) > 5 and set(symbols(utterance)) <= set(PHONES) for utterance in spoken)
    for language in ("de", "fr-fr", "es", "cmn"):
        assert "m" in symbols(speak("mama", f"espeak/{language}//170/50/50"))


def test_bad_voices_and_texts_are_refused():
    with pytest.raises(InputError, match=r"no voice 'nobody'.*espeak/en-us"):
        speak("hello", "nobody")
    with pytest.raises(InputError, match="text is empty"):
        speak("  ")
    with pytest.raises(InputError, match="language"):
        speak("hello", "espeak/xx-none//170/50/50")


def test_natural_voices():
    names = voice_natural.installed()
    if not names:
        pytest.skip("neither flite nor festival is installed")
    for name in names:
        engine, voice = name.split(":")
        full = f"flite/{voice}/1.1/0" if engine == "flite" else f"festival/{voice}/1.1"
        foreign = voice in voice_natural.FOREIGN
        utterance = speak("mapa boba pupima." if foreign else "Bob may pop the map.", full)
        lips = "m p b b p p m" if foreign else "b b m p p m p"
        assert [s for s in symbols(utterance) if s in "bpm"] == lips.split()
        assert utterance.phones[-1].end == pytest.approx(len(utterance.audio) / 16000, abs=2e-3)


def test_ipa_folds_onto_english():
    assert to_phones("ˈɑːɹ") == ("aa", "r")
    assert to_phones("aɪ") == ("ay",) and to_phones("tʃ") == ("ch",) and to_phones("ɔ̃") == ("ao",)
    assert to_phones("ˈ") == ()


def test_onsets_move_over_digital_silence_only_before_stops():
    audio = np.concatenate([np.full(2205, 500), np.zeros(1100), np.full(2205, 500)]).astype(np.int16)
    assert voice_espeak.move_onsets(audio, [0, 3305], [("ah",), ("p",)], 22050) == [0, 2205]
    assert voice_espeak.move_onsets(audio, [0, 3305], [("ah",), ("s",)], 22050) == [0, 3305]


def test_labels_close_on_bilabials():
    phones = cover([0.1, 0.3, 0.5, 0.7], [("aa",), ("m",), ("aa",), ("sil",)], 0.9)
    numbers, curves = labels(phones, 0.9)
    assert len(numbers) == len(curves) == 90
    assert PHONES[numbers[40]] == "m" and PHONES[numbers[5]] == "sil"
    jaw, close = curves[:, WEIGHT_NAMES.index("jawOpen")], curves[:, WEIGHT_NAMES.index("mouthClose")]
    assert jaw[40] - close[40] < 0.02 < 0.2 < jaw[20] - close[20]
