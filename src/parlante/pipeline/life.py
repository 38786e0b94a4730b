"""Blinks, glances and head movement laid over what the talker made."""

import numpy as np
from numpy.typing import NDArray

from parlante.core.timing import num_frames
from parlante.head.arkit import ARKIT_NAMES
from parlante.synth.manner import NEUTRAL, Manner

EYES: NDArray[np.intp] = np.flatnonzero([name.startswith(("eyeBlink", "eyeLook")) for name in ARKIT_NAMES])
"""The curves that the liveliness layer decides alone."""
BLOCK_S, FADE_S = 120.0, 2.0
"""Recordings are treated in blocks of this length, which melt into each other over the fade."""


def eyes_and_head(
    audio: NDArray[np.float32], sample_rate: int, manner: Manner = NEUTRAL, seed: int = 0, fps: float = 30.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(T, 10 or so) weights of the curves `EYES`, and (T, 6) head pose, for audio (N,) of any length."""
    from parlante.synth.prosody import liveliness

    total = num_frames(len(audio), sample_rate, fps)
    eyes, pose = np.zeros((total, len(EYES)), np.float32), np.zeros((total, 6), np.float32)
    block, fade = round(BLOCK_S * fps), round(FADE_S * fps)
    for number, start in enumerate(range(0, max(total, 1), block)):
        if number and total - start <= fade:
            break
        stop = total if total - start - block <= fade else start + block + fade
        first, last = round(start * sample_rate / fps), round(stop * sample_rate / fps)
        weights, turn = liveliness(np.asarray(audio[first:last]), sample_rate, manner, seed + number, fps)
        count = min(len(weights), stop - start)
        rise = np.ones((count, 1), np.float32)
        if number:  # a smooth step: the sum of both sides is one
            ramp = np.linspace(0, 1, fade, dtype=np.float32)[:count]
            rise[: len(ramp), 0] = ramp * ramp * (3 - 2 * ramp)
        rows = slice(start, start + count)
        eyes[rows] += rise * (weights[:count, EYES] - eyes[rows])
        pose[rows] += rise * (turn[:count] - pose[rows])
    return eyes, pose
