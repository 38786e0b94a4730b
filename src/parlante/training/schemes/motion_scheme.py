"""What the trainings of the small models share: stretches of prepared motion, teacher forcing, errors, validation.

The published losses are squared errors of vertices, which an orthonormal basis turns into squared errors of
coordinates; the lips count extra through the basis's rows of the lips, and so do frame-to-frame differences.

What is ours: stretches of clips laid end to end; parallel scheduled sampling (Mihaylova & Martins 2019), in which a
growing share of the past is the model's own prediction, and noise on the rest, so that running free is no surprise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import InputError
from parlante.core.ranges import Amount, Count, Positive, Range, Share
from parlante.losses import masked_mse
from parlante.models.components.padding import real_frames
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.scheme import Scheme, validation_clips
from parlante.training.features.cache import StoredClip
from parlante.training.features.motion_data import TrainedMotion
from parlante.training.features.motion_store import MotionStore
from parlante.training.features.speech_features import GRID
from parlante.training.schemes.joint_speech import JointSpeechModel


@dataclass(frozen=True, kw_only=True)
class MotionSchemeConfig:
    """The `scheme:` part of a recipe."""

    batch: Count = 8
    """Stretches, or whole clips, of a batch."""
    frames: Annotated[int, Range(2)] = 120
    """Length of a stretch."""
    whole: bool = False
    """Batches of whole clips, padded and masked, as in the published trainings, instead of stretches."""
    frame_offsets: tuple[int, ...] = (-6, -3, -1, 0, 1, 3, 6, 10)
    """Where features are read around a frame, in half frames."""
    lips: Amount = 1.0
    """Weight of the lips' squared error over their variance."""
    velocity: Amount = 1.0
    """Weight of the squared errors of frame-to-frame differences, over the variance of these."""
    scheduled_sampling: Share = 0.8
    """Largest share of the past that is the model's own prediction."""
    ramp: Share = 0.5
    """The share grows over this part of the training."""
    noise: Amount = 0.1
    """Deviation of the noise on the past, in deviations of the motion."""
    clean_share: Share = 0.3
    """Share of clips whose audio is not augmented."""
    speech_lr: Positive | None = None
    """Learning rate of a speech network that is trained along (`data.finetune`); none: `loop.lr`. To train the speech
    network not at all, leave out `data.finetune`."""
    check_clips: Count = 32
    """Validation clips, at most."""


class Stretches(NamedTuple):
    """A batch."""

    motion: Tensor
    """(B, T, R)."""
    features: Tensor
    """(B, T, A), or audio (B, N) for a network that is trained along."""
    subjects: Tensor
    """(B,) numbers."""
    lengths: Tensor | None = None
    """(B,) frames that count, or none for all."""
    samples: Tensor | None = None
    """(B,) samples of audio that count; none: it is encoded already."""


class MotionScheme(Scheme):
    """A family with `forward(features, motion, style)`, `style_embedding(weights)`, `generate(features, style)`."""

    voice_encoder = False
    """Whether the family reads the style of the voice from a second speech encoder."""
    network: Any
    lips: Tensor
    scale: Tensor

    def __init__(
        self,
        name: str,
        model: nn.Module,
        store: MotionStore,
        loop: LoopConfig,
        own: MotionSchemeConfig,
        speech: SpeechEncoder | None = None,
    ) -> None:
        """name: of the family, `model` its network. `speech` is trained along, from the audio that the store holds."""
        super().__init__(loop)
        self.name = name
        self.network = model if speech is None else JointSpeechModel(model, speech)
        self.store, self.own = store, own
        self.names = store.subjects()
        self.streams: list[NDArray[np.int64]] = []
        for name in self.names:
            spans = [(c.start, c.frames) for c in store.clips if c.subject == name and c.split == "train"]
            self.streams.append(np.array(spans))
        if not self.names:
            raise InputError("the corpus has no training clips; write a larger one")
        self.held_out()  # so that a corpus without any is named before the training
        self.lengths = np.array([spans[:, 1].sum() for spans in self.streams], float)
        part = torch.from_numpy(store.lips())
        sample = torch.from_numpy(np.concatenate([store.motion[s : s + n] for spans in self.streams for s, n in spans]))
        steps = sample.diff(dim=0)
        self.register_buffer("lips", part, persistent=False)

        def spread(x: Tensor) -> float:
            return float((x - x.mean(0)).square().mean())

        few = slice(None, None, 7 if len(sample) > 700 else 1)
        variances = [spread(sample), spread(steps), spread(sample[few] @ part), spread(steps[few] @ part)]
        self.register_buffer("scale", torch.tensor(variances), persistent=False)

    @property
    def family(self) -> Any:
        """The network without the speech network beside it."""
        return self.network.family if isinstance(self.network, JointSpeechModel) else self.network

    def groups(self) -> list[dict[str, Any]]:
        """A speech network that is trained along has a learning rate of its own."""
        if not isinstance(self.network, JointSpeechModel):
            return super().groups()
        share = 1.0 if self.own.speech_lr is None else self.own.speech_lr / self.loop.lr
        parts = ((self.network.family, 1.0), (self.network.speech, share))
        return [{"params": [p for p in part.parameters() if p.requires_grad], "share": share} for part, share in parts]

    # -- data

    def _stretch(self, rng: np.random.Generator) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """(subject, frame numbers (T,), view of each): clips of one subject end to end."""
        subject = int(rng.choice(len(self.names), p=self.lengths / self.lengths.sum()))
        frames: list[NDArray[np.int64]] = []
        views: list[NDArray[np.int64]] = []
        total = 0
        while total < self.own.frames:
            start, count = self.streams[subject][rng.integers(len(self.streams[subject]))]
            skip = 0 if total or rng.random() < 0.4 else int(rng.integers(count))
            frames.append(np.arange(start + skip, start + count))
            views.append(np.full(count - skip, self._view(rng)))
            total += int(count - skip)
        return subject, np.concatenate(frames)[: self.own.frames], np.concatenate(views)[: self.own.frames]

    def _view(self, rng: np.random.Generator) -> int:
        """Number of a random view of a clip's audio; 0 is the clean one."""
        augmented = self.store.config.num_augmentations
        clean = augmented == 0 or rng.random() < self.own.clean_share
        return 0 if clean else int(rng.integers(1, augmented + 1))

    def batch(self, step: int) -> Stretches:
        """Stretches of `batch` random subjects, or whole clips."""
        rng = np.random.default_rng([self.loop.seed, step])
        if self.own.whole or self.store.audio is not None:
            return self._clips(rng)
        subjects, frames, views = zip(*(self._stretch(rng) for _ in range(self.own.batch)), strict=True)
        at = np.stack(frames)
        return Stretches(
            torch.from_numpy(self.store.motion[at]),
            torch.from_numpy(self.store.features_at(at, np.stack(views), self.own.frame_offsets)),
            torch.tensor(subjects),
        )

    def _clips(self, rng: np.random.Generator) -> Stretches:
        """Random training clips, whole or a stretch of each, padded with their last frames."""
        spans = np.concatenate(self.streams)
        owner = np.repeat(np.arange(len(self.streams)), [len(stream) for stream in self.streams])
        chosen = rng.integers(len(spans), size=self.own.batch)
        lengths = spans[chosen, 1] if self.own.whole else spans[chosen, 1].clip(max=self.own.frames)
        joint = self.store.audio is not None
        motion, inputs = [], []
        for (start, every), count in zip(spans[chosen], lengths, strict=True):
            at = start + np.arange(count) + (rng.integers(every - count + 1) if count < every else 0)
            view = self._view(rng)
            padded = np.minimum(np.arange(lengths.max()), count - 1)
            motion.append(self.store.motion[at[padded]])
            if joint:
                inputs.append(torch.from_numpy(self.store.audio_at(at, view)))
            else:
                features = self.store.features_at(at, np.full_like(at, view), self.own.frame_offsets)
                inputs.append(torch.from_numpy(features[padded]))
        return Stretches(
            torch.from_numpy(np.stack(motion)),
            nn.utils.rnn.pad_sequence(inputs, batch_first=True),
            torch.from_numpy(owner[chosen]),
            torch.from_numpy(lengths),
            torch.tensor([len(each) for each in inputs]) if joint else None,
        )

    def encoded(self, batch: Stretches) -> Stretches:
        """A batch of audio as one of features, cut to the frames that they last for."""
        if batch.samples is None:
            return batch
        assert batch.lengths is not None
        features, lengths = self.network.encode_audio(batch.features, batch.samples, batch.lengths)
        return Stretches(batch.motion[:, : int(lengths.max())], features, batch.subjects, lengths)

    # -- losses

    def codes(self, subjects: Tensor, features: Tensor) -> Tensor:
        """(B, D) codes of subjects (B,)."""
        return self.family.style_embedding(nn.functional.one_hot(subjects, len(self.names)).to(features))

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """Teacher forcing on a past that is partly the model's own."""
        model, batch = self.family, self.encoded(batch)
        code = self.codes(batch.subjects, batch.features)
        share = self.share()
        past = batch.motion
        if share > 0:
            with torch.no_grad():
                guess = model(batch.features, past, code, lengths=batch.lengths)
            own_frames = torch.rand(*past.shape[:2], 1, device=past.device) < share
            past = torch.where(own_frames, guess, past)
        made = model(batch.features, self.blurred(past), code, lengths=batch.lengths)
        return self.judge(made, batch.motion, batch.lengths)

    def share(self) -> float:
        """Share of the past that is the model's own, at this step."""
        return self.own.scheduled_sampling * min(1.0, self.progress / max(self.own.ramp, 1e-6))

    def blurred(self, past: Tensor) -> Tensor:
        """The past (B, T, R) with noise, of another strength in each item."""
        amount = self.own.noise * self.scale[0].sqrt() * torch.rand(len(past), 1, 1, device=past.device)
        return past + amount * torch.randn_like(past)

    def judge(self, made: Tensor, truth: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """Losses of predicted coordinates (B, T, R), each relative to the variance of what it judges; frames past
        `lengths` (B,) do not count. In full precision."""
        kept = None if lengths is None else real_frames(truth.shape[1], lengths).to(truth)
        with torch.autocast(truth.device.type, enabled=False):
            error = made.float() - truth
            change = error.diff(dim=1)
            parts = (error, change, error @ self.lips, change @ self.lips)
            position, velocity, lips, lip_velocity = (
                mean_square(part, kept) / scale for part, scale in zip(parts, self.scale, strict=True)
            )
        own = self.own
        total = position + own.lips * lips + own.velocity * (velocity + own.lips * lip_velocity)
        return {"position": position, "velocity": velocity, "lips": lips, "lip_velocity": lip_velocity, "loss": total}

    # -- what comes of it

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write a checkpoint folder: a talker of the embedded head, or of the corpus's own mesh."""
        store = self.store
        trained = TrainedMotion(
            family=self.name,
            network=self.family,
            basis=store.basis,
            subjects=self.names,
            frame_offsets=tuple(offset / (GRID * store.fps) for offset in self.own.frame_offsets),
            speech=self.network.speech if isinstance(self.network, JointSpeechModel) else None,
            voice_encoder=self.voice_encoder,
        )
        store.source.export(trained, folder)

    # -- validation

    def validate(self) -> dict[str, float]:
        """Free-running on validation clips: worst lip vertex, mean over frames; beside the mean face's. In millimetres
        as `lip_mm`; of meshes that are not in metres in their own unit, as `lip_error`.

        Subjects that were not trained on are spoken in every training style, and all of these count alike, as in
        FaceFormer's validation.
        """
        error, still, frames, moves = 0.0, 0.0, 0, [0.0, 0.0]
        for clip, style, motion in self.spoken(self.chosen()):
            truth = self.truth(clip)
            mean = self.mean_motion(style)
            error += float(lip_error(motion, truth, self.lips.cpu()).sum())
            still += float(lip_error(mean, truth, self.lips.cpu()).sum())
            frames += len(truth)
            for number, each in enumerate((motion, truth)):
                moves[number] += float((each - each.mean(0)).square().sum())
        spread = (moves[0] / max(moves[1], 1e-12)) ** 0.5
        name, scale = ("lip_mm", 1.0) if self.store.source.unit == "m" else ("lip_error", 1e-3)
        own = {name: scale * error / frames, f"{name}_mean_face": scale * still / frames}
        return own | {"motion_spread": spread}

    def held_out(self) -> list[StoredClip]:
        """Validation clips, see `validation_clips`."""
        return validation_clips(self.store.clips, one_clip=self.loop.one_clip)

    def chosen(self) -> list[StoredClip]:
        """At most `check_clips` of them, spread evenly."""
        clips = self.held_out()
        return clips[:: max(1, len(clips) // self.own.check_clips)][: self.own.check_clips]

    def judged(self) -> list[str]:
        """Names of the clips that `validate` judges."""
        return [clip.key for clip in self.chosen()]

    def spoken(self, clips: list[StoredClip]) -> Iterator[tuple[StoredClip, str, Tensor]]:
        """Clips, styles and what the model makes of them (T, R): a seen subject's clip in its own style, an unseen
        one's in every training style."""
        seen = [clip for clip in clips if clip.subject in self.names]
        unseen = [clip for clip in clips if clip.subject not in self.names]
        if seen:
            yield from zip(seen, [clip.subject for clip in seen], self.generate(seen), strict=True)
        for style in self.names if unseen else ():
            made = self.generate(unseen, styles=[style] * len(unseen))
            yield from zip(unseen, [style] * len(unseen), made, strict=True)

    def truth(self, clip: StoredClip) -> Tensor:
        """(T, R) coordinates of a clip."""
        return torch.from_numpy(self.store.motion[clip.span])

    def sample(self, stem: Path) -> None:
        """The truth and what the model makes of it, side by side with their audio."""
        from parlante.training.engine.samples import side_by_side

        clip = self.held_out()[0]
        basis = self.store.basis
        motions = [basis.decode(each.numpy()) for each in (self.truth(clip), next(self.spoken([clip]))[2])]
        identity, audio = self.store.source.shown(clip)
        if len(identity.topology.triangles):
            side_by_side(stem.with_suffix(".mp4"), identity, motions, audio, fps=self.store.fps)

    def mean_motion(self, subject: str) -> Tensor:
        """(R,) mean over the subject's training clips; those of all for a subject that has none."""
        spans = self.streams[self.names.index(subject)] if subject in self.names else np.concatenate(self.streams)
        return torch.from_numpy(np.concatenate([self.store.motion[s : s + n] for s, n in spans]).mean(0))

    def generate(
        self, clips: list[StoredClip], codes: Tensor | None = None, styles: Sequence[str] | None = None
    ) -> list[Tensor]:
        """What the model makes of clips' clean audio, in the styles of training subjects (none: the clips' own), or
        with codes (B, D): (T, R) each."""
        device = self.lips.device
        inputs = []
        for clip in clips:
            at = np.arange(clip.start, clip.start + clip.frames)
            if isinstance(self.network, JointSpeechModel):
                audio = torch.from_numpy(self.store.audio_at(at, 0)).to(device)
                inputs.append(self.network.encode_clip(audio, clip.frames))
            else:
                kept = self.store.features_at(at, np.zeros_like(at), self.own.frame_offsets)
                inputs.append(torch.from_numpy(kept))
        lengths = torch.tensor([clip.frames for clip in clips])
        features = nn.utils.rnn.pad_sequence(inputs, batch_first=True).to(device)
        if codes is None:
            spoken = [clip.subject for clip in clips] if styles is None else styles
            codes = self.codes(torch.tensor([self.names.index(name) for name in spoken], device=device), features)
        with torch.inference_mode():
            made = self.family.generate(features, codes, lengths=lengths.to(device))
        return [motion[:n].cpu() for motion, n in zip(made, lengths.tolist(), strict=True)]


def mean_square(error: Tensor, kept: Tensor | None) -> Tensor:
    """Mean of squares of (B, T, N) over the frames that `kept` (B, T or T + 1) marks with 1; the latter of
    frame-to-frame differences, which count where their second frame does."""
    if kept is None:
        return error.square().mean()
    return masked_mse(error, torch.zeros_like(error), kept[:, -error.shape[1] :])


def lip_error(made: Tensor, truth: Tensor, lips: Tensor) -> Tensor:
    """(T,) distance of the worst lip vertex, mm, of coordinates (T, R) or (R,) from (T, R); lips (R, 3 n)."""
    return ((made - truth) @ lips).unflatten(-1, (-1, 3)).norm(dim=-1).amax(-1)
