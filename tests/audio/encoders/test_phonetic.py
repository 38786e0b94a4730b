"""The encoder: rate, level invariance, pieces equal the whole, flat memory; the shipped weights hear speech."""

import wave

import numpy as np
import pytest
import torch

from parlante.audio.encoders.phonetic import DIM, FEATURES, STEP, WEIGHT_SCALES, PhoneticConfig, PhoneticEncoder
from parlante.audio.encoders.transformers import load_speech_encoder
from parlante.audio.logmel import LogMel, running_normalise
from parlante.audio.phones import PHONES
from parlante.audio.prosody import voicing_and_pitch
from parlante.core import InputError


@pytest.fixture(scope="module")
def shipped() -> PhoneticEncoder:
    return PhoneticEncoder.from_pretrained()


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * 3 * t) + 0.4 * np.sin(2 * np.pi * 0.7 * t), 0, 1)
    return (0.1 * buzz * loud + 0.003 * rng.standard_normal(len(t))).astype(np.float32)


def test_fifty_features_a_second(shipped):
    for samples in (0, 100, 320, 16000, 16319, 16320):
        assert shipped(torch.zeros(2, samples)).shape == (2, samples // STEP, DIM)
    assert [s.stop for s in FEATURES.values()][-1] == DIM
    assert FEATURES["weights"].stop - FEATURES["weights"].start == len(WEIGHT_SCALES)
    with pytest.raises(ValueError, match=r"\(16000,\)"):
        shipped(torch.zeros(16000))


@pytest.mark.parametrize("piece_s", [0.1, 0.5, 3.0])
def test_pieces_equal_the_whole(shipped, piece_s):
    audio = speechlike(11.3)
    with torch.no_grad():
        whole = shipped(torch.from_numpy(audio)[None])[0].numpy()
    pieces = list(shipped.iter_features(np.array_split(audio, 37), piece_s))
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=2e-4)
    np.testing.assert_allclose(shipped.encode(audio, 4.0), whole, atol=2e-4)


def test_features_do_not_depend_on_the_level(shipped):
    audio = torch.from_numpy(speechlike(3.0))[None]
    with torch.no_grad():
        loud, quiet = shipped(audio), shipped(0.1 * audio)
    assert (loud - quiet).abs()[..., : FEATURES["gates"].stop].mean() < 0.02


def test_a_tone_burst_lies_where_it_is():
    audio = torch.zeros(1, 16000)
    audio[0, 8000:8160] = torch.sin(torch.arange(160) * 0.8)
    mels = LogMel()(audio)
    assert mels.shape == (1, 100, 64) and int(mels.logsumexp(-1).argmax()) == 50
    normal, loudness = running_normalise(mels)
    assert normal.shape == mels.shape and int(loudness.argmax()) == 50


@pytest.mark.parametrize("hertz", [80, 150, 260, 380])
def test_pitch_of_a_buzz(hertz):
    t = torch.arange(16000) / 16000
    buzz = sum(torch.sin(2 * torch.pi * hertz * k * t) / k for k in range(1, 9))[None] * 0.1
    voicing, pitch = voicing_and_pitch(buzz)
    inner = slice(5, 45)
    assert voicing[0, inner].min() > 0.8
    np.testing.assert_allclose(150 * 2 ** pitch[0, inner].numpy(), hertz, rtol=0.03)
    voicing, pitch = voicing_and_pitch(0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))
    assert voicing.mean() < 0.45
    voicing, pitch = voicing_and_pitch(torch.zeros(1, 16000))
    assert not voicing.any() and not pitch.any()


@pytest.mark.slow
def test_an_hour_streams_in_flat_memory():
    encoder = PhoneticEncoder(PhoneticConfig(stem=4, width=16, dilations=(1,)))
    block = speechlike(10.0)
    longest = 0

    def blocks():
        for _ in range(360):
            yield block

    total = 0
    for piece in encoder.iter_features(blocks(), 10.0):
        total += len(piece)
        longest = max(longest, len(piece))
    assert total == 3600 * 50 and longest <= 500


def test_silence_is_silence(shipped):
    rng = np.random.default_rng(0)
    for level in (0.0, 1e-4, 3e-3):
        out = shipped.encode((level * rng.standard_normal(48000)).astype(np.float32))
        assert out[:, FEATURES["phones"]][:, 0].mean() > 0.8, level
        assert out[:, FEATURES["weights"]][:, 0].mean() < 0.12


def test_hears_a_voice(shipped):
    pytest.importorskip("espeakng_loader", reason="espeakng_loader is not installed: pip install 'parlante[train]'")
    from parlante.synth.voice import speak

    utterance = speak("My mother bought a blue umbrella from a farmer above the village.", "espeak/en-gb/f3/160/50/50")
    out = shipped.encode(utterance.audio)
    centres = (np.arange(len(out)) + 0.5) / 50
    truth = np.array([next(p.symbol for p in utterance.phones if t <= p.end + 1e-3) for t in centres])
    guess = np.array(PHONES)[out[:, FEATURES["phones"]].argmax(1)]
    assert (guess == truth).mean() > 0.5
    closed = np.isin(truth, list("pbm"))
    gate = out[:, FEATURES["gates"]][:, 0]
    assert gate[closed].mean() > 0.45 and gate[~closed].mean() < 0.3


@pytest.mark.shared
def test_lips_close_in_real_speech(shipped, shared):
    """Real voices were never trained on; their cues come from a recogniser that shares nothing with us."""
    import json

    low, high = [], []
    for path in sorted((shared / "data" / "speech").glob("*.wav")):
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            audio = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).mean(1)
        if rate != 16000:
            continue
        out = shipped.encode((audio / 32768).astype(np.float32))
        openness = out[:, 40] - out[:, FEATURES["gates"]][:, 0]
        for cue in json.loads((path.parent / "cues" / f"{path.stem}.json").read_text())["mouthCues"]:
            inside = openness[round(cue["start"] * 50) : round(cue["end"] * 50)].tolist()
            if cue["value"] == "A":
                low += inside
            elif cue["value"] in "CDEH":
                high += inside
    area = np.mean([a < b for a in low for b in high])
    assert area > 0.85


def test_missing_weights_are_reported(tmp_path):
    with pytest.raises(InputError, match="phonetic encoder"):
        PhoneticEncoder.from_pretrained(tmp_path)


def test_saved_and_loaded(tmp_path):
    encoder = PhoneticEncoder(PhoneticConfig(width=32, dilations=(1, 2))).eval()
    encoder.save_pretrained(tmp_path / "m")
    again = PhoneticEncoder.from_pretrained(tmp_path / "m")
    audio = torch.from_numpy(speechlike(1.0))[None]
    with torch.no_grad():
        torch.testing.assert_close(encoder(audio), again(audio), atol=5e-3, rtol=0)


def test_frame_offsets_of_older_config_files_are_called_taps():
    spec = load_speech_encoder({"encoder": "phonetic", "fps": 25.0, "frame_offsets": [-0.04, 0.0]}).spec()
    older = {"taps" if key == "frame_offsets" else key: value for key, value in spec.items()}
    assert load_speech_encoder(older).spec() == spec
    with pytest.raises(InputError, match="one offset at least"):
        load_speech_encoder({**spec, "frame_offsets": []})
