import pytest

from parlante.audio.phones import PHONES
from parlante.synth.text import sentences


def test_distinct_seeded_and_plentiful() -> None:
    many = sentences(5000, seed=1)
    assert len(set(many)) == 5000
    assert many == sentences(5000, seed=1) != sentences(5000, seed=2)
    assert sentences(30, seed=1) == many[:30]
    assert sentences(0) == []


def test_sentences_read_well() -> None:
    for text in sentences(2000, seed=4):
        assert text[0].isupper() and text[-1] in ".!?" and "{" not in text and "  " not in text
        assert 4 <= len(text.split()) <= 16


def test_the_first_sentences_hold_every_phone() -> None:
    pytest.importorskip("espeakng_loader")
    from parlante.synth.voice import speak_many

    spoken = speak_many([(text, "espeak/en-us/m3/170/50/50") for text in sentences(16)])
    heard = {phone.symbol for utterance in spoken for phone in utterance.phones}
    assert not set(PHONES) - heard


def test_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="-1"):
        sentences(-1)
