"""The questions of an examination: clips of a corpus with all that judging them needs."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics
from parlante.core import Clip, Identity, InputError, Topology
from parlante.data.open import open_corpus
from parlante.data.splits import TESTS, wanted_splits
from parlante.evaluation.measures import MOVING
from parlante.evaluation.protocols import PROTOCOLS, Protocol
from parlante.geometry.regions import region

BILABIALS = ("p", "b", "m")
SILENCE_DB = -40.0
"""A frame is silent where its level lies so far under the loud parts of the clip, if phones are not known."""
_USUAL = {"vocaset": "facediffuser-vocaset", "BIWI": "codetalker-biwi-a", "multiface": "facediffuser-multiface"}
"""Whose vertex lists stand in where no protocol is named."""


@dataclass(frozen=True, eq=False)
class Rules:
    """Which vertices are judged."""

    topology: Topology
    unit: str
    lips: NDArray[Any] | None
    upper: NDArray[Any] | None
    skin: NDArray[Any] | None
    """none: all vertices."""
    protocol: Protocol | None = None

    def of_skin(self, vertices: NDArray[Any]) -> NDArray[Any]:
        """(..., S, 3) of vertices (..., V, 3)."""
        return vertices if self.skin is None else vertices[..., self.skin, :]

    def opening(self, vertices: NDArray[Any]) -> NDArray[np.float64] | None:
        """(T,) how far the mouth is open: between the inner lips, or the height of the lip region where they are not
        known; none without either."""
        from parlante.head.mouth import lip_aperture

        if {"upper_lip_inner", "lower_lip_inner"} <= set(self.topology.landmarks):
            return lip_aperture(vertices, self.topology)
        if self.lips is None:
            return None
        height = vertices[:, self.lips, 1]
        return np.asarray(height.max(1) - height.min(1), np.float64)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a clip."""

    vertices: NDArray[np.float32]
    """(T', V, 3), in the data's unit."""
    picture: Callable[[int], NDArray[np.uint8]] | None = None
    """Frame -> skin (h, w, 3) at the size of the true ones, or none."""


@dataclass(frozen=True, eq=False)
class Case:
    """One clip and its truth."""

    key: str
    subject: str
    audio: NDArray[np.float32]
    sample_rate: int
    fps: float
    vertices: NDArray[np.float32]
    """(T, V, 3)."""
    neutral: NDArray[np.float32]
    loudness: NDArray[np.float64]
    """(T,) root mean square around each frame."""
    silent: NDArray[np.bool_] | None
    bilabials: list[tuple[float, float]]
    """Seconds in which p, b or m is said; empty where phones are not known."""
    styles: Mapping[str, NDArray[Any]]
    """Subject -> style vector of clips that are not judged."""
    rules: Rules
    pictures: Mapping[int, NDArray[np.uint8]] | None = None
    """Judged frame -> true skin (h, w, 3)."""
    rest: NDArray[np.uint8] | None = None
    """(h, w, 3) skin at rest."""
    moving: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    lpips: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float] | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is examined."""

    data: Path | str
    split: str | None = None
    protocol: str | None = None
    clips: int = 0
    """At most so many, spread evenly over the subjects; 0: all."""
    references: int = 3
    """Clips of each subject that are not judged: for its style, its mean face, and whom a style points at."""
    textures: int = 256
    """Side of the skin pictures of SynthTalk; 0 leaves pictures out. Other corpora have pictures or have none."""
    every: int = 6
    """Pictures are compared every so many frames."""
    lpips: Path | str | None = None


class Exam:
    """A corpus with rules, as cases. Raises InputError where a protocol does not fit the data."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        corpus: Any = open_corpus(choice.data)
        self.corpus = corpus
        if choice.textures and hasattr(self.corpus, "manner"):
            corpus.textures = choice.textures
        self.rules = _rules(self.corpus, choice.protocol)
        self.fps = float(self.corpus.fps)
        rows = self.corpus.rows
        wanted = self._wanted()
        own: dict[str, list[int]] = defaultdict(list)
        training: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            if wanted(row):
                own[row["subject"]].append(number)
            elif row["split"] == "train":
                training[row["subject"]].append(number)
        if not own:
            splits = ", ".join(sorted({row["split"] for row in rows}))
            raise InputError(f"{choice.data} has no clips to judge for {self._what}; its splits are {splits}")
        self.seen = {name: bool(training[name]) for name in own}
        """Subject -> whether clips of it lie in the training split."""
        self.given: dict[str, list[int]] = {}
        left = {}
        for name, numbers in own.items():
            spare = max(0, min(choice.references, len(numbers) - 1))
            self.given[name] = training[name][: choice.references] or numbers[len(numbers) - spare :]
            left[name] = [number for number in numbers if number not in self.given[name]]
        self.judged = _spread(left, choice.clips)
        """Numbers of the clips that are judged."""
        self._styles: dict[str, NDArray[Any]] | None = None
        self._faces: dict[str, NDArray[np.float32]] = {}
        self._skins: dict[str, NDArray[np.uint8]] = {}
        self._lpips = None if choice.lpips is None else _lpips(choice.lpips)

    @property
    def _what(self) -> str:
        return f"protocol {self.choice.protocol}" if self.choice.split is None else f"split {self.choice.split!r}"

    def _wanted(self) -> Callable[[Mapping[str, Any]], bool]:
        protocol, split = self.rules.protocol, self.choice.split
        if split is not None:
            splits = wanted_splits(split)
            return lambda row: row["split"] in splits
        if protocol is not None and (protocol.subjects or protocol.sentences):
            subjects, sentences = protocol.subjects, protocol.sentences
            return lambda row: (
                (not subjects or row["subject"] in subjects)
                and (not sentences or str(row.get("sentence", row["key"].rpartition("_")[2])) in sentences)
            )
        return lambda row: row["split"] in (*TESTS, "test")

    @property
    def keys(self) -> list[str]:
        """Of the judged clips."""
        return [self.corpus.rows[number]["key"] for number in self.judged]

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError where the corpus has no template of it."""
        found: Identity = self.corpus.identity(subject)
        return found

    def references(self, subject: str) -> list[Clip]:
        """Clips of a subject that are not judged."""
        return [self.corpus[number] for number in self.given[subject]]

    def mean_face(self, subject: str) -> NDArray[np.float32]:
        """(V, 3) mean over the reference clips, each third frame; the face at rest where there are none."""
        if subject not in self._faces:
            clips = [np.asarray(clip.vertices[::3], np.float64) for clip in self.references(subject)]
            mean = np.concatenate(clips).mean(0) if clips else self.identity(subject).neutral
            self._faces[subject] = np.asarray(mean, np.float32)
        return self._faces[subject]

    @property
    def styles(self) -> dict[str, NDArray[Any]]:
        """Style vectors of the judged subjects, from their reference clips."""
        if self._styles is None:
            self._styles = {}
            for subject in sorted({self.corpus.rows[number]["subject"] for number in self.judged}):
                rest = self.rules.of_skin(self.identity(subject).neutral)
                vectors = [
                    metrics.style_vector(self.rules.of_skin(np.asarray(clip.vertices[:])), rest)
                    for clip in self.references(subject)
                ]
                if vectors:
                    self._styles[subject] = np.mean(vectors, 0)
        return self._styles

    def rest(self, subject: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """(h, w, 3) skin at rest at the size of the clips' pictures, or none."""
        from PIL import Image

        if subject not in self._skins:
            albedo = self.identity(subject).albedo
            if albedo is None:
                return None
            small = Image.fromarray(albedo).resize((size[1], size[0]), Image.Resampling.BOX)
            self._skins[subject] = np.asarray(small)
        return self._skins[subject]

    def case(self, number: int) -> Case:
        """Clip `number` with its truth, read now."""
        clip: Clip = self.corpus[number]
        vertices = np.asarray(clip.vertices[:], np.float32)
        frames = len(vertices)
        loudness = _loudness(clip.audio, clip.sample_rate, clip.fps, frames)
        silent, bilabials = self._phones(number, frames)
        if silent is None:
            loud = np.percentile(loudness, 95)
            silent = loudness < loud * 10 ** (SILENCE_DB / 20) if loud > 0 else None
        pictures = rest = None
        moving = np.zeros((0, 0), bool)
        if clip.textures is not None and self.choice.textures:
            rest = self.rest(clip.subject, clip.textures.shape[1:3])
        if rest is not None and clip.textures is not None:
            shown = np.arange(0, frames, self.choice.every)
            pictures = dict(zip(shown.tolist(), np.asarray(clip.textures[shown])))
            moving = _moving(pictures.values(), rest)
        return Case(
            key=self.corpus.rows[number]["key"],
            subject=clip.subject,
            audio=clip.audio,
            sample_rate=clip.sample_rate,
            fps=clip.fps,
            vertices=vertices,
            neutral=self.identity(clip.subject).neutral,
            loudness=loudness,
            silent=silent,
            bilabials=bilabials,
            styles=self.styles,
            rules=self.rules,
            pictures=pictures,
            rest=rest,
            moving=moving,
            lpips=self._lpips,
        )

    def _phones(self, number: int, frames: int) -> tuple[NDArray[np.bool_] | None, list[tuple[float, float]]]:
        if not hasattr(self.corpus, "take"):
            return None, []
        phones = self.corpus.take(number).phones
        time = np.arange(frames) / self.fps
        silent = np.zeros(frames, bool)
        for name, start, end in phones:
            if name == "sil":
                silent |= (time >= start) & (time < end)
        return silent, [(start, end) for name, start, end in phones if name in BILABIALS]


def _rules(corpus: Any, name: str | None) -> Rules:
    from parlante.evaluation.protocols import protocol

    topology, wish = corpus.topology, None
    if name is not None:
        wish = protocol(name)
        count, wanted = topology.num_vertices, wish.lips.partition("/")[0]
        lists = [region(wish.lips), region(wish.upper)]
        if max(int(part.max()) for part in lists) >= count or corpus.dataset != wanted:
            raise InputError(
                f"protocol {name} is for {wanted} meshes, {corpus.dataset} has {count} vertices; "
                "leave --protocol away to judge it by its own regions"
            )
        return Rules(topology, corpus.unit, lists[0], lists[1], None, wish)
    regions = topology.regions
    if "lips" in regions:
        return Rules(topology, corpus.unit, regions["lips"], regions.get("upper_face"), regions.get("skin"))
    usual = PROTOCOLS.get(_USUAL.get(corpus.dataset, ""))
    if usual is not None and topology.regions:
        return Rules(topology, corpus.unit, region(usual.lips), region(usual.upper), None)
    return Rules(topology, corpus.unit, None, None, None)


def _spread(numbers: Mapping[str, Sequence[int]], clips: int) -> list[int]:
    """At most `clips` numbers (0: all), taken from the subjects in turn, subjects spread evenly; the first subject
    begins with its first clip, the second with its second and so on, so that sentences differ between them."""
    queues = [list(numbers[name]) for name in sorted(numbers) if numbers[name]]
    total = sum(len(queue) for queue in queues)
    clips = min(clips, total) if clips else total
    if clips < len(queues):
        queues = [queues[round(place)] for place in np.linspace(0, len(queues) - 1, clips)]
    starts = [place % len(queue) for place, queue in enumerate(queues)]
    queues = [queue[start:] + queue[:start] for start, queue in zip(starts, queues)]
    chosen: list[int] = []
    while len(chosen) < clips:
        for queue in queues:
            if queue and len(chosen) < clips:
                chosen.append(queue.pop(0))
    return sorted(chosen)


def _loudness(audio: NDArray[np.float32], rate: int, fps: float, frames: int) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(np.square(np.asarray(audio, np.float64)))])
    middle = np.arange(frames) * rate / fps
    half = 0.75 * rate / fps
    low, high = (np.clip(np.rint(middle + side), 0, len(audio)).astype(int) for side in (-half, half))
    return np.sqrt((total[high] - total[low]) / np.maximum(high - low, 1))


def _moving(pictures: Any, rest: NDArray[np.uint8]) -> NDArray[np.bool_]:
    base = np.maximum(rest.astype(np.float32), 1)
    moving = np.zeros(rest.shape[:2], bool)
    for picture in pictures:
        change = np.abs(picture.astype(np.float32) - rest)
        moving |= ((change > MOVING * base) & (change > 1)).any(-1)  # rounding of bytes is no motion
    return moving


def _lpips(path: Path | str) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]:
    import torch

    from parlante.losses.perceptual import LPIPS

    if not Path(path).is_file():
        raise InputError(
            f"no LPIPS weights at {path}; they are not part of this package: give one file with the VGG16 features and "
            "the LPIPS lin layers, or leave --lpips away"
        )
    network = LPIPS.from_file(path)

    def distance(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        pair = [torch.from_numpy(np.array(p, np.float32) / 255).permute(2, 0, 1)[None] for p in (image, other)]
        with torch.inference_mode():
            return float(network(*pair))

    return distance
