"""FaceDiffuser (Stan, Haque & Yumak, MIG 2023): a recurrent network that denoises a whole clip of face motion.

    [ W_a speech | pool(conv(W_x x_t)) | mish(time_t) ] -> layer norm -> GRU -> * style -> linear + template = x_0

x_t are noisy *absolute* coordinates and the network answers the clean ones. Names are those of the released vertex
checkpoints. Switches of the config give the rig variants: no projections, no style, sinusoid time, more layers.

Sampling here never touches the mesh. A step is x' = a x_0 + b x + c z and the network reads only P x (P: the input
projection), so P x is what is carried from step to step; P z is drawn with covariance P P^T; vertices are decoded once.
And since the GRU looks back only, frame f at step s needs frame f at step s - 1 and frame f - 1 at step s: all (f, s)
with equal f + s are computed together, which also lets a clip be sampled in pieces (`session`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core.ranges import Count, Positive, Share
from parlante.models.components.causal_decoder import zero_past
from parlante.models.components.motion_family import MotionFamily

CHUNK = 64  # frames sampled together; bounds the memory that recorded noise takes


@dataclass(frozen=True, kw_only=True)
class FaceDiffuserConfig:
    """Sizes; the defaults are those of the published VOCASET model, without its mesh."""

    motion_dim: int
    """Coordinates per frame: 3V, or the number of rig controls."""
    audio_dim: int = 768
    width: Count = 256
    """GRU width h; 512 in the published BIWI model."""
    subjects: int = 8
    """Training speakers; 0: no style vector."""
    layers: Count = 2
    """GRU layers."""
    steps: Count = 1000
    """Diffusion steps."""
    steps_per_frame: Count = 2
    """Speech features that belong to a frame, concatenated."""
    dropout: Share = 0.3
    """Between GRU layers, in training."""
    kernel: Count = 9
    """Taps of the convolution along the projected coordinates."""
    projected: bool = True
    """Speech and motion are projected to h numbers each; False: both enter as they are (rigs)."""
    time: str = "table"
    """`table`: a learnt row per step, then Mish. `sinusoid`: sinusoid, linear, SiLU, linear."""
    normalise: bool = True
    """Layer norm over the GRU's input."""
    sample_steps: Count | None = None
    """Transitions of `few_steps` where generation is not asked otherwise; none: the published sampler."""

    unit: Positive = 1.0
    """Inside, coordinates are counted in this unit, beside noise of variance 1; published: the mesh's own."""

    def __post_init__(self) -> None:
        if not self.unit > 0:
            raise ValueError(f"unit must be positive, got {self.unit}")
        if self.time not in ("table", "sinusoid"):
            raise ValueError(f"time must be table or sinusoid, got {self.time!r}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")

    @property
    def token_dim(self) -> int:
        """Width of the GRU's input."""
        speech = self.audio_dim * self.steps_per_frame
        return 3 * self.width if self.projected else speech + self.motion_dim + self.width


class CosineTable(NamedTuple):
    """Cosine schedule of Nichol & Dhariwal (2021) over steps 0..S-1, float64 (S,) each; TexTalker clips it below."""

    betas: Tensor
    alphas_cumprod: Tensor
    posterior_mean_coef1: Tensor
    posterior_mean_coef2: Tensor
    posterior_variance: Tensor
    posterior_log_variance_clipped: Tensor
    """The first entry, minus infinity, is replaced by the second."""


def cosine_table(steps: int) -> CosineTable:
    """beta_i = min(1 - f((i + 1) / S) / f(i / S), 0.999) with f(x) = cos^2((x + 0.008) / 1.008 * pi / 2)."""
    x = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((x + 0.008) / 1.008 * torch.pi / 2).square()
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    bar = (1 - beta).cumprod(0)
    before = torch.cat([torch.ones_like(bar[:1]), bar[:-1]])
    variance = beta * (1 - before) / (1 - bar)
    clipped = torch.cat([variance[1:2] if steps > 1 else beta[:1], variance[1:]]).log()
    first, second = beta * before.sqrt() / (1 - bar), (1 - before) * (1 - beta).sqrt() / (1 - bar)
    return CosineTable(beta, bar, first, second, variance, clipped)


class Plan(NamedTuple):
    """A sampler as numbers: K transitions x' = estimate * x_0 + keep * x + spread * z, float64 (K,) each."""

    time: Tensor
    """(K,) int64 step at which the network is asked."""
    estimate: Tensor
    keep: Tensor
    spread: Tensor
    begin: float
    """The first x is this times a standard normal draw."""


def ancestral(steps: int, skip: int = 0) -> Plan:
    """The published sampler: S - skip steps, fresh noise in each but the last. `skip` starts from a noised zero."""
    table = cosine_table(steps)
    time = torch.arange(steps - 1 - skip, -1, -1)
    spread = (0.5 * table.posterior_log_variance_clipped).exp() * (torch.arange(steps) > 0)
    begin = float((1 - table.alphas_cumprod[time[0]]).sqrt()) if skip else 1.0
    return Plan(time, table.posterior_mean_coef1[time], table.posterior_mean_coef2[time], spread[time], begin)


def few_steps(steps: int, count: int) -> Plan:
    """DDIM with eta 0 (Song et al. 2021) in `count` steps, evenly spaced; all follows from the first draw. Ours."""
    if not 1 <= count <= steps:
        raise ValueError(f"steps must lie in 1..{steps}, got {count}")
    bar = cosine_table(steps).alphas_cumprod
    time = torch.linspace(steps - 1, 0, count + 1).round().long()[:-1] if count < steps else torch.arange(steps).flip(0)
    bars = [*bar[time].tolist(), 1.0]
    keep = [((1 - after) / (1 - now)) ** 0.5 for now, after in pairwise(bars)]
    estimate = [after**0.5 - k * now**0.5 for k, (now, after) in zip(keep, pairwise(bars), strict=True)]
    rows = torch.tensor([estimate, keep], dtype=torch.float64)
    return Plan(time, rows[0], rows[1], torch.zeros_like(rows[0]), 1.0)


class FaceDiffuser(MotionFamily):
    """The denoiser and its samplers. B batch, T frames, S = T * steps_per_frame, A speech width, M coordinates."""

    def __init__(self, config: FaceDiffuserConfig) -> None:
        super().__init__()
        self.config = config
        width, coordinates = config.width, config.motion_dim
        if config.projected:
            self.cond_projection = nn.Linear(config.audio_dim * config.steps_per_frame, width)
            self.input_projection = nn.Sequential(
                nn.Linear(coordinates, 2 * width), nn.Conv1d(1, 1, config.kernel, padding=config.kernel // 2)
            )
        if config.time == "table":
            self.time_mlp = nn.Sequential(nn.Linear(config.steps, width), nn.Mish())
        else:
            self.time_mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        if config.normalise:
            self.norm_cond = nn.LayerNorm(config.token_dim)
        dropout = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.token_dim, width, config.layers, batch_first=True, dropout=dropout)
        self.final_layer = nn.Linear(width, coordinates)
        nn.init.zeros_(self.final_layer.weight)  # an untrained model answers the template
        nn.init.zeros_(self.final_layer.bias)
        if config.subjects:
            self.obj_vector = nn.Linear(config.subjects, width, bias=False)

    @property
    def solver_steps(self) -> int:
        """Steps of the published sampler."""
        return self.config.steps

    # -- parts

    def style_embedding(self, weights: Tensor) -> Tensor:
        """Speaker weights (B, N), one-hot or a mixture -> style (B, h). Ones for a model without styles."""
        if not self.config.subjects:
            return self.final_layer.weight.new_ones(len(weights), self.config.width)
        return self.obj_vector(weights)

    def project_speech(self, features: Tensor) -> Tensor:
        """Speech features (B, S, A) -> one vector per frame (B, T, h); in rigs the features themselves."""
        w = self.config.steps_per_frame
        if features.shape[1] % w or features.shape[2] != self.config.audio_dim:
            raise ValueError(f"features must be (B, T * {w}, {self.config.audio_dim}), got {tuple(features.shape)}")
        together = features.unflatten(1, (-1, w)).flatten(2)
        return self.cond_projection(together) if self.config.projected else together

    def time(self, step: Tensor) -> Tensor:
        """Diffusion steps (K,) int64 in 0..steps-1 -> (K, h)."""
        if self.config.time == "table":
            first = cast(nn.Linear, self.time_mlp[0])
            return F.mish(first.weight.mT[step] + first.bias)
        width = self.config.width
        at = torch.arange(0, width, 2, device=step.device, dtype=torch.float32)
        angle = step[:, None] * torch.exp(at * (-torch.tensor(10000.0).log() / width))
        wave = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
        return self.time_mlp(wave.to(self.final_layer.weight))

    @property
    def entry(self) -> nn.Linear:
        """The projection of coordinates, h' = 2h wide."""
        return cast(nn.Linear, self.input_projection[0])

    def _enter(self, x: Tensor) -> Tensor:
        return self.entry(x) if self.config.projected else x

    def _tokens(self, speech: Tensor, entered: Tensor, time: Tensor) -> Tensor:
        """Input of the GRU; entered (..., 2h) are projected coordinates, or the controls themselves."""
        if self.config.projected:
            entered = self._filtered(entered).relu().unflatten(-1, (-1, 2)).amax(-1)
        token = torch.cat([speech, entered, time], -1)
        return self.norm_cond(token) if self.config.normalise else token

    def _filtered(self, entered: Tensor) -> Tensor:
        """The convolution along the coordinates (..., 2h), as a sum of shifted copies: one channel, so far cheaper."""
        taps = cast(nn.Conv1d, self.input_projection[1])
        wide, count = F.pad(entered, (self.config.kernel // 2,) * 2), entered.shape[-1]
        parts = [weight * wide[..., k : k + count] for k, weight in enumerate(taps.weight.flatten().unbind())]
        return cast(Tensor, sum(parts)) + cast(Tensor, taps.bias)

    # -- training

    def estimate(
        self, noisy: Tensor, features: Tensor, step: Tensor, style: Tensor, template: Tensor | None = None
    ) -> Tensor:
        """Clean absolute coordinates (B, T, M) from noisy ones (B, T, M), all counted in the config's unit.

        features (B, S, A); step (B,) int64; style (B, h) from `style_embedding`; template (B, M), none for rigs.
        """
        time = self.time(step)[:, None].expand(-1, noisy.shape[1], -1)
        hidden, _ = self.gru(self._tokens(self.project_speech(features), self._enter(noisy), time))
        answer = self.final_layer(hidden * style[:, None])
        return answer if template is None else answer + template[:, None]

    def forward(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        lengths: Tensor | None = None,
        *,
        template: Tensor | None = None,
        step: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Training pass: the true motion, displacements (B, T, M), is noised and estimated again, (B, T, M).

        Published loss: `huber_loss(answer, motion)`, delta 1 (its options say MSE). step (B,) and noise (B, T, M) are
        drawn where not given; lengths (B,): frames past them come out as zero. The rest as in `estimate`, but motion,
        template and answer are in coordinates.
        """
        unit = self.config.unit
        template = None if template is None else template / unit
        clean = motion / unit if template is None else motion / unit + template[:, None]
        if step is None:
            step = torch.randint(self.config.steps, (len(motion),), generator=generator).to(motion.device)
        if noise is None:
            noise = torch.randn(motion.shape, generator=generator, dtype=motion.dtype).to(motion.device)
        answer = self.estimate(self.add_noise(clean, step, noise), features, step, style, template)
        answer = unit * (answer if template is None else answer - template[:, None])
        return answer if lengths is None else zero_past(answer, lengths)

    def add_noise(self, clean: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """sqrt(abar_t) x_0 + sqrt(1 - abar_t) e for clean and noise (B, T, M), step (B,)."""
        bar = cosine_table(self.config.steps).alphas_cumprod.to(step.device)[step][:, None, None]
        return bar.sqrt().to(clean.dtype) * clean + (1 - bar).sqrt().to(clean.dtype) * noise

    # -- sampling

    def generate(
        self,
        features: Tensor,
        style: Tensor,
        *,
        lengths: Tensor | None = None,
        template: Tensor | None = None,
        steps: int | None = None,
        skip: int = 0,
        start: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Displacements from the template (B, T, M) for speech features (B, S, A).

        steps: a number for `few_steps`, none for the config's own way; skip: see `ancestral`. start (B, T, M) and
        noise (K, B, T, M), one per transition, replace what `generator` draws. Other arguments as in `estimate`.
        """
        session = self.session(style, template=template, steps=steps, skip=skip, generator=generator)
        motion = session.push(features, start, noise)
        return motion if lengths is None else zero_past(motion, lengths)

    def session(
        self,
        style: Tensor,
        *,
        template: Tensor | None = None,
        steps: int | None = None,
        skip: int = 0,
        generator: torch.Generator | None = None,
    ) -> "DiffusionSession":
        """Generation in pieces; the same numbers as `generate` with the same generator."""
        total = self.config.steps
        steps = self.config.sample_steps if steps is None else steps
        plan = ancestral(total, skip) if steps is None else few_steps(total, steps)
        return DiffusionSession(self, plan, style, template, generator)


class DiffusionSession:
    """Speech in pieces, displacements out in pieces. Keeps the GRU's state of every transition."""

    @torch.no_grad()
    def __init__(
        self,
        model: FaceDiffuser,
        plan: Plan,
        style: Tensor,
        template: Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        self.model, self.style, self.generator = model, style, generator
        final = model.final_layer
        # transitions run backwards along axis 0, so that a wave of (frame, transition) pairs is a plain slice
        self.count = len(plan.time)
        self.time = model.time(plan.time.to(style.device)).flip(0)[:, None]
        rows = torch.stack([plan.estimate, plan.keep, plan.spread]).flip(1).to(style)
        self.rows: Sequence[Tensor] = rows[:, :, None, None].unbind()
        self.begin, self.noisy = plan.begin, bool(plan.spread.any())
        self.state = style.new_zeros(model.config.layers, self.count, len(style), model.config.width)
        base = final.bias if template is None else final.bias + template / model.config.unit  # (M,) or (B, M)
        if model.config.projected:
            entry = model.entry
            wide = entry.weight.double()
            self.matrix = (wide @ final.weight.double()).to(style)
            self.offset = (base.double() @ wide.T + entry.bias.double()).to(style)
            self.bias: Tensor = entry.bias
            values, vectors = torch.linalg.eigh(wide @ wide.T)
            # the symmetric root: other roots depend on signs and orders that differ between machines
            self.colour: Tensor | None = (vectors * values.clamp(min=0).sqrt() @ vectors.T).to(style)
        else:
            self.matrix, self.offset, self.bias, self.colour = final.weight, base, torch.zeros_like(final.bias), None

    @torch.inference_mode()
    def push(self, features: Tensor, start: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """The next n * steps_per_frame feature steps (B, n * w, A) -> their frames (B, n, M).

        start (B, n, M) and noise (K, B, n, M): draws for the motion coordinates instead of the session's own.
        """
        speech = self.model.project_speech(features).transpose(0, 1)  # (n, B, ...)
        done = []
        for at in range(0, len(speech), CHUNK):
            piece = slice(at, at + CHUNK)
            size = len(speech[piece])
            z: Tensor | None = None
            if start is None or noise is None:
                drawn = self._draw(size, 1 + self.count * self.noisy)
                first, z = drawn[:, 0], drawn[:, 1:] if self.noisy else None
            if start is not None:
                first = self._project(start[:, piece].transpose(0, 1))
            if noise is not None:
                z = self._project(noise[:, :, piece].permute(2, 0, 1, 3)).flip(1)
            done.append(self._wave(speech[piece], first, z))
        hidden = (
            torch.cat(done).transpose(0, 1) if done else self.style.new_zeros(len(features), 0, self.style.shape[1])
        )
        return self.model.config.unit * self.model.final_layer(hidden * self.style[:, None])

    def _project(self, draw: Tensor) -> Tensor:
        return F.linear(draw, self.model.entry.weight) if self.colour is not None else draw

    def _draw(self, frames: int, count: int) -> Tensor:
        """(frames, count, B, E) projected noise, frame after frame, so that pieces draw what the whole would."""
        shape = (count, len(self.style), self.matrix.shape[0])
        white = [torch.randn(shape, generator=self.generator, dtype=self.style.dtype) for _ in range(frames)]
        z = torch.stack(white).to(self.style.device)
        return F.linear(z, self.colour) if self.colour is not None else z

    def _wave(self, speech: Tensor, first: Tensor, noise: Tensor | None) -> Tensor:
        """speech (n, B, ...), first (n, B, E), noise (n, K, B, E) -> hidden frames (n, B, h)."""
        frames, count = len(speech), self.count
        x = self.bias + self.begin * first
        estimate, keep, spread = self.rows
        hidden = self.style.new_empty(frames, *self.style.shape)
        weights = self.model.gru.all_weights
        for wave in range(frames + count - 1):
            low, high = max(0, wave - count + 1), min(frames, wave + 1)
            at = slice(count - 1 - wave + low, count - 1 - wave + high)  # transitions, backwards
            time = self.time[at].expand(-1, len(self.style), -1)
            token = self.model._tokens(speech[low:high], x[low:high], time).flatten(0, 1)
            for layer, parts in enumerate(weights):
                state = self.state[layer, at]
                token = torch.gru_cell(token, state.flatten(0, 1), *parts)
                self.state[layer, at] = token.view_as(state)
            now = token.view(high - low, *self.style.shape)
            if low == wave - count + 1:
                hidden[low] = now[0]
            clean = F.linear(now * self.style, self.matrix) + self.offset
            # the projection's own bias is no part of the coordinates and is left as it is
            moved = estimate[at] * (clean - self.bias) + keep[at] * (x[low:high] - self.bias) + self.bias
            if noise is not None:
                index = torch.arange(low, high)
                moved = moved + spread[at] * noise[index, index + (count - 1 - wave)]
            x[low:high] = moved
        return hidden
