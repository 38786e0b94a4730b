"""Changing an animation after the fact: rate, gains, calibration, trimming, fading, joining, solved weights.

Every function takes the facts of an animation and its blocks and gives both back, so that they can be chained between
`npz.open_stream` and `outputs.write_all`; no more than a few blocks are in memory. Where the animation has shapes,
vertices follow every change of the weights, and what they did beyond the weights stays.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import ceil, gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, read_npz
from parlante.core.interpolate import monotone
from parlante.core.notes import note
from parlante.core.ranges import Positive
from parlante.core.typed import read_header
from parlante.export.calibration import Calibration
from parlante.export.frames import BLOCK_FRAMES, AnimationInfo, FrameBlock
from parlante.geometry.blendshape_solver import kept_apart
from parlante.geometry.uv.ratio import encode, ratio_from_bytes, to_bytes

_LONGEST_FADE = 86_400.0
"""Seconds."""
Stream = tuple[AnimationInfo, Iterator[FrameBlock]]
_SOFTEN = 6
"""Rounds of neighbour averaging around a region whose vertices are scaled."""


def resampled(info: AnimationInfo, blocks: Iterable[FrameBlock], fps: float) -> Stream:
    """The animation at `fps`: weights, pose and vertices by monotone cubics, which never overshoot; wrinkles linearly.

    Raises InputError for a rate outside 1..240.
    """
    if not 1 <= fps <= 240:
        raise InputError(f"fps must lie in 1..240, got {fps:g}; 25, 30 and 60 are usual")
    info = replace(info, provenance={**info.provenance, "asked_fps": float(fps)})
    if abs(fps - info.fps) < 1e-9:
        return info, iter(blocks)
    total = max(1, ceil(info.num_frames * fps / info.fps - 1e-9))
    return replace(info, fps=fps, num_frames=total), _stretch(info, blocks, info.fps / fps, total)


def scaled(info: AnimationInfo, blocks: Iterable[FrameBlock], gains: Mapping[str, float]) -> Stream:
    """Weights, head pose, wrinkles or a region of the mesh, times a gain each.

    A key is `head`, `wrinkles`, a weight's name, the beginning of some (`jaw`, `mouth`, `brow`), a pattern (`*Left`)
    or, where it fits no weight, a region of the topology; a region fades out over its edge. Later keys multiply earlier
    ones. Raises InputError for a key that fits nothing or a gain outside 0..10.
    """
    factors = np.ones(len(info.weight_names), np.float32)
    region = np.ones(info.topology.num_vertices, np.float32)
    head = wrinkles = 1.0
    for key, gain in gains.items():
        if not 0 <= gain <= 10:
            raise InputError(f"the gain of {key} must lie in 0..10, got {gain:g}")
        fitting = [k for k, name in enumerate(info.weight_names) if name.startswith(key) or fnmatchcase(name, key)]
        if key == "head":
            head *= gain
        elif key == "wrinkles":
            wrinkles *= gain
        elif fitting:
            factors[fitting] *= gain
        elif key in info.topology.regions:
            region *= 1 + (gain - 1) * _soft_region(info, key)
        else:
            names = ", ".join(sorted({*info.weight_names, *info.topology.regions})) or "none"
            raise InputError(f"a gain for {key!r} fits no weight and no region; there are head, wrinkles, {names}")
    if (factors != 1).any():
        blocks = _reweighted(info, blocks, lambda weights: np.clip(weights * factors, 0.0, 1.0))
    return info, _scale(info, blocks, region, head, wrinkles)


def calibrated(info: AnimationInfo, blocks: Iterable[FrameBlock], calibration: Calibration) -> Stream:
    """Weights through a character's gains, offsets and limits. Raises InputError as `Calibration.table`."""
    if not info.weight_names:
        raise InputError("a calibration needs weights, and the animation has none; give --shapes to solve for them")
    calibration.table(info.weight_names)
    return info, _reweighted(info, blocks, lambda weights: calibration.apply(weights, info.weight_names))


def with_weights(
    info: AnimationInfo, blocks: Iterable[FrameBlock], shapes: NDArray[np.floating], names: Sequence[str]
) -> Stream:
    """Weights solved from the vertices on `shapes` (K, V, 3), named `names`. Raises InputError if they do not fit."""
    from parlante.geometry.blendshape_solver import BlendshapeSolver

    shapes = np.asarray(shapes, np.float32)
    if shapes.shape != (len(names), info.topology.num_vertices, 3):
        raise InputError(
            f"shapes are {shapes.shape} with {len(names)} names; the animation wants "
            f"(K, {info.topology.num_vertices}, 3) and a name for each"
        )
    solver = BlendshapeSolver(shapes, names=tuple(names))
    solved = (replace(block, weights=solver.solve(block.vertices - info.neutral)) for block in blocks)
    return replace(info, weight_names=tuple(names), shapes=shapes), solved


@dataclass(frozen=True)
class _Placed:
    """How a character stands in the file that it was built from: part of its config.json."""

    scale: Positive
    rotation: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


def read_shapes(path: Path | str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Registered shapes of a face, (K, V, 3) in the unit and axes of its animations, and their names.

    A `.npz` with `shapes` (K, V, 3) and `names` (K,), or a folder that `parlante character build` made, whose shapes
    are turned and scaled back to the file it was built from. Raises InputError for anything else.
    """
    path = Path(path)
    if path.is_dir():
        arrays = read_npz(path / "shapes.npz", ("millimetres", "names"))
        config = read_header(_Placed, path / "config.json", "a character that parlante character build made")
        millimetres = arrays["millimetres"]
        if millimetres.ndim != 3 or millimetres.shape[-1] != 3 or millimetres.dtype.kind != "f":
            raise InputError(f"{path}/shapes.npz is {millimetres.dtype} {millimetres.shape}; build the character again")
        shapes = millimetres.astype(np.float64) @ np.array(config.rotation, np.float64) / (1000 * config.scale)
    else:
        arrays = read_npz(path, ("shapes", "names"))
        shapes = arrays["shapes"]
    names = tuple(str(name) for name in np.atleast_1d(arrays["names"]))
    if shapes.ndim != 3 or shapes.shape[-1] != 3 or shapes.dtype.kind != "f" or len(names) != len(shapes):
        raise InputError(f"{path}: shapes are {shapes.dtype} {shapes.shape} with {len(names)} names, wanted (K, V, 3)")
    return np.asarray(shapes, np.float32), names


def trimmed(
    info: AnimationInfo, blocks: Iterable[FrameBlock], start_s: float = 0.0, end_s: float | None = None
) -> Stream:
    """Only the frames and the audio between two times. Raises InputError if nothing is left."""
    if not (start_s >= 0 and (end_s is None or end_s >= 0)):
        until = "the end" if end_s is None else f"{end_s:g} s"
        raise InputError(f"times must not be negative, got {start_s:g} s to {until}")
    start_s, end_s = min(start_s, info.duration), None if end_s is None else min(end_s, info.duration)
    first = round(start_s * info.fps)
    end = info.num_frames if end_s is None else min(info.num_frames, round(end_s * info.fps))
    if first >= end:
        raise InputError(f"nothing of the {info.duration:.2f} s is left from {start_s:g} s to {end / info.fps:g} s")
    samples = slice(round(first / info.fps * info.sample_rate), round(end / info.fps * info.sample_rate))
    facts = replace(info, num_frames=end - first, audio=info.audio[samples])

    def cut() -> Iterator[FrameBlock]:
        for block in blocks:
            low, high = max(first, block.start), min(end, block.start + len(block))
            if low < high:
                yield replace(block[low - block.start : high - block.start], start=low - first)
            if block.start + len(block) >= end:
                return

    return facts, cut()


def faded(info: AnimationInfo, blocks: Iterable[FrameBlock], in_s: float = 0.0, out_s: float = 0.0) -> Stream:
    """The face grows out of its rest at the start and returns to it at the end; the audio stays."""
    for length in (in_s, out_s):
        if not 0 <= length < np.inf:
            raise InputError(f"a fade must not be negative, got {length:g} s")
    seconds = np.arange(info.num_frames) / info.fps
    left = (info.num_frames - 1) / info.fps - seconds
    share = np.ones(info.num_frames)
    for length, away in ((in_s, seconds), (out_s, left)):
        if length > 0:
            share *= _ease(np.clip(away / length, 0, 1))

    def fade() -> Iterator[FrameBlock]:
        for block in blocks:
            part = share[block.start : block.start + len(block)].astype(np.float32)
            yield block if (part == 1).all() else _toward_rest(info, block, part)

    return info, fade()


def concatenated(streams: Sequence[Stream], crossfade_s: float = 0.0) -> Stream:
    """Animations one after another, each blended into the next over `crossfade_s`; rates follow the first.

    Raises InputError where the faces are not the same one, or an animation is shorter than the crossfades.
    """
    if not streams:
        raise InputError("nothing to join; give at least one animation")
    first = streams[0][0]
    if not 0 <= crossfade_s <= _LONGEST_FADE:
        raise InputError(f"a crossfade must not be negative, nor longer than a day, got {crossfade_s:g} s")
    overlap = round(crossfade_s * first.fps)
    infos, pieces = [], []
    for info, blocks in streams:
        _check_same_face(first, info)
        info, blocks = resampled(info, blocks, first.fps)
        if len(streams) > 1 and info.num_frames <= 2 * overlap:
            raise InputError(f"an animation of {info.duration:.2f} s is too short for crossfades of {crossfade_s:g} s")
        infos.append(info)
        pieces.append(blocks)
    audio, at, total = np.zeros(0, np.float32), 0, 0
    for number, info in enumerate(infos):
        total += info.num_frames - (overlap if number else 0)
        audio = _overlaid(audio, _at_rate(info, first.sample_rate), at, first.sample_rate * overlap / first.fps)
        at = round((total - overlap) / first.fps * first.sample_rate)
    audio = audio[: round(total / first.fps * first.sample_rate)]
    return replace(first, num_frames=total, audio=audio), _join(pieces, overlap)


def mirrored(info: AnimationInfo, blocks: Iterable[FrameBlock]) -> Stream:
    """The performance of the other side: weights and head pose with left and right swapped.

    Wrinkle maps and what vertices do beyond the weights stay on their side, which is told. Raises InputError for an
    animation without weights.
    """
    if not info.weight_names:
        raise InputError("only weights can be mirrored, and the animation has none; give --shapes to solve for them")
    names = list(info.weight_names)
    order = [names.index(other) if (other := _other_side(name)) in names else k for k, name in enumerate(names)]
    note("mirrored: weights and head pose; wrinkles and what vertices do beyond the weights stay as they are")
    turned = np.array([1, -1, -1, -1, 1, 1], np.float32)  # pitch, yaw, roll, and the way to the side

    def swapped() -> Iterator[FrameBlock]:
        for block in _reweighted(info, blocks, lambda weights: weights[:, order]):
            yield block if block.head_pose is None else replace(block, head_pose=block.head_pose * turned)

    return info, swapped()


def _other_side(name: str) -> str:
    """`eyeBlinkLeft` -> `eyeBlinkRight`, and back; other names stay."""
    return name.replace("Left", "Right") if "Left" in name else name.replace("Right", "Left")


def read_gains(texts: Sequence[str]) -> dict[str, float]:
    """What `--gain jaw=1.2` says, a name and a number each; gains of one name are multiplied. Raises InputError."""
    gains: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            gains[name] = gains.get(name, 1.0) * float(number)
        except ValueError:
            raise InputError(f"--gain must look like jaw=1.2, got {text!r}") from None
    return gains


def without_pose(info: AnimationInfo, blocks: Iterable[FrameBlock]) -> Stream:
    """The head held still."""
    return replace(info, has_pose=False), (replace(block, head_pose=None) for block in blocks)


def _reweighted(
    info: AnimationInfo, blocks: Iterable[FrameBlock], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> Iterator[FrameBlock]:
    """Blocks with changed weights, the vertices following."""
    for block in blocks:
        assert block.weights is not None
        weights = change(block.weights).astype(np.float32)
        vertices = block.vertices
        if info.shapes is not None:
            vertices = vertices + _posed(weights - block.weights, info.shapes)
        yield replace(block, weights=weights, vertices=vertices)


def _posed(weights: NDArray[np.float32], shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, V, 3) offsets."""
    return np.asarray(weights @ shapes.reshape(len(shapes), -1), np.float32).reshape(len(weights), *shapes.shape[1:])


def _scale(
    info: AnimationInfo, blocks: Iterable[FrameBlock], region: NDArray[np.float32], head: float, wrinkles: float
) -> Iterator[FrameBlock]:
    powers = _power_table(wrinkles)
    for block in blocks:
        if (region != 1).any():
            block = replace(block, vertices=info.neutral + (block.vertices - info.neutral) * region[:, None])
        if head != 1 and block.head_pose is not None:
            block = replace(block, head_pose=block.head_pose * np.float32(head))
        if wrinkles != 1 and block.wrinkle is not None:
            block = replace(block, wrinkle=powers[block.wrinkle])
        yield block


def _power_table(gain: float) -> NDArray[np.uint8]:
    """(256,): the byte of ratio ** gain for each byte of a wrinkle map."""
    ratio = ratio_from_bytes(np.arange(256, dtype=np.uint8)).astype(np.float64)
    return to_bytes(np.asarray(encode(ratio**gain)))


def _toward_rest(info: AnimationInfo, block: FrameBlock, share: NDArray[np.float32]) -> FrameBlock:
    wrinkle = block.wrinkle
    if wrinkle is not None:
        wrinkle = np.stack([_power_table(float(part))[frame] for part, frame in zip(share, wrinkle)])
    return replace(
        block,
        vertices=info.neutral + (block.vertices - info.neutral) * share[:, None, None],
        wrinkle=wrinkle,
        weights=None if block.weights is None else block.weights * share[:, None],
        head_pose=None if block.head_pose is None else block.head_pose * share[:, None],
    )


def _soft_region(info: AnimationInfo, name: str) -> NDArray[np.float32]:
    """(V,) 1 inside the region, falling smoothly to 0 over a few rings of neighbours around it."""
    from scipy.sparse import csr_matrix, diags

    count = info.topology.num_vertices
    a, b = np.concatenate([info.topology.triangles[:, [k, (k + 1) % 3]] for k in range(3)]).T
    mesh = csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (count, count))
    mesh.data[:] = 1.0
    mean = diags(1 / np.maximum(np.asarray(mesh.sum(1))[:, 0], 1)) @ mesh
    mask, inside = np.zeros(count), np.asarray(info.topology.regions[name], np.int64)
    mask[inside] = 1.0
    for _ in range(_SOFTEN):
        mask = 0.5 * mask + 0.5 * (mean @ mask)
        mask[inside] = 1.0
    return mask.astype(np.float32)


def _ease(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return share * share * (3 - 2 * share)


def _stretch(info: AnimationInfo, blocks: Iterable[FrameBlock], ratio: float, total: int) -> Iterator[FrameBlock]:
    """Frames at positions `ratio` apart; a few source frames are kept on either side of what is made."""
    held: FrameBlock | None = None
    made = 0
    for block, last in _with_last(blocks):
        held = block if held is None else held.joined(block)
        end = held.start + len(held)
        known = total if last else min(total, max(made, ceil((end - 2) / ratio - 1e-9)))
        while made < known:
            stop = min(known, made + BLOCK_FRAMES)
            position = np.minimum(np.arange(made, stop) * ratio, end - 1) - held.start
            yield _between(info, held, position, made)
            made = stop
        keep = max(0, min(len(held) - 1, int(made * ratio) - 1 - held.start))
        held = held[keep:]


def _with_last(blocks: Iterable[FrameBlock]) -> Iterator[tuple[FrameBlock, bool]]:
    before = None
    for block in blocks:
        if before is not None:
            yield before, False
        before = block
    if before is not None:
        yield before, True


def _between(info: AnimationInfo, held: FrameBlock, position: NDArray[np.float64], start: int) -> FrameBlock:
    low = np.clip(np.floor(position + 1e-9).astype(np.intp), 0, max(0, len(held) - 2))
    high = np.minimum(low + 1, len(held) - 1)
    fraction = np.clip(position - low, 0.0, 1.0).astype(np.float32)

    def cubic(array: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if array is None:
            return None
        flat = array.reshape(len(array), -1)
        return monotone(flat, low, high, fraction).reshape(len(low), *array.shape[1:])

    def linear(array: NDArray[Any]) -> NDArray[Any]:
        share = fraction.reshape(-1, *[1] * (array.ndim - 1))
        mixed = array[low] * (1 - share) + array[high] * share
        return np.rint(mixed).astype(np.uint8) if array.dtype == np.uint8 else mixed.astype(array.dtype)

    weights = cubic(held.weights)
    if weights is not None:
        weights = kept_apart(weights, info.weight_names, held.weights)
    if info.shapes is not None and weights is not None and held.weights is not None:
        beyond = held.vertices - _posed(held.weights, info.shapes)
        vertices: Any = linear(beyond) + _posed(weights, info.shapes)
    else:
        vertices = cubic(held.vertices)
    wrinkle = None if held.wrinkle is None else linear(held.wrinkle)
    return FrameBlock(start, vertices, wrinkle, weights, cubic(held.head_pose))


def _check_same_face(first: AnimationInfo, other: AnimationInfo) -> None:
    differences = [
        what
        for what, same in (
            ("topology", np.array_equal(first.topology.triangles, other.topology.triangles)),
            ("face at rest", first.neutral.shape == other.neutral.shape and np.allclose(first.neutral, other.neutral)),
            ("curves", first.weight_names == other.weight_names),
            ("wrinkle maps", first.wrinkle_size == other.wrinkle_size),
            ("head pose", first.has_pose == other.has_pose),
        )
        if not same
    ]
    if differences:
        raise InputError(
            f"cannot join animations of different {', '.join(differences)}; animate them with the same identity"
        )


def _join(pieces: Sequence[Iterable[FrameBlock]], overlap: int) -> Iterator[FrameBlock]:
    """Frames of all pieces, the last `overlap` of each mixed with the first of the next."""
    at, tail = 0, None
    for number, blocks in enumerate(pieces):
        source = iter(blocks)
        held = next(source)
        if tail is not None:
            while len(held) < overlap:
                held = held.joined(next(source))
            yield replace(_mixed(tail, held[:overlap]), start=at)
            at += overlap
            held = held[overlap:]
        keep = overlap if number < len(pieces) - 1 else 0
        for block in itertools.chain(source, (None,)):
            ready = len(held) - keep
            if ready > 0:
                yield replace(held[:ready], start=at)
                at += ready
                held = held[ready:]
            if block is not None:
                held = held.joined(block)
        tail = held if keep else None


def _mixed(a: FrameBlock, b: FrameBlock) -> FrameBlock:
    """`a` turning into `b` over their frames, of which both have as many."""
    share, theirs = _ease((np.arange(len(a)) + 1) / (len(a) + 1)).astype(np.float32), b.arrays()

    def mix(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        part = share.reshape(-1, *[1] * (one.ndim - 1))
        mixed = one * (1 - part) + other * part
        return np.rint(mixed).astype(np.uint8) if one.dtype == np.uint8 else mixed.astype(np.float32)

    arrays: dict[str, Any] = {name: mix(array, theirs[name]) for name, array in a.arrays().items()}
    return replace(a, **arrays)


def _at_rate(info: AnimationInfo, rate: int) -> NDArray[np.float32]:
    """The audio at `rate`, exactly as long as the frames."""
    audio = np.asarray(info.audio, np.float32)
    if info.sample_rate != rate:
        from scipy.signal import resample_poly

        common = gcd(rate, info.sample_rate)
        audio = resample_poly(audio, rate // common, info.sample_rate // common).astype(np.float32)
    length = round(info.num_frames / info.fps * rate)
    return np.pad(audio[:length], (0, max(0, length - len(audio))))


def _overlaid(audio: NDArray[np.float32], more: NDArray[np.float32], at: int, overlap: float) -> NDArray[np.float32]:
    """`more` laid over `audio` from sample `at` on, mixed linearly over `overlap` samples."""
    count = min(round(overlap), len(audio) - at, len(more)) if len(audio) else 0
    if count <= 0:
        return np.concatenate([audio[:at] if len(audio) else audio, more])
    rise = (np.arange(count, dtype=np.float32) + 1) / (count + 1)
    middle = audio[at : at + count] * (1 - rise) + more[:count] * rise
    return np.concatenate([audio[:at], middle, more[count:]]).astype(np.float32)
