"""Training as the papers do it: whole clips, every vertex of the corpus's own mesh, the paper's own loss and order.

`MotionScheme` learns coordinates of a motion basis on a laptop; here a network maps vertices to features and back by
itself, and the speech network is trained along. A family says its loss; clips, epochs, validation and export are here.
The published trainings take one clip at a time. With more, clips are padded and masked, and the loss is the mean of the
clips' losses. Two exceptions: PTalker's InfoNCE compares the clips of a batch, and CodeTalker's codebook terms are
means over all frames of the batch.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.core import InputError
from parlante.core.plugins import resolve
from parlante.core.ranges import Amount, Count, Share, Whole
from parlante.data.subject_lists import SubjectLists
from parlante.losses import vertex_coordinates
from parlante.models.registry import build, families
from parlante.training.engine.corpora import MESHES
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section
from parlante.training.engine.scheme import Scheme, one_clip, validation_clips
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.cache import StoredClip
from parlante.training.features.mesh_motion import MeshMotion, save_mesh_network
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.schemes.joint_speech import JointSpeechModel, rate_rule

FROM_DATA = ("motion_dim", "audio_dim", "emotion_dim", "subjects", "steps_per_frame", "period")
"""Sizes of a network that the data decides."""
FEW_STEPS = 20
"""Of a solver, where a training only looks at what it has learnt."""

log = logging.getLogger("parlante.training")


@dataclass(frozen=True, kw_only=True)
class MeshCorpusConfig(SubjectLists):
    """Which clips a recipe learns from."""

    corpus: str
    """Any corpus on a mesh of its own: what `parlante prepare` packed, or the published files."""


@dataclass(frozen=True, kw_only=True)
class VertexDataConfig(MeshCorpusConfig):
    """The `data:` part of a recipe."""

    encoder: str
    """Speech network: hub name or local folder of a wav2vec 2.0, HuBERT or WavLM. It is trained along; its convolutions
    stay."""
    frozen_layers: Whole = 0
    """Keep the projection and so many of the first transformer layers of the speech network as they are, too."""


@dataclass(frozen=True, kw_only=True)
class ClipSchemeConfig:
    """The `scheme:` part of a recipe."""

    batch: Count = 1
    """Clips of a batch; all published trainings take one."""
    shuffle: bool = True
    """Another order of the clips in each epoch."""


@dataclass(frozen=True, kw_only=True)
class VertexSchemeConfig(ClipSchemeConfig):
    """The `scheme:` part of a recipe of a family that is predicted from a past."""

    train_on: Literal["predicted", "true_frames"] = "predicted"
    """The past that a frame is predicted from in training: predicted (the model's own frames, autoregression), or
    true_frames (teacher forcing)."""
    validate_on: Literal["predicted", "true_frames"] = "true_frames"
    """The same in validation."""


@dataclass(frozen=True, kw_only=True)
class FinalTestConfig:
    """The `test:` part of a recipe: what the command line does after the training."""

    clips: tuple[str, ...] = ("test_seen", "test_unseen")
    """Whose clips the trained model is judged on: protocols (`parlante evaluate --protocol`) or splits of the corpus,
    each with a report and its predictions as files in `test/` of the run folder; []: no test."""
    videos: bool = True
    """A video with audio of every test clip, too."""


@dataclass(frozen=True, kw_only=True)
class EpochLoopConfig(LoopConfig):
    """The `loop:` part of a recipe that counts epochs."""

    epochs: Count = 100
    """Passes over the training clips."""
    max_steps: Count = 10**9
    """Stop after so many steps of the optimiser, if the epochs are not over before."""
    validate_every: Whole = 0
    """Steps between validations; 0: once an epoch."""
    save_every: Whole = 0
    """Steps between checkpoints; 0: once an epoch."""
    halve_every: Whole = 0
    """Halve the learning rate after every so many epochs; 0: never."""
    weight_decay: Amount | None = None
    """Of AdamW; none: Adam, without."""
    lr: Amount = 1e-4
    """Learning rate."""
    schedule: Literal["cosine", "constant"] = "constant"
    """Of the learning rate, after the warm-up."""
    warmup: Whole = 0
    """Steps in which the learning rate rises."""
    ema: Share = 0.0
    """Decay of the running average of the weights, which is what is validated and exported; 0: the last weights."""
    clip: Amount = 0.0
    """Gradient norm limit; 0 switches it off."""

    def counted(self, clips: int, batch: int) -> "EpochLoopConfig":
        """With steps instead of epochs, for a corpus of so many training clips."""
        epoch = -(-clips // (batch * self.accumulate * self.devices * self.nodes))
        return replace(
            self,
            max_steps=min(self.max_steps, self.epochs * epoch),
            validate_every=self.validate_every or epoch,
            save_every=self.save_every or epoch,
        )


@dataclass(frozen=True, kw_only=True)
class VertexLossConfig:
    """The `loss:` part of a recipe: weights of the terms; 0 leaves a term out."""

    everything: Amount = 1.0
    """Mean squared error of all coordinates."""
    mouth: Amount = 0.0
    """Mean squared error of the coordinates of the mouth."""
    velocity: Amount = 0.0
    """Mean squared error of frame-to-frame differences of all coordinates."""
    mouth_list: str = ""
    """Vertex list of the mouth, by the name that the corpus has for it; empty: the first that it has of lips,
    lip_talkingstyle, lve."""
    mouth_as: Literal["vertices", "coordinates"] = "vertices"
    """What the numbers of the mouth's list count. The authors' code of TalkingStyle and PTalker reads its list of
    vertices as coordinates, and so watches other places of the face: `coordinates` trains as it does."""


class VertexClips(NamedTuple):
    """A batch."""

    motion: Tensor
    """(B, T, 3V) displacements from the faces at rest, in the corpus's unit."""
    audio: Tensor
    """(B, N) at 16 kHz."""
    subjects: Tensor
    """(B,) numbers of the style."""
    lengths: Tensor
    """(B,) frames that count."""
    samples: Tensor
    """(B,) samples of audio that count."""
    neutral: Tensor
    """(B, 3V) faces at rest."""


class EncodedClips(NamedTuple):
    """A batch whose audio is features, cut to the frames that it lasts for."""

    motion: Tensor
    features: Tensor
    """(B, T * steps per frame, A)."""
    style: Tensor
    """(B, N) weights of the training speakers."""
    lengths: Tensor | None
    """(B,) frames that count, or none for all."""
    neutral: Tensor
    audio: Tensor
    samples: Tensor


class VertexScheme(Scheme):
    """A family on the vertices of a corpus's own mesh; a subclass says `terms` and what is special about its speech."""

    network: Any
    voice_encoder: ClassVar[bool] = False
    """Whether a second speech network reads the style of the voice (`data.voice_encoder`)."""
    rate_after_encoder: ClassVar[bool] = False
    """Whether the rate of the features changes after the speech network, not within it."""

    def __init__(
        self, name: str, network: nn.Module, source: MeshMotion, loop: EpochLoopConfig, own: Any, loss: Any
    ) -> None:
        """name: of the family; network: `JointSpeechModel`, or a part of a family that reads no speech."""
        clips = source.clips
        self.training_clips = [clip for clip in clips if clip.split == "train"]
        super().__init__(loop.counted(len(self.training_clips), own.batch))
        self.name, self.network, self.source, self.own, self.loss = name, network, source, own, loss
        self.halve_every = loop.halve_every
        self.weight_decay = loop.weight_decay
        self.subjects = tuple(sorted({clip.subject for clip in self.training_clips}))
        self.held_out = validation_clips(clips, one_clip=loop.one_clip)

    @classmethod
    def check(cls, source: MeshMotion, loss: Any) -> None:
        """Raises InputError where the corpus lacks what the losses look at."""

    @property
    def family(self) -> Any:
        """The network without the speech networks beside it."""
        return self.network.family if isinstance(self.network, JointSpeechModel) else self.network

    # -- the loop

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, or AdamW, with torch's own settings, as all published scripts."""
        if self.weight_decay is None:
            return [torch.optim.Adam(self.groups(), self.loop.lr, fused=True)]
        return [torch.optim.AdamW(self.groups(), self.loop.lr, weight_decay=self.weight_decay, fused=True)]

    def rate(self) -> float:
        """Halved after every `halve_every` epochs."""
        if not self.halve_every:
            return super().rate()
        epoch = self.steps_done * self._per_step // len(self.training_clips)
        return super().rate() * 0.5 ** (epoch // self.halve_every)

    @property
    def _per_step(self) -> int:
        return self.own.batch * self.loop.accumulate * self.loop.devices * self.loop.nodes

    def batch(self, step: int) -> VertexClips:
        """The clips of a step; an epoch's last batch goes on with the next epoch."""
        count = len(self.training_clips)
        chosen = []
        for number in range(step * self.own.batch, (step + 1) * self.own.batch):
            epoch, place = divmod(number, count)
            if self.own.shuffle:
                place = int(np.random.default_rng([self.loop.seed, epoch]).permutation(count)[place])
            chosen.append(self.training_clips[place])
        return self.read(chosen)

    def read(self, clips: list[StoredClip]) -> VertexClips:
        """Whole clips as one batch; subjects that were not trained on get style 0."""
        motion = [torch.from_numpy(self.source.offsets(clip)).flatten(1) for clip in clips]
        audio = [torch.from_numpy(self.source.audio(clip)) for clip in clips]
        numbers = [self.subjects.index(clip.subject) if clip.subject in self.subjects else 0 for clip in clips]
        neutral = [torch.from_numpy(self.source.neutrals[clip.subject]).flatten() for clip in clips]
        return VertexClips(
            nn.utils.rnn.pad_sequence(motion, batch_first=True),
            nn.utils.rnn.pad_sequence(audio, batch_first=True),
            torch.tensor(numbers),
            torch.tensor([len(each) for each in motion]),
            torch.tensor([len(each) for each in audio]),
            torch.stack(neutral),
        )

    # -- losses

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """Named losses of a batch; "loss" is minimised. train: how the past is given in training, or in validation."""
        raise NotImplementedError(f"{type(self).__name__}.terms")

    def losses(self, batch: VertexClips) -> dict[str, Tensor]:
        """Those of the family."""
        return self.terms(self.encoded(batch), train=True)

    def encoded(self, batch: VertexClips) -> EncodedClips:
        """A batch with the features of its speech."""
        features, lasting = self.network.encode_audio(batch.audio, batch.samples, batch.lengths)
        longest = int(lasting.max())
        lengths = None if int(lasting.min()) == longest else lasting
        weights = nn.functional.one_hot(batch.subjects, len(self.subjects)).to(batch.motion)
        return EncodedClips(
            batch.motion[:, :longest], features, weights, lengths, batch.neutral, batch.audio, batch.samples
        )

    def errors(self, made: Tensor, clips: EncodedClips) -> dict[str, Tensor]:
        """Terms of `VertexLossConfig` for predicted displacements (B, T, 3V): means over clips of their own means."""
        own, truth = self.loss, clips.motion
        lengths = [truth.shape[1]] * len(truth) if clips.lengths is None else clips.lengths.tolist()
        pairs = [(made[i, :n], truth[i, :n]) for i, n in enumerate(lengths)]
        found = {}
        if own.everything:
            found["everything"] = _mean(mse_loss(a, b) for a, b in pairs)
        if own.mouth:
            places = self.mouth_numbers()
            places = (places if own.mouth_as == "coordinates" else vertex_coordinates(places)).to(truth.device)
            found["mouth"] = _mean(mse_loss(a[:, places], b[:, places]) for a, b in pairs)
        if own.velocity:
            found["velocity"] = _mean(mse_loss(a.diff(dim=0), b.diff(dim=0)) for a, b in pairs if len(a) > 1)
        total = sum((getattr(own, name) * value for name, value in found.items()), start=truth.new_zeros(()))
        return found | {"loss": total}

    def mouth_numbers(self) -> Tensor:
        """(R,) vertices of the mouth."""
        return torch.from_numpy(mouth_vertices(self.source, self.loss.mouth_list).astype(np.int64))

    # -- validation

    def judged(self) -> list[str]:
        """Keys of all validation clips."""
        return [clip.key for clip in self.held_out]

    def validate(self) -> dict[str, float]:
        """The same terms on the validation clips: in the speaker's own style, or, where the speaker was not trained on,
        in each training style in turn, averaged (as FaceFormer does)."""
        sums: dict[str, float] = {}
        for clip in self.held_out:
            torch.manual_seed(clip.number)  # of a loss that draws
            batch = VertexClips(*(part.to(self.device) for part in self.read([clip])))
            encoded = self.encoded(batch)
            known = clip.subject in self.subjects
            styles = [self.subjects.index(clip.subject)] if known else list(range(len(self.subjects)))
            for style in styles:
                weights = nn.functional.one_hot(torch.tensor([style]), len(self.subjects)).to(encoded.style)
                for name, value in self.terms(encoded._replace(style=weights), train=False).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(styles)
        figures = {name: value / len(self.held_out) for name, value in sums.items()}
        made, truth = self.spoken(self.held_out[0])
        deviations = [float((each - each.mean(0)).square().sum()) for each in (made, truth)]
        spread = (deviations[0] / max(deviations[1], 1e-30)) ** 0.5
        own = {"clips": float(len(self.held_out)), "motion_spread": spread}
        return {"loss": figures.pop("loss"), **figures, **own}

    @torch.no_grad()
    def spoken(self, clip: StoredClip) -> tuple[Tensor, Tensor]:
        """What the model makes of a clip's speech alone, in the speaker's style or the first one, and the truth:
        (T, 3V) each."""
        torch.manual_seed(clip.number)  # of a solver
        encoded = self.encoded(VertexClips(*(part.to(self.device) for part in self.read([clip]))))
        return self.speak(encoded)[0].cpu(), encoded.motion[0].cpu()

    def speak(self, clips: EncodedClips) -> Tensor:
        """Displacements (B, T, 3V) from speech alone; a solver takes few steps."""
        own: dict[str, Any] = {}
        if self.family.solver_steps:
            own = {"template": clips.neutral, "steps": min(self.family.solver_steps, FEW_STEPS)}
        made: Tensor = self.family.generate(clips.features, self.family.style_embedding(clips.style), **own)
        return made

    def sample(self, stem: Path) -> None:
        """The truth and what the model makes of its speech, side by side with the audio."""
        from parlante.training.engine.samples import side_by_side

        clip = self.held_out[0]
        made, truth = (each.unflatten(1, (-1, 3)).numpy() for each in self.spoken(clip))
        identity, audio = self.source.shown(clip)
        if len(identity.topology.triangles):
            side_by_side(stem.with_suffix(".mp4"), identity, [truth, made], audio, fps=self.source.fps)
        else:
            log.warning("no sample: the corpus knows no triangles; prepare it with a template")

    # -- what comes of it

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write a `MeshNetwork` with its speech networks."""
        save_mesh_network(
            folder,
            self.source,
            self.name,
            self.family,
            self.subjects,
            speech=self.network.speech,
            voice=self.network.voice,
            rate=self.network.rate,
        )


class FeedbackScheme(VertexScheme):
    """FaceFormer and TalkingStyle: squared errors of what the model makes of its own past, or of the true one."""

    @classmethod
    def check(cls, source: MeshMotion, loss: VertexLossConfig) -> None:
        """Raises InputError where the corpus has no list of the mouth."""
        if loss.mouth:
            mouth_vertices(source, loss.mouth_list)

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """Errors of all coordinates, the mouth, and frame-to-frame differences."""
        style = self.family.style_embedding(clips.style)
        if (self.own.train_on if train else self.own.validate_on) == "predicted":
            made = self.family.rollout(clips.features, style, clips.lengths)
        else:
            made = self.family(clips.features, clips.motion, style, clips.lengths, reference=True)
        return self.errors(made, clips)


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def mean_of_clips(errors: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over clips of each one's mean of errors (B, T, ...) over its frames: a batch is the mean of its clips."""
    if lengths is None:
        return errors.mean()
    return _mean(each[:count].mean() for each, count in zip(errors, lengths.tolist(), strict=True))


# -- from a recipe to a scheme


def mouth_vertices(source: MeshMotion, name: str) -> NDArray[np.int32]:
    """(R,) numbers of the corpus's mouth list. Raises InputError where it has none of this name, or none at all."""
    regions = source.topology.regions
    names = (name,) if name else ("lips", "lip_talkingstyle", "lve")
    found = next((each for each in names if each in regions), None)
    if found is None:
        raise InputError(
            f"{source.corpus.root} has no vertex list {' or '.join(names)}; it has "
            f"{', '.join(sorted(regions)) or 'none'}: name one as loss.mouth_list, or set loss.mouth=0"
        )
    return np.asarray(regions[found])


@dataclass(frozen=True)
class VertexTraining:
    """What a stage in vertex space is made of."""

    family: str
    scheme: type[VertexScheme]
    about: str
    data: type = VertexDataConfig
    own: type = VertexSchemeConfig
    loss: type = VertexLossConfig
    without: tuple[str, ...] = ()
    """Further fields of the family's config that are no keys."""

    def stage(self) -> Stage:
        """The stage `FAMILY_vertices`."""
        config = resolve(families()[self.family].config)
        return Stage(
            name=f"{self.family}_vertices",
            about=self.about,
            sections={
                "data": Section(self.data),
                "model": Section(config, without=(*FROM_DATA, *self.without)),
                "scheme": Section(self.own),
                "loss": Section(self.loss),
                "loop": Section(EpochLoopConfig),
                "test": Section(FinalTestConfig),
            },
            train=self.train,
            corpora=MESHES.otherwise(f"for SynthTalk there is recipes/{self.family}/small.yaml"),
        )

    def train(self, recipe: Recipe, run_dir: Path) -> VertexScheme:
        """Open the corpus, fetch the speech networks, build the family, train."""
        data, loop = recipe["data"], recipe["loop"]
        source = open_clips(data, loop)
        self.scheme.check(source, recipe["loss"])  # said before anything is fetched
        steps = steps_per_frame(source.fps, self.scheme)
        rule = rate_rule(source.fps, steps)
        speech = speech_network(
            data.encoder, RateRule() if self.scheme.rate_after_encoder else rule, data.frozen_layers
        )
        voice = None
        if self.scheme.voice_encoder:
            voice = speech_network(data.voice_encoder, RateRule(kind="aligned", fps=60.0), 0)
        found = {
            "motion_dim": 3 * source.topology.num_vertices,
            "audio_dim": speech.dim,
            "emotion_dim": None if voice is None else voice.dim,
            "subjects": len({clip.subject for clip in source.clips if clip.split == "train"}),
            "steps_per_frame": steps,
            "period": round(source.fps),
        }
        torch.manual_seed(loop.seed)
        names = {each.name for each in fields(resolve(families()[self.family].config))}
        family = self.build({name: value for name, value in found.items() if name in names}, recipe, source)
        network = JointSpeechModel(family, speech, voice, rate=rule if self.scheme.rate_after_encoder else None)
        return fit(self.scheme(self.family, network, source, loop, recipe["scheme"], recipe["loss"]), run_dir)

    def build(self, found: dict[str, Any], recipe: Recipe, source: MeshMotion) -> nn.Module:
        """The untrained family; found: what the data says of its config."""
        return build(self.family, found | recipe["model"])


def open_clips(data: MeshCorpusConfig, loop: LoopConfig) -> MeshMotion:
    """The training and validation clips of a corpus. Raises InputError where none can be learnt."""
    if loop.threads:
        torch.set_num_threads(loop.threads)
    source = MeshMotion(
        MotionDataConfig(
            corpus=data.corpus,
            train_subjects=data.train_subjects,
            val_subjects=data.val_subjects,
            test_subjects=data.test_subjects,
        )
    )
    if loop.one_clip:
        source.clips = one_clip(source.clips, lambda clip: clip.split == "train")
    return source


def steps_per_frame(fps: float, scheme: type[VertexScheme]) -> int:
    """Speech steps of a frame: two where they fit 50 a second, or where they are resampled afterwards; else one."""
    return 2 if scheme.rate_after_encoder or 2 * fps == 50.0 else 1


def speech_network(name: str, rule: RateRule, frozen_layers: int) -> SpeechEncoder:
    """A speech network to train along: convolutions, and the first layers, stay. Raises InputError, MissingExtra."""
    network = SpeechEncoder.from_hub(name, rule, frozen="convolutions")
    if frozen_layers:
        layers: Any = network.encoder.layers
        if frozen_layers > len(layers):
            raise InputError(f"data.frozen_layers is {frozen_layers}, {name} has {len(layers)} layers")
        network.feature_projection.requires_grad_(False)
        for layer in layers[:frozen_layers]:
            layer.requires_grad_(False)
    return network.train()


def _training(family: str, about: str, **parts: Any) -> Callable[[], Stage]:
    return VertexTraining(family, FeedbackScheme, about, **parts).stage


@dataclass(frozen=True, kw_only=True)
class TalkingStyleLossConfig(VertexLossConfig):
    """The `loss:` part of TalkingStyle's recipes."""

    everything: Amount = 0.4
    """Mean squared error of all coordinates."""
    mouth: Amount = 0.6
    """Mean squared error of the coordinates of the mouth."""


@dataclass(frozen=True, kw_only=True)
class TalkingStyleSchemeConfig(VertexSchemeConfig):
    """The `scheme:` part of TalkingStyle's recipes."""

    shuffle: bool = False
    """Another order of the clips in each epoch."""
    validate_on: Literal["predicted", "true_frames"] = "predicted"
    """The past that a frame is predicted from in validation: predicted, or true_frames."""


faceformer = _training("faceformer", "FaceFormer (CVPR 2022) on the vertices of a corpus's own mesh, as published.")
talkingstyle = _training(
    "talkingstyle",
    "TalkingStyle (TVCG 2024) on the vertices of a corpus's own mesh, as published.",
    own=TalkingStyleSchemeConfig,
    loss=TalkingStyleLossConfig,
)
