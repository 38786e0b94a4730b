"""What can be measured of one clip in one pass over its frames, a block at a time."""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, InputError
from parlante.data.contract import Corpus

BLOCK = 32
"""Frames held at once."""
_POINTS = 2000
"""At least so many vertices, evenly chosen, tell the pose, the noise and the distance to templates."""
_SUBJECTS = 256
"""Subjects that are compared."""
_CHI3_MEDIAN = 1.5382
"""Median length of a vector of three normal numbers."""
SPEAKING_DB = -30.0
"""A frame speaks if it is no more than this below the clip's loud frames."""


@dataclass(kw_only=True)
class Measures:
    """Numbers about one clip; lengths in the corpus's unit, shares 0..1, levels in dB below full scale."""

    index: int
    key: str
    subject: str
    split: str
    problem: str = ""
    """Why the clip, or part of it, could not be read."""
    frames: int = 0
    vertices: int = 0
    fps: float = 0.0
    audio_s: float = 0.0
    """Seconds of audio."""
    extent: float = 0.0
    """Longest side of the box around the mean face."""
    bad_frames: tuple[int, ...] = ()
    """Frames with numbers that are not finite; the first ten."""
    spikes: tuple[int, ...] = ()
    """Frames that lie far off the line between their neighbours; the first ten."""
    step: float = 0.0
    """Mean movement of all vertices from one frame to the next."""
    spread: float = 0.0
    """How far the liveliest vertex strays from its mean place, root mean square."""
    noise: float = 0.0
    """Standard deviation of the tracking noise on each axis, as the third differences of the calmer half of the
    vertices tell it: those of white noise are sqrt(20) times as large, those of calm skin next to nothing."""
    frozen: float = 0.0
    """Share of the speaking frames that repeat the frame before."""
    turn_deg: float = 0.0
    """How far the whole face turns away from its first frame (95 % of frames)."""
    shift: float = 0.0
    """How far the whole face moves away from its first frame (95 % of frames)."""
    from_template: float | None = None
    """Mean distance of vertices to the subject's template in the frame nearest to it."""
    likeness: tuple[float, float, str] | None = None
    """Mean distance of the mean face to the subject's own template and to the nearest other one, and whose that is."""
    peak: float = 0.0
    """Largest sample, 1 is full scale."""
    loud_db: float = -200.0
    """Level of the loud frames (95 %)."""
    clipped: float = 0.0
    """Share of the samples that stand at full scale."""
    offset: float = 0.0
    """Mean of the samples."""
    speaking: float = 0.0
    """Share of the frames that speak."""
    bad_samples: int = 0
    """Samples that are not finite."""
    dark: bool = False
    """Whether the pictures that were looked at are all one colour."""
    audio_hash: str = ""
    motion_hash: str = ""
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """speed (T,) in units per second and level (T,) in dB, for the picture."""


class Ruler:
    """Measures clips of one corpus; keeps its templates at hand."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._neutral: dict[str, NDArray[np.float32] | None] = {}

    def neutral(self, subject: str) -> NDArray[np.float32] | None:
        """(V, 3), or none if the corpus knows none."""
        if subject not in self._neutral:
            try:
                found = self.corpus.neutral(subject)
            except InputError:
                found = None
            if len(self._neutral) >= _SUBJECTS:
                self._neutral.pop(next(iter(self._neutral)))
            self._neutral[subject] = found
        return self._neutral[subject]

    @cached_property
    def _faces(self) -> tuple[list[str], NDArray[np.float32], NDArray[np.integer]]:
        """Names (S), templates about their centroids (S, P, 3), and which vertices P are."""
        found = {name: self.neutral(name) for name in sorted(self.corpus.subjects)[:_SUBJECTS]}
        known = {name: face for name, face in found.items() if face is not None and np.isfinite(face).all()}
        if not known:
            return [], np.zeros((0, 0, 3), np.float32), np.zeros(0, int)
        count = min(len(face) for face in known.values())
        chosen = np.linspace(0, count - 1, min(count, _POINTS)).astype(int)
        faces = np.stack([face[chosen] for face in known.values()])
        return list(known), faces - faces.mean(1, keepdims=True), chosen

    def measure(self, index: int) -> Measures:
        """Clip `index`; what cannot be read is told in `problem`, never raised."""
        info = self.corpus.clips[index]
        found = Measures(index=index, key=info.key, subject=info.subject, split=info.split, fps=float(self.corpus.fps))
        try:
            clip = self.corpus[index]
            found.frames, found.vertices = int(clip.vertices.shape[0]), int(clip.vertices.shape[1])
            levels = _sound(clip, found)
            self._motion(clip, found, levels)
            _pictures(clip, found)
        except InputError as error:
            found.problem = str(error)
        return found

    def _motion(self, clip: Clip, found: Measures, levels: NDArray[np.float64]) -> None:
        neutral = self.neutral(clip.subject)
        if neutral is not None and len(neutral) != found.vertices:
            found.problem = f"{found.vertices} vertices, the template of {clip.subject} has {len(neutral)}"
            neutral = None
        moving = _Motion(found.vertices, neutral)
        for start in range(0, found.frames, BLOCK):
            moving.add(np.array(clip.vertices[start : start + BLOCK], np.float32))
        if moving.frames:
            moving.fill_in(found, levels)
            self._liken(found, moving.mean)

    def _liken(self, found: Measures, mean: NDArray[np.float32]) -> None:
        names, faces, chosen = self._faces
        if found.subject not in names or len(names) < 2 or (len(chosen) and chosen[-1] >= len(mean)):
            return
        face = mean[chosen]
        distances = np.linalg.norm(faces - (face - face.mean(0)), axis=-1).mean(-1)
        own = names.index(found.subject)
        others = np.where(np.arange(len(names)) == own, np.inf, distances)
        nearest = int(others.argmin())
        found.likeness = float(distances[own]), float(others[nearest]), names[nearest]


class _Motion:
    """Collects what one clip's frames tell."""

    def __init__(self, vertices: int, neutral: NDArray[np.float32] | None) -> None:
        self.some = slice(None, None, max(1, vertices // _POINTS))
        self.neutral = None if neutral is None else neutral[self.some]
        self.frames = 0
        self.hash = blake2b(digest_size=16)
        self.bad: list[int] = []
        self._sum = np.zeros((vertices, 3))
        self._squares = np.zeros((vertices, 3))
        self._tail = np.zeros((0, vertices, 3), np.float32)
        self._first: NDArray[np.float32] | None = None
        self._last: NDArray[np.float32] | None = None
        self._lists: dict[str, list[NDArray[Any]]] = {}

    def _keep(self, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self._lists.setdefault(name, []).append(value)

    def all(self, name: str) -> NDArray[np.float64]:
        parts = self._lists.get(name)
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def add(self, block: NDArray[np.float32]) -> None:
        """The next frames (n, V, 3); those that are not finite are taken as the frame before, and noted."""
        self.hash.update(np.ascontiguousarray(block).tobytes())
        finite = np.asarray((np.abs(block) < 1e15).all((1, 2)))  # what is larger overflows when it is squared
        self.bad += (self.frames + np.flatnonzero(~finite)).tolist()
        self.frames += len(block)
        if not finite.all():
            filled = []
            for frame, fine in zip(block, finite):
                self._last = frame if fine else self._last
                filled += [self._last] if self._last is not None else []
            if not filled:
                return
            block = np.stack(filled)
        self._last = block[-1]
        if self._first is None:
            self._first = block[0].copy()
        self._rest(block)
        joined = np.concatenate([self._tail, block])
        fresh = len(block)
        first = np.diff(joined, axis=0)
        length = np.linalg.norm(first[-min(fresh, len(first)) :], axis=-1) if len(first) else np.zeros((0, 1))
        self._keep(step=length.mean(-1), most=length.max(-1))
        second = np.diff(first, axis=0)
        if len(second):
            bend = np.linalg.norm(second[-min(fresh, len(second)) :], axis=-1) / 2
            self._keep(bend=bend.mean(-1), bend_most=bend.max(-1))
        third = np.diff(second, axis=0)
        if len(third):
            self._keep(rough=np.median(np.linalg.norm(third[-min(fresh, len(third)) :, self.some], axis=-1), -1))
        self._tail = joined[-3:].copy()

    def _rest(self, block: NDArray[np.float32]) -> None:
        """Sums over frames, distance to the template, and the pose of the whole face."""
        assert self._first is not None
        offset = block - self._first
        self._sum += offset.sum(0, dtype=np.float64)
        self._squares += np.square(offset).sum(0, dtype=np.float64)
        points, first = block[:, self.some], self._first[self.some]
        if self.neutral is not None:
            self._keep(template=np.linalg.norm(points - self.neutral, axis=-1).mean(-1))
        centre, start = points.mean(1), first.mean(0)
        cross = np.einsum("nvi,vj->nij", points - centre[:, None], first - start, optimize=True)
        self._keep(turn=_angles(cross), shift=np.linalg.norm(centre - start, axis=-1))

    @property
    def _used(self) -> int:
        return len(self.all("shift"))

    @property
    def mean(self) -> NDArray[np.float32]:
        """(V, 3) of all usable frames."""
        first = self._first if self._first is not None else np.zeros_like(self._sum)
        return (first + self._sum / max(1, self._used)).astype(np.float32)

    def fill_in(self, found: Measures, levels: NDArray[np.float64]) -> None:
        """Fill in what the frames say. levels: (T,) dB of the audio of each frame."""
        found.motion_hash = self.hash.hexdigest()
        found.bad_frames = tuple(self.bad[:10])
        if not self._used:
            return
        mean = self.mean
        found.extent = extent = float(np.ptp(mean, axis=0).max())
        variance = np.maximum(self._squares / self._used - np.square(self._sum / self._used), 0).sum(-1)
        found.spread = float(np.sqrt(variance.max()))
        template = self.all("template")
        found.from_template = float(template.min()) if len(template) else None
        found.turn_deg = float(np.degrees(np.quantile(self.all("turn"), 0.95)))
        found.shift = float(np.quantile(self.all("shift"), 0.95))
        step, most = self.all("step"), self.all("most")
        if not len(step):
            return
        found.step = float(step.mean())
        found.curves = {"speed": (step * found.fps).astype(np.float32), "level": levels.astype(np.float32)}
        still = most <= 1e-6 * extent
        speaks = _speaking(levels)[1 : len(still) + 1]
        still = still[: len(speaks)]
        found.frozen = float(still[speaks].mean()) if speaks.any() else 0.0
        rough = self.all("rough")
        if len(rough):
            found.noise = float(np.quantile(rough, 0.75) / (np.sqrt(20) * _CHI3_MEDIAN))
        bend, bend_most = self.all("bend"), self.all("bend_most")
        if len(bend) >= 3 and extent > 0:
            usual = np.quantile(bend, 0.9)
            wild = (bend > max(8 * usual, 0.004 * extent)) | (bend_most > 0.1 * extent)
            found.spikes = tuple(int(n) + 1 for n in _peaks(wild, bend_most)[:10])


def _peaks(wild: NDArray[np.bool_], height: NDArray[np.float64]) -> NDArray[np.integer]:
    """The highest place of each run of wild frames."""
    places = np.flatnonzero(wild)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
    return np.asarray([run[height[run].argmax()] for run in runs], int)


def _angles(cross: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) radians of the rotations that fit best: `cross` (n, 3, 3) are sums of outer products (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(cross.astype(np.float64))
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., -1] *= sign[:, None]
    return np.arccos(np.clip((np.trace(u @ vt, axis1=-2, axis2=-1) - 1) / 2, -1, 1))


def _sound(clip: Clip, found: Measures) -> NDArray[np.float64]:
    """Fill in what the audio tells, and return (frames,) dB of each frame of motion."""
    audio = np.asarray(clip.audio, np.float32)
    found.audio_s = len(audio) / clip.sample_rate
    finite = np.isfinite(audio)
    found.bad_samples = int((~finite).sum())
    audio = np.where(finite, audio, 0)
    if not len(audio):
        return np.full(found.frames, -200.0)
    found.audio_hash = blake2b(audio.tobytes(), digest_size=16).hexdigest()
    size = np.abs(audio)
    found.peak = float(size.max())
    found.clipped = float((size >= 0.985).mean())
    found.offset = float(audio.mean(dtype=np.float64))
    edges = np.minimum(np.round(np.arange(max(1, found.frames) + 1) * clip.sample_rate / clip.fps), len(audio))
    summed = np.concatenate([[0], np.cumsum(np.square(audio - found.offset, dtype=np.float64))])
    start, end = edges[:-1].astype(int), edges[1:].astype(int)
    power = (summed[end] - summed[start]) / np.maximum(end - start, 1)
    levels = 10 * np.log10(np.maximum(power, 1e-20))
    found.loud_db = float(np.quantile(levels, 0.95))
    found.speaking = float(_speaking(levels).mean())
    return levels[: found.frames]


def _speaking(levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    return levels > max(float(np.quantile(levels, 0.95)) + SPEAKING_DB, -60.0) if len(levels) else levels > 0


def _pictures(clip: Clip, found: Measures) -> None:
    if clip.textures is None:
        return
    if len(clip.textures) != found.frames:
        found.problem = f"{len(clip.textures)} pictures for {found.frames} frames"
        return
    looked = [np.asarray(clip.textures[number]) for number in {0, found.frames // 2} if number < found.frames]
    found.dark = bool(looked) and all(np.ptp(picture) < 4 for picture in looked)
