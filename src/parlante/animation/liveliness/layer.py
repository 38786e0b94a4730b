"""Blinks, glances, head movement and breath laid over what the talker made; each can be left out."""

import numpy as np
from numpy.typing import NDArray

from parlante.animation.liveliness.eyes import blinks, gaze
from parlante.animation.liveliness.head import BREATH_DEGREES, BREATH_METRES, FOLLOW, breaths, nods, sway
from parlante.core.options import NO_LIVELINESS, Liveliness
from parlante.core.timing import frame_times, num_frames
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.head.rig import LOOK
from parlante.head.speaker_profile import NEUTRAL, SpeakerProfile
from parlante.synth.prosody import Prosody, prosody, smooth

EYES: NDArray[np.intp] = np.flatnonzero([name.startswith(("eyeBlink", "eyeLook")) for name in ARKIT_NAMES])
"""The blendshapes that blinks and gaze decide alone."""
GRID_FPS = 50.0
"""Rate of the prosody and of the events, whatever the rate of the frames."""
BLOCK_S, FADE_S = 60.0, 2.0
"""The prosody of long recordings is measured in blocks of this length, cross-faded over the fade."""
LARGE_SHIFT = 8.0
"""Degrees: from here on a shift of gaze invites a blink."""
REACH = (26.0, 18.0)
"""Degrees that the eyes turn at most, sideways and up or down."""
LID_FOLLOWS = 0.42
"""Share of a blink that the lid has fallen when the eye looks all the way down."""


class LivelinessLayer:
    """The liveliness of one recording, laid over its frames piece by piece; the cuts leave no trace.

    Every part draws from a random stream of its own, so switching one off leaves the others as they were.
    """

    def __init__(
        self,
        audio: NDArray[np.float32],
        sample_rate: int,
        parts: Liveliness | None = None,
        profile: SpeakerProfile = NEUTRAL,
        seed: int = 0,
        fps: float = 30.0,
    ) -> None:
        """audio: (N,) of any length, sliceable; profile: rates and amplitudes of the person; fps: of the frames."""
        parts = parts or Liveliness()
        total = num_frames(len(audio), sample_rate, fps)
        self._blinks: NDArray[np.float32] | None = None
        self._gaze: NDArray[np.float32] | None = None
        self._pose: NDArray[np.float32] | None = None
        if parts == NO_LIVELINESS or not total:
            return
        times = frame_times(total, fps)
        speech = prosody_of(audio, sample_rate)
        streams = [np.random.default_rng([seed, 0x11FE, part]) for part in range(5)]
        looks = gaze(speech.energy, GRID_FPS, profile.gaze_motion * (parts.gaze or 1.0), streams[0])
        if parts.moves_head:
            pose = np.zeros((total, 6))
            if parts.head:
                amount = profile.head_motion * parts.head
                loud = np.interp(
                    times, frame_times(len(speech.energy), GRID_FPS), smooth(speech.energy, 0.5 * GRID_FPS)
                )
                pose += sway(times, loud, amount, streams[1])
                pose[:, 0] += nods(speech.accent, GRID_FPS, amount, streams[2]).at(times)
                pose[:, :2] += _along(looks.at(frame_times(len(speech.energy), GRID_FPS)), times)
            if parts.breath:
                breath = parts.breath * breaths(speech.energy, GRID_FPS, streams[3]).at(times)
                pose[:, 0] -= np.radians(BREATH_DEGREES) * breath
                pose[:, 4] += BREATH_METRES * breath
            self._pose = pose.astype(np.float32)
        if parts.gaze:
            aim = looks.at(times)
            if self._pose is not None:  # the eyes stay on what they look at while the head moves
                aim = aim + np.degrees(np.asarray(self._pose[:, [1, 0]], np.float64)) * (-1.0, 1.0)
            self._gaze = _look_weights(np.clip(aim, np.negative(REACH), REACH))
        if parts.blinks:
            rate = profile.blink_rate * parts.blinks
            shut = blinks(speech.energy, GRID_FPS, looks.shifts(LARGE_SHIFT), rate, streams[4])
            self._blinks = shut.at(times).astype(np.float32)

    def __call__(
        self, weights: NDArray[np.float32], start: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Frames from number `start` on: curves (n, 52) with the eyes replaced, and head pose (n, 6) or none."""
        rows = slice(start, start + len(weights))
        if self._gaze is not None or self._blinks is not None:
            weights = weights.copy()
        if self._gaze is not None:
            weights[:, LOOK_SHAPES] = self._gaze[rows]
        if self._blinks is not None:
            shut = self._blinks[rows]
            for side in ("Left", "Right"):  # a lid that follows the eye down has less way to go
                weights[:, INDEX["eyeBlink" + side]] = shut * (
                    1 - LID_FOLLOWS * weights[:, INDEX["eyeLookDown" + side]]
                )
                weights[:, INDEX["eyeWide" + side]] *= 1 - shut
        return weights, None if self._pose is None else self._pose[rows]


LOOK_SHAPES: NDArray[np.intp] = np.array(
    [INDEX[f"eyeLook{way}{side}"] for side in ("Left", "Right") for way in ("Out", "In", "Up", "Down")]
)


def _look_weights(aim: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, 8) in the order of `LOOK_SHAPES` for eyes turned by aim (T, 2) degrees: left, up."""
    left, right = np.maximum(aim[:, 0], 0), np.maximum(-aim[:, 0], 0)
    up, down = np.maximum(aim[:, 1], 0) / LOOK["Up"], np.maximum(-aim[:, 1], 0) / LOOK["Down"]
    columns = (left / LOOK["Out"], right / LOOK["In"], up, down, right / LOOK["Out"], left / LOOK["In"], up, down)
    return np.stack(columns, axis=1).astype(np.float32)


def _along(target: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 2) pitch and yaw in radians: the small part of a glance that the head makes, later and slower."""
    grid = frame_times(len(target), GRID_FPS) + 0.12
    slow = [np.interp(times, grid, smooth(target[:, k], 0.15 * GRID_FPS)) for k in (1, 0)]
    return FOLLOW * np.radians(np.stack(slow, axis=1)) * (-1.0, 1.0)


def prosody_of(audio: NDArray[np.float32], sample_rate: int) -> Prosody:
    """Prosody of audio (N,) of any length at `GRID_FPS`, in memory that does not grow with it."""
    total = num_frames(len(audio), sample_rate, GRID_FPS)
    tracks = np.zeros((3, total))
    block, fade = round(BLOCK_S * GRID_FPS), round(FADE_S * GRID_FPS)
    for start in range(0, max(total, 1), block):
        if start and total - start <= fade:
            break
        stop = total if total - start - block <= fade else start + block + fade
        first, last = round(start * sample_rate / GRID_FPS), round(stop * sample_rate / GRID_FPS)
        made = np.array(prosody(np.asarray(audio[first:last]), sample_rate, GRID_FPS))[:, : stop - start]
        rise = np.ones(made.shape[1])
        if start:
            rise[:fade] = np.linspace(0, 1, fade)[: len(rise)]
        rows = slice(start, start + made.shape[1])
        tracks[:, rows] += rise * (made - tracks[:, rows])
    return Prosody(*tracks)
