"""The steps between a talker's blocks and the finished frames, fed with one block of an animation after another.

Results do not depend on where the blocks were cut, and memory does not depend on their number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, Topology
from parlante.core.frames import FrameBlock
from parlante.core.interpolate import monotone
from parlante.geometry.blendshape_solver import BlendshapeSolver

RIGID = ("teeth_upper", "teeth_lower", "gum_upper", "gum_lower", "tongue", "eyeball_left", "eyeball_right", "lashes")
"""Regions that are posed by the weights alone, so that they keep their shape."""
LOWER_FACE = ("jaw", "mouth", "tongue", "cheekPuff")
"""How the names of blendshapes of the lower face begin."""

SURE = 0.6
"""A frame is silent when this probable."""
SHUT_AFTER_S, OPEN_BEFORE_S, EASE_S = 0.067, 0.134, 0.05
"""Seconds; see `mouth_gain`."""


def mouth_gain(silence: NDArray[np.floating], fps: float) -> NDArray[np.float32]:
    """(T,) factor on the lower face: 0 where nobody speaks, 1 in speech, smooth in between.

    silence: (T,) 0..1, how sure it is that nobody speaks. The mouth starts to ease shut `SHUT_AFTER_S` after the last
    sound, and leaves its rest `OPEN_BEFORE_S` before the next, so that no articulation is cut.
    """
    if not len(silence):
        return np.zeros(0, np.float32)
    before, after = round(SHUT_AFTER_S * fps), round(OPEN_BEFORE_S * fps)
    quiet = np.pad(silence > SURE, (before, after), mode="edge")
    rest = np.lib.stride_tricks.sliding_window_view(quiet, before + after + 1).all(axis=1)
    sigma = EASE_S * fps
    reach = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    gain = np.convolve(np.pad(np.where(rest, 0.0, 1.0), reach, mode="edge"), taps / taps.sum(), mode="valid")
    return np.asarray(gain, np.float32)


def close_mouth(
    block: FrameBlock, gain: NDArray[np.float32], lower: NDArray[np.bool_], mask: NDArray[np.float32]
) -> FrameBlock:
    """Scale weights `lower` (K,) by gain (n,), and the motion by it where `mask` (V,) 0..1 says lower face."""
    if (gain >= 1).all() or block.weights is None or block.motion is None:
        return block
    weights = block.weights.copy()
    weights[:, lower] *= gain[:, None]
    motion = block.motion * (1 - (1 - gain[:, None, None]) * mask[None, :, None])
    return replace(block, weights=weights, motion=motion)


class WeightSolver:
    """A talker's motion explained by the blendshapes of a face: weights, and what they leave."""

    def __init__(self, shapes: NDArray[np.float32], topology: Topology, names: Sequence[str] = ()) -> None:
        """shapes: (K, V, 3) metres; names: (K,) of them, by which opposed ones are known."""
        self._basis = shapes.reshape(len(shapes), -1)
        self._solver = BlendshapeSolver(shapes, observed_vertices(topology), names=names)

    def __call__(self, block: FrameBlock) -> FrameBlock:
        """The block with weights (n, K), and the rest of its motion."""
        assert block.motion is not None, "a talker's block has motion"
        weights = self._solver.solve(block.motion)
        return replace(
            block, weights=weights, motion=block.motion - (weights @ self._basis).reshape(block.motion.shape)
        )


class MouthCloser:
    """The mouth at rest where nobody speaks. Blocks are held until the silence after them is known."""

    def __init__(
        self, shapes: NDArray[np.float32], names: tuple[str, ...], fps: float, quiet: NDArray[np.float32] | None = None
    ) -> None:
        """shapes (K, V, 3) and their names; quiet (T,): frames that are silent whatever the talker says."""
        self._lower = np.array([name.startswith(LOWER_FACE) for name in names])
        self._mask = lower_face(shapes[self._lower])
        self._fps, self._quiet = fps, quiet
        self._reach = round((SHUT_AFTER_S + OPEN_BEFORE_S) * fps) + 2 + int(np.ceil(3 * EASE_S * fps))

    def __call__(self, blocks: Iterable[FrameBlock]) -> Iterator[FrameBlock]:
        """The same blocks with the mouth closed in silence."""
        held: list[FrameBlock] = []
        silence = np.zeros(0, np.float32)
        done = 0
        for block in blocks:
            assert block.silence is not None, "a talker says how sure it is that nobody speaks"
            own = block.silence
            if self._quiet is not None:
                rows = np.minimum(np.arange(len(silence), len(silence) + len(own)), len(self._quiet) - 1)
                own = np.maximum(own, self._quiet[rows])
            silence = np.concatenate([silence, own])
            held.append(block)
            while held and done + len(held[0]) + self._reach <= len(silence):
                yield self._closed(held[0], silence, done)
                done += len(held.pop(0))
        for block in held:
            yield self._closed(block, silence, done)
            done += len(block)

    def _closed(self, block: FrameBlock, silence: NDArray[np.float32], start: int) -> FrameBlock:
        first = max(0, start - self._reach)
        gain = mouth_gain(silence[first : start + len(block) + self._reach], self._fps)
        return close_mouth(block, gain[start - first :][: len(block)], self._lower, self._mask)


class Composer:
    """neutral + weights @ shapes + motion, with no motion of its own where a part must stay rigid."""

    def __init__(self, face: Identity) -> None:
        assert face.shapes is not None, "a face with a rig"
        self._neutral = face.neutral
        self._basis = face.shapes.reshape(len(face.shapes), -1)
        regions = face.topology.regions
        rigid = [np.asarray(regions[name], np.int64) for name in RIGID if name in regions]
        self._soft = np.ones((len(face.neutral), 1), np.float32)
        if rigid:
            self._soft[np.concatenate(rigid)] = 0.0

    def __call__(self, weights: NDArray[np.float32], motion: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, V, 3) metres."""
        vertices = (weights @ self._basis).reshape(motion.shape)
        vertices += motion * self._soft
        vertices += self._neutral
        return vertices.astype(np.float32, copy=False)


def observed_vertices(topology: Topology) -> NDArray[np.int64] | None:
    """Vertices to fit: skin, eyeballs (they show the gaze) and tongue; all where these are not named."""
    names = [name for name in ("skin", "eyeball_left", "eyeball_right", "tongue") if name in topology.regions]
    if "skin" not in names:
        return None
    return np.unique(np.concatenate([np.asarray(topology.regions[name], np.int64) for name in names]))


def lower_face(shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(V,) 0..1: how far the lower-face shapes reach each vertex; 1 from a millimetre of movement on."""
    reach = np.linalg.norm(shapes, axis=-1).max(axis=0)
    amount = np.clip(reach / 1e-3, 0.0, 1.0)
    return np.asarray(amount * amount * (3 - 2 * amount), np.float32)


def at_rate(blocks: Iterable[FrameBlock], source_fps: float, fps: float, total: int) -> Iterator[FrameBlock]:
    """The same motion at another frame rate, `total` frames in all."""
    if abs(source_fps - fps) < 1e-9:
        yield from blocks
        return
    stretch = Resampler(source_fps, fps, total)
    held: FrameBlock | None = None
    for block in blocks:
        if held is not None:
            yield stretch.feed(held)
        held = block
    if held is not None:
        yield stretch.finish(held)


class Resampler:
    """Frames at another rate. Weights by monotone cubics, which never overshoot; motion and wrinkles linearly.

    The monotone cubic is Fritsch and Butland's (1984), as in scipy's PCHIP.
    """

    def __init__(self, source_fps: float, fps: float, total: int) -> None:
        """`total`: frames to make in all; the face is held after the last source frame."""
        self._ratio = source_fps / fps
        self._total = total
        self._held: FrameBlock | None = None
        self._first = 0  # source frame number of self._held[0]
        self._made = 0

    def feed(self, motion: FrameBlock) -> FrameBlock:
        """Frames between sources that are known, with one to spare on either side."""
        return self._advance(motion, last=False)

    def finish(self, motion: FrameBlock) -> FrameBlock:
        """Everything up to `total`."""
        return self._advance(motion, last=True)

    def _advance(self, motion: FrameBlock, *, last: bool) -> FrameBlock:
        held = motion if self._held is None else self._held.joined(motion)
        end = self._first + len(held)
        known = int(np.ceil((end - 2) / self._ratio - 1e-9))  # frame j needs source floor(j * ratio) + 2
        stop = self._total if last else min(self._total, max(self._made, known))
        position = np.minimum(np.arange(self._made, stop) * self._ratio, end - 1) - self._first
        made = self._at(held, position)
        self._made = stop
        keep = max(self._first, int(np.floor(stop * self._ratio)) - 1)
        keep = min(keep, end - 1) if len(held) else self._first
        self._held = held[max(0, keep - self._first) :]
        self._first = max(self._first, keep)
        return made

    def _at(self, held: FrameBlock, position: NDArray[np.float64]) -> FrameBlock:
        if not len(position):
            return held[:0]
        low = np.clip(np.floor(position + 1e-9).astype(int), 0, max(0, len(held) - 2))
        high = np.minimum(low + 1, len(held) - 1)
        fraction = np.clip(position - low, 0.0, 1.0).astype(np.float32)

        def linear(array: NDArray[Any]) -> NDArray[Any]:
            share = fraction.reshape(-1, *[1] * (array.ndim - 1))
            mixed = array[low] * (1 - share) + array[high] * share
            return np.rint(mixed).astype(np.uint8) if array.dtype == np.uint8 else mixed.astype(array.dtype)

        arrays = held.arrays()
        made: dict[str, Any] = {name: linear(array) for name, array in arrays.items() if name != "weights"}
        if held.weights is not None:
            made["weights"] = monotone(held.weights, low, high, fraction)
        return replace(held, start=self._made, **made)
