"""Preparation for the small models: every clip of a corpus as motion coordinates and speech features.

SynthTalk's motion is written in the shipped motion basis, without blinks and glances, which no speech foretells; that
of any other corpus in a basis fitted to it (`mesh_motion`). Speech is heard by a
frozen encoder, once as it is and several times recoloured and re-recorded; its features are kept at twice the
frame rate, locked to the frames, so that any stretch of clips reads its taps by index. Where the encoder is a speech
network that is trained along (`finetune`), the same hearings are kept as sound. The cache folder's name carries a hash
of everything it was made from.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from parlante.audio.align import align
from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.core import Identity, InputError
from parlante.core.timing import FPS, SAMPLE_RATE
from parlante.data.open import open_corpus, open_with_weights
from parlante.models.motion_basis import ASSET as BASIS_FILE
from parlante.models.motion_basis import MotionBasis
from parlante.training.engine.processes import one_at_a_time
from parlante.training.features.mesh_motion import MeshMotion
from parlante.training.features.speech_curves import spoken

GRID = 2
"""Features kept per frame."""


@dataclass(frozen=True, kw_only=True)
class MotionDataConfig:
    """The `data:` part of a recipe."""

    corpus: str
    """Folder written by `parlante synth`, or any other corpus."""
    basis: str = ""
    """File of a motion basis; empty: the shipped one for SynthTalk, one that is fitted for other corpora."""
    rows: int = 64
    """Of a basis that is fitted, at most."""
    encoder: str = ""
    """Who hears, frozen without `finetune`; empty: the shipped phonetic encoder. SynthTalk: folder of another one.
    Other corpora: hub name or local folder of a wav2vec 2.0, HuBERT or WavLM; `scheme.taps` then do not apply."""
    finetune: bool = False
    """Train the network that `encoder` names along, all but its convolutions, as published."""
    cache: str = "runs/cache"
    """Where prepared folders are kept."""
    variants: int = 2
    """Re-recorded hearings of every training clip beside the clean one."""
    strength: float = 0.7
    """Of the re-recording."""
    clips_per_subject: int | None = None
    """Use only so many training clips of each subject; none uses all."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.finetune and not self.encoder:
            raise ValueError(
                "finetune trains a speech network along, and the shipped phonetic encoder is none; name one, for "
                "example --set data.encoder=facebook/wav2vec2-base-960h"
            )


@dataclass(frozen=True, eq=False)
class MotionStore:
    """What `prepare` made, memory-mapped."""

    config: MotionDataConfig
    basis: MotionBasis
    motion: NDArray[np.float32]
    """(N, R) coordinates of all frames of all clips."""
    features: NDArray[np.float16]
    """(variants + 1, GRID N, F); hearing 0 is the clean one, the others exist for training clips only. Empty beside
    `sound`."""
    clips: list[dict[str, Any]]
    """Of each clip: key, subject, split, number in the corpus, start, frames; with `sound` also the first sample and
    the samples of each hearing."""
    fps: float = FPS
    mouth: NDArray[np.int64] | None = None
    """Vertices that the lips' loss looks at, of a mesh of its own; none: the embedded head's."""
    sound: NDArray[np.float32] | None = None
    """(M,) all hearings at 16 kHz, for a speech network that is trained along."""

    @property
    def network(self) -> str:
        """Hub name or folder of the speech network that heard the clips; empty: a phonetic encoder."""
        return "" if self.mouth is None else self.config.encoder

    def lips(self) -> NDArray[np.float32]:
        """(R, 3 n): coordinates -> offsets of the lips in thousandths of the unit, flattened."""
        from parlante.head import load_head

        return self.basis.part(np.asarray(load_head().topology.regions["lips"]) if self.mouth is None else self.mouth)

    def shown(self, clip: dict[str, Any]) -> tuple[Identity, NDArray[np.float32]]:
        """Who speaks in a clip, and the sound (N,) at 16 kHz."""
        if self.mouth is not None:
            motion = MeshMotion(self.config.corpus)
            return motion.identity(clip["subject"]), motion.audio(clip)
        from parlante.head import load_head

        shown = open_with_weights(self.config.corpus)[clip["number"]]
        return load_head().identity(shown.face), shown.audio

    def subjects(self) -> tuple[str, ...]:
        """Those with training clips, sorted: the order of the one-hots."""
        return tuple(sorted({clip["subject"] for clip in self.clips if clip["split"] == "train"}))

    def hear(
        self, frames: NDArray[np.integer], hearing: NDArray[np.integer], taps: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """(..., T, F * taps) features at frames (..., T) of hearings (..., T); taps count in 1 / (GRID fps) seconds.

        Neighbours are those within `frames`, so clips laid end to end hear each other as one recording would.
        """
        length = frames.shape[-1]
        place = (np.arange(length)[:, None] * GRID + np.asarray(taps)).clip(0, length * GRID - 1)  # (T, taps)
        frame, half = place // GRID, place % GRID
        rows = frames[..., frame] * GRID + half
        values = self.features[hearing[..., frame], rows]
        return values.reshape(*values.shape[:-2], -1).astype(np.float32)

    def cut(self, frames: NDArray[np.integer], hearing: int) -> NDArray[np.float32]:
        """(n,) the sound of consecutive frames (T,) of one clip."""
        assert self.sound is not None
        clip = next(c for c in self.clips if c["start"] <= frames[0] < c["start"] + c["frames"])
        start, size = clip["sounds"][hearing]
        per_frame = size / clip["frames"]
        count = round(len(frames) * per_frame)
        first = start + min(round((frames[0] - clip["start"]) * per_frame), size - count)
        return np.array(self.sound[first : first + count])


def prepare(config: MotionDataConfig) -> MotionStore:
    """Open the cache folder that fits `config`, or make it. Raises InputError if an ingredient is missing."""
    own = open_corpus(config.corpus).has_weights
    if own and config.finetune:
        raise InputError(
            f"{config.corpus} is SynthTalk, which the phonetic encoder hears; data.finetune is for the meshes of other "
            "corpora"
        )
    source = HeadMotion(config) if own else OtherMotion(config)
    folder = Path(config.cache) / f"motion-{_fingerprint(config, source.digest)}"
    with one_at_a_time(folder):
        if not (folder / "index.json").is_file():
            partial = folder.with_name(folder.name + ".part")
            shutil.rmtree(partial, ignore_errors=True)  # only ever our own unfinished work
            partial.mkdir(parents=True)
            _make(config, source, partial)
            partial.rename(folder)
    features = np.zeros((1, 0, 0), np.float16)
    if not config.finetune:
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    return MotionStore(
        config=config,
        basis=source.basis(folder),
        fps=source.fps,
        mouth=source.mouth,
        motion=np.load(folder / "motion.npy", allow_pickle=False),
        features=features,
        clips=json.loads((folder / "index.json").read_text()),
        sound=np.memmap(folder / "sound.f32", np.float32, "r") if config.finetune else None,
    )


def _fingerprint(config: MotionDataConfig, own: bytes) -> str:
    digest = hashlib.sha256(own)
    apart = ("corpus", "basis", "encoder", "finetune", "cache", "rows")
    numbers = {k: v for k, v in asdict(config).items() if k not in apart}
    digest.update(json.dumps(numbers, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def _digest(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"the recipe needs {path}, which is missing; make it or correct the recipe's data")
    return hashlib.sha256(path.read_bytes()).digest()


Hear = Callable[[NDArray[np.float32], int, float], Tensor]
"""Sound (N,) at 16 kHz, that goes `speed` times as fast as `count` frames do -> features (GRID count, F)."""


def _phonetic_digest(folder: str) -> bytes:
    from parlante.audio.encoders.phonetic import ASSET

    return _digest(Path(folder or ASSET) / "model.safetensors")


def _phonetic(folder: str, fps: float) -> Hear:
    from parlante.audio.encoders.phonetic import ASSET, PhoneticEncoder

    encoder = PhoneticEncoder.from_pretrained(folder or ASSET)

    def hear(audio: NDArray[np.float32], count: int, speed: float) -> Tensor:
        values = torch.from_numpy(encoder.encode(audio))[None]
        return align(values, GRID * count, fps=GRID * fps * speed, rate=encoder.rate)[0]

    return hear


def _network(name: str, fps: float) -> Hear:
    encoder = speech_network(name, fps)

    @torch.no_grad()
    def hear(audio: NDArray[np.float32], count: int, speed: float) -> Tensor:
        heard = encoder(torch.from_numpy(audio)[None], None if speed == 1 else count)[0]
        heard = heard[torch.arange(count).clamp(max=len(heard) - 1)]  # as long as the motion
        return heard.repeat_interleave(GRID, 0)

    return hear


def speech_network(name: str, fps: float) -> SpeechEncoder:
    """By hub name or local folder, with a step a frame (FaceFormer's rule), frozen. Raises InputError, MissingExtra."""
    return SpeechEncoder.from_hub(name, RateRule(kind="aligned", fps=fps), frozen="all")


class HeadMotion:
    """SynthTalk's clips, on the embedded head."""

    fps, mouth = FPS, None

    def __init__(self, config: MotionDataConfig) -> None:
        self._file = Path(config.basis or BASIS_FILE)
        self._data, self._encoder = open_with_weights(config.corpus), config.encoder
        corpus = bytes.fromhex(self._data.fingerprint())
        self.digest = corpus + _digest(self._file) + _phonetic_digest(config.encoder)
        self.rows = [asdict(info) for info in self._data.clips]
        self._shapes: dict[str, NDArray[np.float32]] = {}

    def basis(self, folder: Path) -> MotionBasis:
        """The shipped one, or the recipe's."""
        return MotionBasis.load(self._file)

    def clip(self, clip: dict[str, Any], basis: MotionBasis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates (T, R) and sound (N,)."""
        from parlante.head import load_head

        found = self._data[clip["number"]]
        if found.face not in self._shapes:
            self._shapes[found.face] = basis.shapes(load_head().shapes(found.face))
        return spoken(found.known_weights()) @ self._shapes[found.face], found.audio

    def hearer(self) -> Hear:
        """The shipped phonetic encoder, or the recipe's."""
        return _phonetic(self._encoder, self.fps)


class OtherMotion:
    """Clips of any other corpus, on its own mesh."""

    def __init__(self, config: MotionDataConfig) -> None:
        if config.rows < 1:
            raise InputError(f"data.rows must be at least 1, got {config.rows}")
        self._config, self._motion = config, MeshMotion(config.corpus)
        self.fps, self.mouth, self.rows = self._motion.fps, self._motion.lips(), self._motion.rows
        self.digest = f"{self._motion.corpus.fingerprint()} {config.rows}".encode()
        if config.basis:
            self.digest += _digest(Path(config.basis))
        if config.finetune:
            self.digest += b"sound"
        elif not config.encoder:
            self.digest += _phonetic_digest("")
        elif Path(config.encoder).is_dir():
            self.digest += b"".join(_digest(path) for path in sorted(Path(config.encoder).iterdir()) if path.is_file())
        else:
            self.digest += config.encoder.encode()  # a hub name

    def basis(self, folder: Path) -> MotionBasis:
        """The recipe's, or the one in `folder`, which is fitted if there is none."""
        if self._config.basis:
            return MotionBasis.load(self._config.basis)
        path = folder / "basis.npz"
        if not path.is_file():
            self._motion.fit(self._config.rows).save(path)
        return MotionBasis.load(path)

    def clip(self, clip: dict[str, Any], basis: MotionBasis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates (T, R) and sound (N,)."""
        return basis.encode(self._motion.offsets(clip)), self._motion.audio(clip)

    def hearer(self) -> Hear:
        """As the exported talker will hear."""
        name = self._config.encoder
        return _network(name, self.fps) if name else _phonetic("", self.fps)


def _choose(rows: list[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    used: dict[str, int] = {}
    clips, start = [], 0
    for number, row in enumerate(rows):
        if row["split"] == "train":
            used[row["subject"]] = used.get(row["subject"], 0) + 1
            if most is not None and used[row["subject"]] > most:
                continue
        keep = {key: row[key] for key in ("key", "subject", "split", "frames")}
        clips.append({**keep, "number": row.get("number", number), "start": start})
        start += row["frames"]
    return clips


Keep = Callable[[dict[str, Any], int, NDArray[np.float32], float], None]
"""Writes down how a clip is heard: number of the hearing, sound, speed."""


@contextmanager
def _features(folder: Path, hear: Hear, hearings: int, frames: int) -> Iterator[Keep]:
    shape = (hearings, GRID * frames, hear(np.zeros(16000, np.float32), 1, 1.0).shape[1])
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape)

    def keep(clip: dict[str, Any], hearing: int, sound: NDArray[np.float32], speed: float) -> None:
        first, count = clip["start"], clip["frames"]
        features[hearing, GRID * first : GRID * (first + count)] = hear(sound, count, speed).half().numpy()

    yield keep
    features.flush()


@contextmanager
def _sound(folder: Path) -> Iterator[Keep]:
    with (folder / "sound.f32").open("wb") as file:

        def keep(clip: dict[str, Any], hearing: int, sound: NDArray[np.float32], speed: float) -> None:
            clip.setdefault("sounds", []).append([file.tell() // 4, len(sound)])
            file.write(sound.astype(np.float32).tobytes())

        yield keep


def _make(config: MotionDataConfig, source: HeadMotion | OtherMotion, folder: Path) -> None:
    from parlante.audio.augment import augmented_views

    basis = source.basis(folder)
    clips = _choose(source.rows, config.clips_per_subject)
    total = sum(clip["frames"] for clip in clips)
    motion = np.zeros((total, len(basis)), np.float32)
    writer = _sound(folder) if config.finetune else _features(folder, source.hearer(), config.variants + 1, total)
    with writer as keep:
        for clip in tqdm(clips, desc="hearing clips", disable=None):
            first, count = clip["start"], clip["frames"]
            motion[first : first + count], audio = source.clip(clip, basis)
            if config.finetune:  # as long as the motion, so that stretches of both are cut alike
                size = round(count * SAMPLE_RATE / source.fps)
                audio = np.pad(audio[:size], (0, max(0, size - len(audio))))
            variants = config.variants if clip["split"] == "train" else 0
            told = {"seed": config.seed, "number": clip["number"], "strength": config.strength}
            for variant, (heard, speed) in enumerate(augmented_views(audio, variants, **told)):
                keep(clip, variant, heard, speed)
    np.save(folder / "motion.npy", motion, allow_pickle=False)
    (folder / "index.json").write_text(json.dumps(clips))
