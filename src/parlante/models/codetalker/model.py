"""CodeTalker, stage 2: speech to codes of facial motion (Xing et al., "CodeTalker", CVPR 2023, section 3.2).

    memory m = audio_feature_map(speech);   tokens e_0 = s, e_t = E(r_{t-1}) + s
    z = feat_map(decoder(e + positions | m));   codes = nearest(z);   motion = stage 1 decodes the codes

r_t is the last frame of stage 1's decoding of all codes up to t. That decoding is not causal, so what is fed back
differs from the result, which decodes all codes at once. The causal half of the loop is cached exactly;
`incremental_decoder.py` does the other half, exactly or at constant cost. Stage 1 is frozen here. Parameter names are
the authors'.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core import InputError
from parlante.core.ranges import Count, Share
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig, frames_kept
from parlante.models.codetalker.incremental_decoder import IncrementalMotionDecoder
from parlante.models.components.autoregressive_model import AutoregressiveConfig
from parlante.models.components.causal_decoder import periodic_positions, zero_past
from parlante.models.components.incremental_decoder import fuse_feedback, teacher_forcing_tokens
from parlante.models.components.motion_family import MotionFamily

PIECE = 256
"""Frames whose cross-attention is prepared at a time."""


@dataclass(frozen=True, kw_only=True)
class CodeTalkerConfig(AutoregressiveConfig):
    """Sizes; the defaults are those published for VOCASET (wav2vec 2.0 base)."""

    audio_dim: int = 768
    width: Count = 1024
    layers: Count = 6
    autoencoder: MotionAutoencoderConfig = field(default_factory=MotionAutoencoderConfig)
    """Stage 1; a mapping of its fields will do."""
    refresh: Share = 0.25
    """Growth of the clip after which the fed-back decoding is computed anew. 0: at every frame, as released, at a cost
    that grows with the square of the length."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.autoencoder, Mapping):
            object.__setattr__(self, "autoencoder", MotionAutoencoderConfig(**self.autoencoder))
        if self.autoencoder.motion_dim != self.motion_dim:
            raise ValueError(
                f"motion_dim is {self.motion_dim}, in stage 1 {self.autoencoder.motion_dim}; must be equal"
            )
        if self.autoencoder.halvings:
            raise ValueError(f"stage 2 predicts the codes of every frame; halvings must be 0, got {self.autoencoder}")
        if not self.refresh >= 0:
            raise ValueError(f"refresh must be at least 0, got {self.refresh}")

    def resized(self, motion_dim: int) -> "CodeTalkerConfig":
        """The same sizes, of both stages, for motion of so many numbers a frame."""
        return replace(self, motion_dim=motion_dim, autoencoder=replace(self.autoencoder, motion_dim=motion_dim))


class Taught(NamedTuple):
    """One pass of teacher forcing: what the losses compare."""

    motion: Tensor
    """(B, T, M) decoded from the predicted codes; gradients pass the codes straight through."""
    latent: Tensor
    """(B, T, groups * code_dim) predicted, not quantised; causal, unlike `motion`."""
    target: Tensor
    """(B, T, groups * code_dim) codes of the true motion; no gradient."""


class Rolled(NamedTuple):
    """One generated clip."""

    codes: Tensor
    """(B, T, groups) int64."""
    fed_back: Tensor
    """(B, T, C) hidden frames of stage 1 as the loop saw them (`delay` frames later, if any)."""


class CodeTalker(MotionFamily):
    """Motion is the displacement from the template, (B, T, M), in the unit of training."""

    motion_maps = "autoencoder.decoder.vertice_map_reverse", ("vertice_map", "autoencoder.encoder.vertice_mapping.0")
    """As `AutoregressiveModel.motion_maps`."""
    whole_clips = searches_styles = costly = True
    reference_options: ClassVar[Mapping[str, Any]] = {"refresh": 0.0}

    def __init__(self, config: CodeTalkerConfig) -> None:
        super().__init__()
        self.config = c = config
        self.audio_feature_map = nn.Linear(c.audio_dim, c.width)
        self.vertice_map = nn.Linear(c.motion_dim, c.width)
        self.transformer_decoder = c.decoder()
        self.feat_map = nn.Linear(c.width, c.autoencoder.latent_dim, bias=False)
        nn.init.zeros_(self.feat_map.weight)
        self.learnable_style_emb = nn.Embedding(c.subjects, c.width)
        self.autoencoder = MotionAutoencoder(c.autoencoder).requires_grad_(False)

    def style_embedding(self, weights: Tensor) -> Tensor:
        """Style of a speaker (one-hot) or a mixture of speakers, linear: weights (B, N) -> (B, D)."""
        return weights @ self.learnable_style_emb.weight

    def latent(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        *,
        reference: bool = False,
    ) -> Tensor:
        """Each frame before quantisation, from the true frames before it: (B, min(T, S // w), groups * code_dim).

        features (B, S, A); motion (B, T, M); style (B, D). `reference`: the first token is E(0) + s as in the authors'
        training, where their generation starts from s alone; ours starts from s in both.
        """
        frames = min(motion.shape[1], self.transformer_decoder.frames_covered(features.shape[1]))
        tokens = teacher_forcing_tokens(
            self.vertice_map, motion, style, frames, self.config.period, reference=reference
        )
        tokens = F.dropout(tokens, self.config.dropout, self.training)
        return self.feat_map(self.transformer_decoder(tokens, self.audio_feature_map(features)))

    def forward(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        lengths: Tensor | None = None,
        *,
        reference: bool = False,
    ) -> Tensor:
        """Teacher forcing, decoded: (B, min(T, S // w), M), zero past `lengths` (B,) frames. See `latent`.

        Stage 1 lets every frame act on every other, so frame t of the result sees later true frames through their
        codes; `latent` is what is causal. Raises InputError for clips of one frame.
        """
        return self._decode(self.latent(features, motion, style, reference=reference), lengths)

    def teach(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        lengths: Tensor | None = None,
        *,
        past: Tensor | None = None,
        reference: bool = False,
    ) -> Taught:
        """`forward` with all that `talker_loss` needs. past (B, T, M): stands for the true frames before each one."""
        latent = self.latent(features, motion if past is None else past, style, reference=reference)
        with torch.no_grad():
            target = self.autoencoder.quantise(self.autoencoder.encode(motion[:, : latent.shape[1]], lengths)).latent
        return Taught(self._decode(latent, lengths), latent, target)

    @torch.no_grad()
    def generate(
        self,
        features: Tensor,
        style: Tensor,
        *,
        lengths: Tensor | None = None,
        refresh: float | None = None,
        live: bool = False,
        delay: int = 0,
    ) -> Tensor:
        """Motion for speech of any length: features (B, S, A), style (B, D), lengths (B,) frames -> (B, S // w, M).

        refresh: see the config; 0 gives the released numbers. live: the frames that a `session` of the same `delay`
        yields, instead of decoding all codes at the end. Raises InputError for clips of one frame (unless live).
        """
        rolled = self.roll(features, style, lengths=lengths, refresh=refresh, delay=delay)
        if not live:
            return self._decode(self.autoencoder.quantize.vectors(rolled.codes), lengths)
        motion = self.autoencoder.decoder.vertice_map_reverse(rolled.fed_back)
        return motion if lengths is None else zero_past(motion, lengths)

    @torch.no_grad()
    def roll(
        self,
        features: Tensor,
        style: Tensor,
        *,
        lengths: Tensor | None = None,
        refresh: float | None = None,
        delay: int = 0,
    ) -> Rolled:
        """The loop alone: codes of all frames and what was fed back. Arguments as in `generate`."""
        rollout = CodeRollout(self, style, self.config.refresh if refresh is None else refresh, delay)
        frames = self.transformer_decoder.frames_covered(features.shape[1])
        codes = torch.zeros(
            len(features), frames, self.config.autoencoder.groups, dtype=torch.long, device=style.device
        )
        shown = style.new_zeros(len(features), frames, self.config.autoencoder.width)
        for t, (new, tail) in enumerate(rollout.advance(self.audio_feature_map(features))):
            codes[:, t] = new
            place = slice(t + 1 - tail.shape[1], t + 1)
            if lengths is not None:  # an item that has ended keeps what it was shown then
                tail = torch.where((lengths > t)[:, None, None], tail, shown[:, place])
            shown[:, place] = tail
        return Rolled(codes, shown)

    @torch.no_grad()
    def session(self, style: Tensor, *, refresh: float | None = None, delay: int = 0) -> "CodeSession":
        """Motion piece by piece; the numbers of `generate(..., live=True)`. style (B, D).

        delay: frames by which the answer lags behind, so that it has seen what follows it (2 covers the decoder's
        convolution).
        """
        return CodeSession(self, style, self.config.refresh if refresh is None else refresh, delay)

    def _decode(self, latent: Tensor, lengths: Tensor | None) -> Tensor:
        motion = self.autoencoder.decode(self.autoencoder.quantise(latent, lengths).latent, lengths)
        return motion if lengths is None else zero_past(motion, lengths)


class CodeRollout:
    """The autoregressive loop; one step costs the width of the model, never that of the mesh."""

    def __init__(self, model: CodeTalker, style: Tensor, refresh: float, delay: int) -> None:
        if delay < 0:
            raise ValueError(f"delay must be at least 0, got {delay}")
        self.model, self.style, self.token = model, style, style
        stage = model.autoencoder.decoder
        self.cache = model.transformer_decoder.start(len(style))
        self.matrix, self.offset = fuse_feedback(stage.vertice_map_reverse, model.vertice_map)
        self.motion_decoder = IncrementalMotionDecoder(stage, refresh=refresh, tail=delay + 1)

    def advance(self, memory: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each frame that memory (B, S, D) covers: its codes (B, groups), and the decoded tail (B, n, C)."""
        piece = PIECE * self.model.config.steps_per_frame
        for first in range(0, memory.shape[1], piece):
            yield from self._advance(memory[:, first : first + piece])

    def _advance(self, memory: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        decoder, quantizer = self.model.transformer_decoder, self.model.autoencoder.quantize
        encoded = decoder.encode_memory(memory)
        positions = periodic_positions(self.cache.length, encoded.num_frames, decoder.width, decoder.period).to(
            self.style
        )
        for t in range(encoded.num_frames):
            hidden = decoder.step(self.token + positions[t], encoded, t, self.cache)
            codes = quantizer.nearest_codes(self.model.feat_map(hidden))
            tail = self.motion_decoder.push(quantizer.vectors(codes))
            self.token = F.linear(tail[:, -1], self.matrix, self.offset) + self.style
            yield codes, tail


class CodeSession:
    """Speech in pieces, motion out in pieces, `delay` frames late."""

    def __init__(self, model: CodeTalker, style: Tensor, refresh: float, delay: int) -> None:
        self.model, self.delay = model, delay
        self._rollout = CodeRollout(model, style, refresh, delay)
        self._rest = style.new_zeros(len(style), 0, model.config.autoencoder.width)

    @torch.no_grad()
    def push(self, features: Tensor) -> Tensor:
        """The next n * steps_per_frame feature steps (B, n * w, A) -> the frames (B, n, M) that are ready.

        The first `delay` frames pushed give no answer; `finish` gives as many. Raises ValueError if uneven.
        """
        steps = self.model.config.steps_per_frame
        if features.shape[1] % steps:
            raise ValueError(f"push whole frames: {steps} feature steps each, got {features.shape[1]} steps")
        ready = [self._rest[:, :0]]
        for _, tail in self._rollout.advance(self.model.audio_feature_map(features)):
            done = max(0, tail.shape[1] - self.delay)  # 1 once there are that many frames
            ready.append(tail[:, :done])
            self._rest = tail[:, done:]
        return self._show(torch.cat(ready, 1))

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The last frames (B, <= delay, M), when no more speech follows."""
        rest, self._rest = self._rest, self._rest[:, :0]
        return self._show(rest)

    def _show(self, hidden: Tensor) -> Tensor:
        return self.model.autoencoder.decoder.vertice_map_reverse(hidden)


def talker_loss(taught: Taught, motion: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(motion term, code term) of CodeTalker's eq. 7, both of weight 1 in the paper's code; means over the true frames.

    mean (decoded - true motion)^2 and mean (latent - codes of the true motion)^2. motion (B, T, M) may be longer than
    what was taught. Raises InputError where no frame is left.
    """
    frames = taught.motion.shape[1]
    if not frames:
        raise InputError("no frame to learn from: the speech is shorter than one frame; give a longer clip")
    moved = (taught.motion - motion[:, :frames]).square()
    coded = (taught.latent - taught.target).square()
    kept = frames_kept(lengths, frames)
    return (moved.mean(), coded.mean()) if kept is None else (moved[kept].mean(), coded[kept].mean())
