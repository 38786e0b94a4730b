"""What is evaluated: the clips of a corpus that are judged, with all that judging them needs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics
from parlante.core import Clip, Identity, InputError
from parlante.core.typed import Mistyped, read_json, typed
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.open import open_corpus
from parlante.data.splits import TESTS, wanted_splits
from parlante.data.subject_lists import with_subjects
from parlante.evaluation.clip import EvalClip, Rules
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.protocols import PROTOCOLS, Protocol
from parlante.evaluation.scores import load_lpips
from parlante.geometry.regions import region

BILABIALS = ("p", "b", "m")
REFERENCE_SPLITS = ("train", "unused", "val")
"""Splits whose clips may tell how a subject looks and speaks, in this order; clips of tests only if they must."""
SILENCE_DB = -40.0
"""A frame is silent where its level lies so far under the loud parts of the clip, if phones are not known."""
MOVING = 0.02
"""A texel moves where its true colour leaves the skin at rest by more than this share in some judged frame."""
_DEFAULT_PROTOCOLS = {
    "vocaset": "facediffuser-vocaset",
    "BIWI": "codetalker-biwi-a",
    "multiface": "facediffuser-multiface",
}
"""Dataset -> the protocol whose vertex lists are used where none is named."""


class Evaluation:
    """A corpus and the rules by which it is judged, clip by clip.

    Raises InputError where a protocol does not fit the data, or where no clips are left.
    """

    def __init__(self, config: EvalConfig) -> None:
        self.config = config
        self.corpus = with_subjects(open_corpus(config.data, texture_size=config.textures), config)
        self.rules = rules_for(self.corpus, config.protocol, config.regions)
        self.fps = float(self.corpus.fps)
        own, others = self._clips_by_subject()
        self.training_clips = {name: [n for n in others[name] if self._split(n) == "train"] for name in own}
        """Subject -> numbers of its clips in the training split; none for a subject that no model can know."""
        self.reference_clips = {name: self._references(own[name], others[name]) for name in own}
        """Subject -> numbers of its clips that are not judged: training clips where it has some."""
        left = {name: [n for n in numbers if n not in self.reference_clips[name]] for name, numbers in own.items()}
        self.judged = spread_over_subjects(left, config.clips)
        """Numbers of the clips that are judged."""
        self.notice = self._notice(sum(map(len, own.values())))
        """How the judged clips differ from those in question, in words; empty if they do not."""
        self.lpips = None if config.lpips is None else load_lpips(config.lpips)
        self._styles: dict[str, NDArray[Any]] | None = None
        self._faces: dict[str, NDArray[np.float32]] = {}
        self._skins: dict[tuple[str, int, int], NDArray[np.uint8]] = {}

    def _split(self, number: int) -> str:
        return self.corpus.clips[number].split

    def _clips_by_subject(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """Subject -> numbers of the clips in question, and of its clips that no test would judge."""
        wanted = self._wanted()
        own: dict[str, list[int]] = defaultdict(list)
        others: dict[str, list[int]] = defaultdict(list)
        for number, info in enumerate(self.corpus.clips):
            if wanted(info):
                own[info.subject].append(number)
            elif info.split in REFERENCE_SPLITS:
                others[info.subject].append(number)
        if not own:
            config = self.config
            what = f"protocol {config.protocol}" if config.split is None else f"split {config.split!r}"
            splits = ", ".join(sorted({info.split for info in self.corpus.clips}))
            raise InputError(f"{config.data} has no clips to judge for {what}; its splits are {splits}")
        return own, others

    def _references(self, own: Sequence[int], others: Sequence[int]) -> list[int]:
        """Clips of a subject from which its style and its mean face come: others than those in question where it has
        some, training clips first. Else the last ones in question, unless they are the list of a protocol."""
        count = self.config.references
        if others:
            return sorted(others, key=lambda number: REFERENCE_SPLITS.index(self._split(number)))[:count]
        spare = 0 if self._judges_list else max(0, min(count, len(own) - 1))
        return list(own[len(own) - spare :])

    @property
    def _judges_list(self) -> bool:
        """Whether the list of a protocol says what is judged."""
        return self.rules.protocol is not None and self.config.split is None

    def _wanted(self) -> Callable[[ClipInfo], bool]:
        """Whether a clip is in question."""
        protocol, split = self.rules.protocol, self.config.split
        if split is not None:
            splits = wanted_splits(split)
            return lambda info: info.split in splits
        if protocol is None:
            return lambda info: info.split in (*TESTS, "test")
        if self._renumbered(protocol):
            return lambda info: protocol.place(info)[1] in protocol.sentences
        places = set(protocol.test_list)
        return lambda info: protocol.place(info) in places

    def _renumbered(self, protocol: Protocol) -> bool:
        """Whether the data has its subjects' own names, and the protocol numbers that its authors gave them."""
        return protocol.dataset == "multiface" and not {info.subject for info in self.corpus.clips} & set(
            protocol.subjects
        )

    def _notice(self, in_question: int) -> str:
        """What the judged clips lack of the clips in question or of a protocol's list, and what they have beyond it."""
        protocol, judged = self.rules.protocol, [self.corpus.clips[number] for number in self.judged]
        if protocol is None:
            kept = in_question - len(judged)
            return f"{len(judged)} of {in_question} clips are judged." if kept else ""
        if self._renumbered(protocol):
            people = len({info.subject for info in judged})
            return (
                f"{protocol.name} judges {len(protocol.subjects)} subjects by numbers that this data does not have; "
                f"{len(judged)} of the {in_question} clips of its sentences are judged, of {people} subjects."
            )
        found = {protocol.place(info) for info in judged}
        lacking = [place for place in protocol.test_list if place not in found]
        beyond = sum(protocol.place(info) not in protocol.test_list for info in judged)
        parts = []
        if lacking:
            names = ", ".join("_".join(place) for place in lacking)
            parts.append(f"{len(lacking)} of {len(protocol.test_list)} clips are missing: {names}")
        if beyond:
            parts.append(f"{beyond} judged clips are not in its list")
        return f"Not the whole of {protocol.name}: {'; '.join(parts)}." if parts else ""

    @property
    def keys(self) -> list[str]:
        """Names of the judged clips."""
        return [self.corpus.clips[number].key for number in self.judged]

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError where the corpus has no template of it."""
        found: Identity = self.corpus.identity(subject)
        return found

    def references(self, subject: str) -> list[Clip]:
        """Clips of a subject that are not judged."""
        return [self.corpus[number] for number in self.reference_clips[subject]]

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
            for subject in sorted({self.corpus.clips[number].subject for number in self.judged}):
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

        key = (subject, *size)
        if key not in self._skins:
            albedo = self.identity(subject).albedo
            if albedo is None:
                return None
            small = Image.fromarray(albedo).resize((size[1], size[0]), Image.Resampling.BOX)
            self._skins[key] = np.asarray(small)
        return self._skins[key]

    def clip(self, number: int) -> EvalClip:
        """Clip `number` with its truth, read now."""
        clip: Clip = self.corpus[number]
        vertices = np.asarray(clip.vertices[:], np.float32)
        frames = len(vertices)
        loudness = frame_loudness(clip.audio, clip.sample_rate, clip.fps, frames)
        silent, bilabials = self._phones(clip, frames)
        if silent is None:
            loud = np.percentile(loudness, 95)
            silent = loudness < loud * 10 ** (SILENCE_DB / 20) if loud > 0 else None
        pictures = rest = None
        moving = np.zeros((0, 0), bool)
        if clip.textures is not None and self.config.textures:
            rest = self.rest(clip.subject, clip.textures.shape[1:3])
        if rest is not None and clip.textures is not None:
            shown = np.arange(0, frames, self.config.every)
            pictures = dict(zip(shown.tolist(), np.asarray(clip.textures[shown])))
            moving = moving_texels(pictures.values(), rest)
        return EvalClip(
            key=clip.key,
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
        )

    def _phones(self, clip: Clip, frames: int) -> tuple[NDArray[np.bool_] | None, list[tuple[float, float]]]:
        """(T,) true in silence, or none; and the spans of p, b and m in seconds."""
        phones = clip.phones
        if not phones:
            return None, []
        time = np.arange(frames) / self.fps
        silent = np.zeros(frames, bool)
        for name, start, end in phones:
            if name == "sil":
                silent |= (time >= start) & (time < end)
        return silent, [(start, end) for name, start, end in phones if name in BILABIALS]


def rules_for(corpus: Corpus, name: str | None, regions_file: Path | str | None = None) -> Rules:
    """The rules of a protocol; without a name those of a file of regions, else the mesh's own regions, else the
    published lists of a known dataset.

    Raises InputError for an unknown protocol, or one of another mesh, and for a file that does not fit the mesh.
    """
    from parlante.evaluation.protocols import protocol

    topology = corpus.topology
    if regions_file is not None:
        if name is not None:
            raise InputError(f"--protocol {name} has regions of its own; leave --regions or --protocol out")
        given = read_regions(regions_file, topology.num_vertices)
        return Rules(topology, corpus.unit, given.get("lips"), given.get("upper_face"), given.get("skin"))
    if name is not None:
        wish = protocol(name)
        count, wanted = topology.num_vertices, wish.dataset
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
    usual = PROTOCOLS.get(_DEFAULT_PROTOCOLS.get(corpus.dataset, ""))
    if usual is not None and topology.regions:
        return Rules(topology, corpus.unit, region(usual.lips), region(usual.upper), None)
    return Rules(topology, corpus.unit, None, None, None)


def read_regions(path: Path | str, count: int) -> dict[str, NDArray[np.int32]]:
    """Vertex numbers by region from a json, of a mesh of `count` vertices. Raises InputError for anything else."""
    known = ("lips", "upper_face", "skin")
    wanted = "a json of vertex numbers by name"
    try:
        content = typed(dict[str, list[int]], read_json(path, wanted))
        found = {name: np.asarray(numbers) for name, numbers in content.items()}
    except (Mistyped, OverflowError) as error:
        raise InputError(f"cannot read the regions {path}: {error}; wanted {wanted}") from error
    if unknown := [name for name in found if name not in known]:
        raise InputError(f"{path} names {unknown[0]}; regions are {', '.join(known)}")
    for name, numbers in found.items():
        whole = numbers.ndim == 1 and numbers.size and numbers.dtype.kind in "iu"
        if not whole or numbers.min() < 0 or numbers.max() >= count:
            raise InputError(f"{path}: {name} must be numbers of vertices from 0 to {count - 1}")
    return {name: numbers.astype(np.int32) for name, numbers in found.items()}


def spread_over_subjects(numbers: Mapping[str, Sequence[int]], clips: int) -> list[int]:
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


def frame_loudness(audio: NDArray[np.float32], rate: int, fps: float, frames: int) -> NDArray[np.float64]:
    """(T,) root mean square of the sound in one and a half frames around each frame."""
    total = np.concatenate([[0.0], np.cumsum(np.square(np.asarray(audio, np.float64)))])
    middle = np.arange(frames) * rate / fps
    half = 0.75 * rate / fps
    low, high = (np.clip(np.rint(middle + side), 0, len(audio)).astype(int) for side in (-half, half))
    return np.sqrt((total[high] - total[low]) / np.maximum(high - low, 1))


def moving_texels(pictures: Iterable[NDArray[np.uint8]], rest: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(h, w) true where some picture leaves the skin at rest (h, w, 3) by more than `MOVING`."""
    base = np.maximum(rest.astype(np.float32), 1)
    moving = np.zeros(rest.shape[:2], bool)
    for picture in pictures:
        change = np.abs(picture.astype(np.float32) - rest)
        moving |= ((change > MOVING * base) & (change > 1)).any(-1)  # rounding of bytes is no motion
    return moving
