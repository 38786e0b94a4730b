"""Sessions share no state: many threads animate at once, and each animation is the one that it is alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from parlante import Animation, Talker
from parlante.animation.talker import in_memory
from parlante.audio.io import iter_audio
from parlante.head import load_head
from parlante.models.registry import shipped

DEMO = Path(__file__).parents[2] / "assets" / "demo.wav"
THREADS = 8


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    """Eight stretches of the demo sentence, of eight lengths."""
    audio = np.concatenate(list(iter_audio(DEMO, sample_rate=16000)))
    return [audio[4000 * i : 4000 * i + 9000 + 1100 * i] for i in range(THREADS)]


@pytest.mark.parametrize("name", shipped())
def test_eight_threads_say_what_each_says_alone(name: str, recordings: list[np.ndarray]) -> None:
    talker = Talker.from_pretrained(name)
    people = load_head().identity_names

    def speak(number: int) -> Animation:
        torch.set_num_threads(1)
        casting = talker.cast(identity=people[number % 2], seed=number, skin=False)
        info, blocks = talker.stream((recordings[number], 16000), casting)
        return in_memory(info, list(blocks))

    alone = [speak(number) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(speak, range(THREADS)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other.vertices, one.vertices, atol=1e-7)
        np.testing.assert_allclose(other.weights, one.weights, atol=1e-5)
        assert one.wrinkle is not None and other.wrinkle is not None
        assert np.abs(one.wrinkle.astype(int) - other.wrinkle).max() <= 1


def test_two_sessions_of_one_talker_never_meet(recordings: list[np.ndarray]) -> None:
    talker = Talker.from_pretrained("faceformer")
    first, second = (talker.session(identity=name, texture=False) for name in ("amara", "hugo"))
    for piece in np.array_split(recordings[6], 5):  # pushed in turns
        assert not list(first.push(piece)) and not list(second.push(piece[::-1].copy()))
    made = np.concatenate([block.vertices for block in first.finish()])
    wanted = talker((recordings[6], 16000), identity="amara", texture=False).vertices
    np.testing.assert_allclose(made, wanted, atol=1e-7)
    second.reset()
    assert not list(second.finish())
