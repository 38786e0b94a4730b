"""A talking face from one folder: a family and what surrounds it. Audio in, vertices out.

A family (`faceformer`, `talkingstyle`, `ptalker`, `codetalker`, `facediffuser`) knows only numbers: speech features, a
style embedding and motion coordinates. `MeshNetwork` holds what a checkpoint says about the rest: the speech encoder
and its rate, the frame rate, the speakers' names, how coordinates become displacements, and the template meshes.

    >>> talker = MeshNetwork.from_pretrained("vocaset")  # doctest: +SKIP
    >>> talker.generate(audio, neutral, {"F2": 1.5, "F3": -0.5})  # (B, N), (V, 3) -> (B, T, V, 3)  # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parlante.audio.encoders.transformers import load_speech_encoder
from parlante.audio.rates import RateRule, change_rate
from parlante.core import InputError, Style
from parlante.core.files import model_folder
from parlante.core.plugins import resolve
from parlante.models.checkpoint import differences, load_checkpoint, model_name, save_checkpoint, settings, usable
from parlante.models.registry import family, motion_families
from parlante.models.templates import Templates

SAMPLE_RATE = 16000
FASTEST = 1000
"""Frames per second; more is a slip of the keyboard."""
SPEECH, EMOTION, BASIS = "audio_encoder.", "AudioStyle.wav2vec2_emo.", "motion_basis."
"""Prefixes of what is not the family's in a checkpoint; the first two are the authors' own."""
StyleLike = str | Mapping[str, float] | Style | Tensor
"""A speaker's name, a mixture of names, an extracted style, or a style embedding (D,) or (B, D)."""


def check_speech(speech: Tensor, width: int | None) -> None:
    """Raises InputError unless this is finite audio (B, N), or finite features (B, S, width) where a width is given."""
    if speech.ndim != (2 if width is None else 3):
        raise InputError(f"speech must be audio (B, N) or features (B, S, A), got {tuple(speech.shape)}")
    if width is not None and speech.shape[-1] != width:
        raise InputError(f"features are {speech.shape[-1]} wide, this model takes {width}")
    if not speech.isfinite().all():
        raise InputError("the speech holds values that are no finite numbers")


def check_face(neutral: Tensor, num_vertices: int) -> None:
    """Raises InputError unless this is a face (..., V, 3) of so many vertices."""
    if neutral.shape[-2:] != (num_vertices, 3):
        raise InputError(
            f"the face has shape {tuple(neutral.shape)}, this model moves {num_vertices} vertices: "
            f"({num_vertices}, 3); give a template of its topology"
        )


@dataclass(frozen=True, kw_only=True)
class MeshNetworkConfig:
    """`config` of a checkpoint folder."""

    model: str
    """One of `registry.motion_families()`."""
    family: Any
    """The family's config; a mapping of its fields will do."""
    speech: Mapping[str, Any]
    """Spec of the speech encoder, see `audio.speech.load_speech_encoder`."""
    emotion: Mapping[str, Any] | None = None
    """Spec of the encoder of the voice's style (PTalker)."""
    fps: float
    """Motion frames per second."""
    subjects: tuple[str, ...] = ()
    """Names of the speakers, in the order of the style weights; () numbers them."""
    topology: str = ""
    """Name of the mesh family, for people."""
    basis: int = 0
    """Rows of a fixed motion basis in the checkpoint, of which motion coordinates are the coefficients; 0: coordinates
    are the displacements of the vertices."""
    rate: Mapping[str, Any] | None = None
    """Change of the features' rate after the speech encoder (FaceDiffuser); none: the encoder's own rule suffices."""
    controls: tuple[str, ...] = ()
    """Names of the rig controls that the coordinates are; (): they move vertices."""

    def __post_init__(self) -> None:
        if self.model not in motion_families():
            raise ValueError(f"no family named {self.model!r}; known: {', '.join(motion_families())}")
        if isinstance(self.family, Mapping):
            object.__setattr__(self, "family", settings(resolve(family(self.model).config), self.family, "family"))
        names = tuple(self.subjects) or tuple(f"subject-{i + 1}" for i in range(self.family.subjects))
        if len(names) != self.family.subjects or len(set(names)) != len(names) or not all(names):
            raise ValueError(f"subjects must be {self.family.subjects} different names, got {', '.join(names)}")
        object.__setattr__(self, "subjects", names)
        object.__setattr__(self, "controls", tuple(self.controls))
        if self.controls:
            if self.basis or len(set(self.controls)) != self.family.motion_dim:
                raise ValueError(f"controls must be {self.family.motion_dim} different names, got {len(self.controls)}")
        elif self.basis not in (0, self.family.motion_dim) or (not self.basis and self.family.motion_dim % 3):
            raise ValueError(
                f"motion_dim is {self.family.motion_dim}; wanted as many basis rows, or 3 for each vertex and no basis"
            )
        if not 0 < self.fps <= FASTEST:
            raise ValueError(f"fps must be positive and at most {FASTEST}, got {self.fps}")


class MeshNetwork(nn.Module):
    """Speech (B, N) and a face at rest -> its vertices (B, T, V, 3), in the unit and axes of training."""

    basis: Tensor | None
    mean: Tensor | None

    def __init__(
        self,
        config: MeshNetworkConfig,
        *,
        basis: Tensor | None = None,
        mean: Tensor | None = None,
        templates: Templates | None = None,
    ) -> None:
        """`basis` (R, V, 3), orthogonal rows, and `mean` (V, 3): where the config has a basis.

        Raises ValueError if parts do not fit.
        """
        super().__init__()
        self.config, self.templates = config, templates or Templates()
        self.family: Any = family(config.model).of_config(config.family)
        self.audio_encoder: Any = load_speech_encoder(config.speech)
        self.emotion_encoder: Any = None if config.emotion is None else load_speech_encoder(config.emotion)
        self.rate = None if config.rate is None else RateRule.from_dict(dict(config.rate))
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)
        self._check()

    def _check(self) -> None:
        family = self.config.family
        if self.audio_encoder.dim != family.audio_dim:
            raise ValueError(f"the speech encoder is {self.audio_encoder.dim} wide, the model takes {family.audio_dim}")
        given = self.audio_encoder.steps_per_frame if self.rate is None else self.rate.steps_per_frame
        if given != family.steps_per_frame:
            raise ValueError(
                f"the speech encoder gives {given} steps a frame, the model wants {family.steps_per_frame}"
            )
        rows = 0 if self.basis is None else len(self.basis)
        if rows != self.config.basis:
            raise ValueError(f"the config has a basis of {self.config.basis} rows, {rows} were given")

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.config.fps

    @property
    def num_vertices(self) -> int:
        """V; 0 for a model of rig controls."""
        if self.config.controls:
            return 0
        return self.config.family.motion_dim // 3 if self.basis is None else self.basis.shape[1]

    def frames(self, samples: int, *, reference: bool = False) -> int:
        """T for N samples of audio at 16 kHz; `reference`: as FaceDiffuser's own script counts, one less."""
        steps, per_frame = self.audio_encoder.steps(samples), self.config.family.steps_per_frame
        if self.rate is None:
            return steps // per_frame
        frames = self.rate.steps(steps) // per_frame
        if not reference:
            return frames
        asked = max(int(samples / SAMPLE_RATE * self.fps) - 1, 0)
        return min(frames, asked) if self.rate.kind == "pairs" else asked

    # -- style

    def style_weights(self, style: str | Mapping[str, float]) -> Tensor:
        """(N,) weights of a speaker or of a mixture; they may be negative or above 1. Raises InputError for no name."""
        mixture = {style: 1.0} if isinstance(style, str) else style
        unknown = [name for name in mixture if name not in self.config.subjects]
        if unknown:
            raise InputError(f"no speaker named {', '.join(unknown)}; known: {', '.join(self.config.subjects)}")
        like = self._like
        weights = [float(mixture.get(name, 0.0)) for name in self.config.subjects]
        return torch.tensor(weights, dtype=like.dtype, device=like.device)

    def style(self, style: StyleLike | None) -> Tensor:
        """The style embedding (D,) or (B, D). Embeddings are plain vectors: mix and extrapolate them by arithmetic.

        None is nobody's: PTalker's for speakers it has not seen. Raises InputError where a name is needed.
        """
        if isinstance(style, Style):
            if style.model not in ("", self.config.model):
                raise InputError(f"style {style.name!r} is of a {style.model}, this model is a {self.config.model}")
            style = torch.from_numpy(np.array(style.motion, np.float32))
        if isinstance(style, Tensor):
            if style.shape[-1] != self.config.family.width or style.ndim not in (1, 2):
                raise InputError(
                    f"a style embedding of this model is ({self.config.family.width},), got {tuple(style.shape)}"
                )
            return style.to(self._like)
        with torch.no_grad():
            if style is not None:
                return self.family.style_embedding(self.style_weights(style)[None])[0]
            if not self.config.family.subjects:
                return self.family.style_embedding(self._like.new_zeros(1, 0))[0]
            if self.emotion_encoder is None:
                raise InputError(f"name whose style to speak in: {', '.join(self.config.subjects)}")
            return self.family.style_embedding()[0]

    def mix(self, first: StyleLike, second: StyleLike, amount: float) -> Tensor:
        """The embedding of `first` moved towards `second`: 0 is the first, 1 the second, beyond 1 exaggerates."""
        a, b = self.style(first), self.style(second)
        return a + amount * (b - a)

    def style_of_motion(self, vertices: Tensor, neutral: Tensor) -> Tensor:
        """PTalker's embedding of a reference clip: vertices (T, V, 3), neutral (V, 3) -> (D,). InputError elsewhere."""
        if self.emotion_encoder is None:
            raise InputError(f"{self.config.model} reads no style from motion; fit an embedding to the clip instead")
        check_face(neutral, self.num_vertices)
        if vertices.ndim != 3 or not len(vertices) or vertices.shape[1:] != neutral.shape:
            raise InputError(f"a clip of this face is (T, {self.num_vertices}, 3), got {tuple(vertices.shape)}")
        with torch.no_grad():
            return self.family.style_embedding(reference_motion=self.encode((vertices - neutral).to(self._like)[None]))[
                0
            ]

    def add_voice_style(
        self, embedding: Tensor, audio: Tensor, steps: Tensor | None = None, *, window_s: float | None = None
    ) -> Tensor:
        """Embeddings (D,) or (B, D) with the style of the voice in the audio (B, N) added, where the family has one.

        steps (B,): how many of the second encoder's are real.
        """
        if self.emotion_encoder is None:
            return embedding
        with torch.no_grad():
            emotion = self.emotion_encoder(audio.to(self._like), window_s=window_s)
            real = None if steps is None else torch.arange(emotion.shape[1], device=audio.device) < steps[:, None]
            added = self.family.voice_style(emotion, real)
        return embedding + (added[0] if embedding.ndim == 1 and len(added) == 1 else added)

    def _embeddings(self, style: StyleLike | Sequence[StyleLike] | None, batch: int) -> Tensor:
        if isinstance(style, Sequence) and not isinstance(style, str):
            if len(style) != batch:
                raise InputError(f"{len(style)} styles for {batch} clips; give one for all or one each")
            return torch.stack([self.style(each) for each in style])
        return self.style(style).expand(batch, -1)

    @property
    def _like(self) -> Tensor:
        """A parameter, for device and precision."""
        return next(self.family.parameters())

    # -- motion

    def decode(self, motion: Tensor) -> Tensor:
        """Motion coordinates (..., M) -> displacements (..., V, 3)."""
        if self.basis is None:
            return motion.unflatten(-1, (-1, 3))
        offsets = motion @ self.basis.flatten(1)
        return (offsets if self.mean is None else offsets + self.mean.flatten()).unflatten(-1, (-1, 3))

    def encode(self, offsets: Tensor) -> Tensor:
        """Displacements (..., V, 3) -> the nearest motion coordinates (..., M)."""
        if self.basis is None:
            return offsets.flatten(-2)
        rows = self.basis.flatten(1)  # orthogonal, not always of length 1
        flat = (offsets if self.mean is None else offsets - self.mean).flatten(-2)
        return flat @ rows.T / rows.square().sum(1)

    @torch.no_grad()
    def encode_audio(
        self,
        audio: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        reference: bool = False,
        normalised: bool = False,
        window_s: float | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Audio (B, N) at 16 kHz -> features (B, S, A) at the model's rate, and the frames (B,) of each clip.

        lengths (B,): samples of each; without them all clips are whole and the frames are none. normalised: see
        `generate`. window_s: seconds that a transformer sees at once; none: as published.
        """
        sizes = [audio.shape[1]] * len(audio) if lengths is None else [int(n) for n in lengths]
        own = {"normalised": True} if normalised else {}
        features = self.audio_encoder(audio, lengths=None if lengths is None else sizes, window_s=window_s, **own)
        frames = [self.frames(n, reference=reference) for n in sizes]
        if self.rate is not None:
            clips = [
                change_rate(one[None, : self.audio_encoder.steps(n)], self.rate, count)[0]
                for one, n, count in zip(features, sizes, frames, strict=True)
            ]
            features = nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return features, None if lengths is None else torch.tensor(frames, device=audio.device)

    @torch.no_grad()
    def generate(
        self,
        speech: Tensor,
        neutral: Tensor,
        style: StyleLike | Sequence[StyleLike] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        voice: bool = True,
        reference: bool = False,
        normalised: bool = False,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Vertices (B, T, V, 3) of B clips; frames past the end of a shorter clip are the face at rest.

        speech: audio (B, N) at 16 kHz, or features (B, S, A) at the model's rate. neutral (V, 3) or (B, V, 3). style:
        one for all or one each. lengths (B,): samples of audio, or frames where features are given. voice: PTalker adds
        the style of the voice. reference: decode as the authors' code does, in odd corners too. normalised: the
        audio has zero mean and unit variance already, as the authors' loaders hand it over; doing so twice costs six
        digits. FaceDiffuser alone draws random numbers, from `generator`, and takes `steps` (none: its published
        sampler). Raises InputError for what does not fit, and for a model of rig controls (see `coordinates`).
        """
        if self.config.controls:
            raise InputError(f"this {self.config.model} moves {len(self.config.controls)} rig controls, no vertices")
        check_face(neutral, self.num_vertices)
        motion, frames = self.coordinates(
            speech,
            neutral,
            style,
            lengths=lengths,
            voice=voice,
            reference=reference,
            normalised=normalised,
            steps=steps,
            generator=generator,
        )
        rest = neutral.to(motion).expand(len(motion), -1, -1)
        offsets = self.decode(motion)
        if frames is not None and self.mean is not None:
            real = torch.arange(motion.shape[1], device=motion.device) < frames[:, None]
            offsets = offsets * real[..., None, None]
        return rest[:, None] + offsets

    @torch.no_grad()
    def coordinates(
        self,
        speech: Tensor,
        neutral: Tensor | None = None,
        style: StyleLike | Sequence[StyleLike] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        voice: bool = True,
        reference: bool = False,
        normalised: bool = False,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Motion coordinates or rig controls (B, T, M), and the frames (B,) of each clip where `lengths` are given.

        Arguments and errors as in `generate`; neutral is needed by FaceDiffuser's vertex models alone.
        """
        family, config = self.family, self.config.family
        check_speech(speech, None if speech.ndim == 2 else config.audio_dim)
        speech = speech.to(self._like)
        count = None if lengths is None else torch.as_tensor(lengths, device=speech.device)
        if count is not None:
            most = speech.shape[1] if speech.ndim == 2 else speech.shape[1] // config.steps_per_frame
            if count.shape != speech.shape[:1] or count.min() < 0 or count.max() > most:
                raise InputError(f"lengths {count.tolist()} of {len(speech)} clips, wanted one each, at most {most}")
        features, frames = (
            self.encode_audio(speech, count, reference=reference and self.rate is not None, normalised=normalised)
            if speech.ndim == 2
            else (speech, count)
        )
        if self.emotion_encoder is not None:
            own = {"normalised": True} if normalised else {}
            return self._with_voice(speech, features, style, count, frames, voice, reference, own), frames
        embeddings = self._embeddings(style, len(speech))
        if family.solver_steps:
            own = self._sampling(neutral, len(speech), steps, generator)
            return family.generate(features, embeddings, lengths=frames, **own), frames
        exact = family.reference_options if reference else {}
        return family.generate(features, embeddings, lengths=frames, **exact), frames

    def _sampling(
        self, neutral: Tensor | None, batch: int, steps: int | None, generator: torch.Generator | None
    ) -> dict[str, Any]:
        """FaceDiffuser's own arguments; its vertex models answer the face itself, at rest the template."""
        template = None
        if not self.config.controls and self.basis is None:
            if neutral is None:
                raise InputError("this model needs a face at rest; give the template of its topology")
            template = neutral.to(self._like).expand(batch, -1, -1).flatten(1)
        return {"template": template, "steps": steps, "generator": generator}

    def _with_voice(
        self,
        audio: Tensor,
        features: Tensor,
        style: Any,
        count: Tensor | None,
        frames: Tensor | None,
        voice: bool,
        reference: bool,
        own: dict[str, bool],
    ) -> Tensor:
        """PTalker: the embedding of the speaker plus the style of the voice -> motion (B, T, M)."""
        emotion = steps = None
        if voice and audio.ndim == 2:
            emotion = self.emotion_encoder(audio, lengths=count, **own)
            if count is not None:
                steps = torch.tensor([self.emotion_encoder.steps(int(n)) for n in count], device=audio.device)
        if reference:
            if isinstance(style, Tensor) or emotion is None:
                raise InputError(
                    "decoding as the authors' code does takes audio and a speaker's name or none, no style embedding"
                )
            weights = None if style is None else self.style_weights(style).expand(len(audio), -1)
            return self.family.generate(
                features,
                mode="unseen" if style is None else "seen",
                weights=weights,
                emotion=emotion,
                emotion_lengths=steps,
                lengths=frames,
                reference=True,
            )
        embedding = self._embeddings(style, len(audio))
        if emotion is not None:
            real = None
            if steps is not None:
                real = torch.arange(emotion.shape[1], device=audio.device) < steps[:, None]
            embedding = embedding + self.family.voice_style(emotion, real)
        return self.family.generate(features, embedding, lengths=frames)

    def session(
        self,
        neutral: Tensor,
        style: StyleLike | None,
        *,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> "MeshNetworkSession":
        """Features in pieces, vertices out in pieces, for one clip: the numbers of `generate` (CodeTalker: live)."""
        check_face(neutral, self.num_vertices)
        own = self._sampling(neutral, 1, steps, generator) if self.family.solver_steps else {}
        return MeshNetworkSession(self, self.family.session(self._embeddings(style, 1), **own), neutral.to(self._like))

    def describe(self) -> list[str]:
        """A few lines about it, for people."""
        config, family = self.config, self.config.family
        count = sum(value.numel() for value in self.tensors().values())
        rate, network = config.rate or config.speech["rate"], config.speech["network"]
        moves = f"{len(config.controls)} rig controls" if config.controls else f"{self.num_vertices} vertices"
        clock = f"{family.steps} diffusion steps" if self.family.solver_steps else f"period {family.period}"
        lines = [
            f"{config.model}, {count / 1e6:.1f} M numbers, {moves} at {config.fps:g} fps",
            f"width {family.width}, {family.layers} decoder layers, {clock}",
            f"speech: {network['num_hidden_layers']} layers of {network['hidden_size']}, rate rule {rate['kind']}, "
            f"{rate['steps_per_frame']} step(s) a frame",
            f"speakers: {', '.join(config.subjects) or 'none'}",
        ]
        if not config.controls:
            faces = list(self.templates.neutrals)
            lines.append(f"faces at rest: {', '.join(faces)}" if faces else "no face at rest: give one with --topology")
        return lines

    # -- files

    def tensors(self) -> dict[str, Tensor]:
        """All weights under the names of a checkpoint."""
        parts = {"": self.family, SPEECH: self.audio_encoder, EMOTION: self.emotion_encoder}
        named = {
            f"{prefix}{name}": value
            for prefix, part in parts.items()
            if part is not None
            for name, value in part.state_dict().items()
        }
        return named | {f"{BASIS}{name}": value for name, value in self.named_buffers(recurse=False)}

    def save(self, folder: Path | str, *, half: bool = False) -> Path:
        """Write a checkpoint folder; `half`: large tensors in half precision. Raises InputError if it cannot."""
        config = asdict(self.config)
        del config["model"]
        config["family"] = asdict(self.config.family)
        folder = save_checkpoint(folder, self.config.model, config, self.tensors(), half=half)
        if self.templates.neutrals or len(self.templates.triangles):
            self.templates.save(folder / "topology.npz")
        return folder

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "MeshNetwork":
        """Read a checkpoint folder, in evaluation mode. Raises InputError if it is none or parts do not fit."""
        folder = model_folder(Path(folder))
        config, tensors = load_checkpoint(folder)
        model = model_name(folder)
        templates = Templates.load(folder / "topology.npz") if (folder / "topology.npz").is_file() else None
        with usable(folder):
            sizes = settings(MeshNetworkConfig, {**config, "model": model}, "config")
            return cls.from_tensors(sizes, tensors, source=str(folder), templates=templates)

    @classmethod
    def from_tensors(
        cls,
        config: MeshNetworkConfig,
        tensors: Mapping[str, Tensor],
        *,
        source: str,
        templates: Templates | None = None,
    ) -> "MeshNetwork":
        """Around existing float32 tensors (names as `tensors` gives them), which are not copied; evaluation mode.

        Raises InputError that lists every missing and unexpected name and every shape that differs.
        """
        own = {name.removeprefix(BASIS): value for name, value in tensors.items() if name.startswith(BASIS)}
        try:
            talker = _without_weights(cls, config, own, templates)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{source}: sizes cannot be used: {error}") from error
        wanted = talker.tensors()
        if problems := differences(tensors, wanted):
            raise InputError(f"{source}: {'; '.join(problems)}")
        parts = ((SPEECH, talker.audio_encoder), (EMOTION, talker.emotion_encoder), ("", talker.family))
        rest = {name: value for name, value in tensors.items() if not name.startswith(BASIS)}
        for prefix, part in parts:
            if part is not None:
                mine = {name: value for name, value in rest.items() if name.startswith(prefix)}
                rest = {name: value for name, value in rest.items() if name not in mine}
                state = {name.removeprefix(prefix): value for name, value in mine.items()}
                part.load_state_dict(state, strict=True, assign=True)
        if any(value.is_meta for value in (*talker.parameters(), *talker.buffers())):
            raise AssertionError("a part of the model was not loaded")
        return talker.eval().requires_grad_(False)


class MeshNetworkSession:
    """Vertices as features arrive."""

    def __init__(self, talker: MeshNetwork, session: Any, neutral: Tensor) -> None:
        self._talker, self._session, self._neutral = talker, session, neutral

    def push(self, features: Tensor) -> Tensor:
        """The next n * steps_per_frame features (1, n * w, A) -> the frames that are ready, (n, V, 3).

        Raises InputError for features of another width, of several clips, or that end inside a frame; what was pushed
        before stays.
        """
        sizes = self._talker.config.family
        check_speech(features, sizes.audio_dim)
        if len(features) != 1 or features.shape[1] % sizes.steps_per_frame:
            raise InputError(
                f"push whole frames of one clip: (1, n * {sizes.steps_per_frame}, {sizes.audio_dim}), got "
                f"{tuple(features.shape)}"
            )
        return self._neutral + self._talker.decode(self._session.push(features.to(self._neutral))[0])


def _without_weights(
    cls: type[MeshNetwork], config: MeshNetworkConfig, own: Mapping[str, Tensor], templates: Templates | None
) -> MeshNetwork:
    """The modules without storage, for weights to be put in; but the phonetic encoder brings its own."""
    if any(spec and spec.get("encoder") != "network" for spec in (config.speech, config.emotion)):
        return cls(config, basis=own.get("basis"), mean=own.get("mean"), templates=templates)
    with torch.device("meta"):
        return cls(config, basis=own.get("basis"), mean=own.get("mean"), templates=templates)
