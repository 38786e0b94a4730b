"""What PTalker is trained for: every term by name, each with a weight that can be switched off.

    total = reconstruction + 1.2 mouth + 10 velocity + 0.01 constraint
    constraint = 1e-3 orthogonal(H, q) + 1e-4 orthogonal(C, M) + 1e-3 info(H, q) + 1e-4 info(C, M)
                 + 1e-3 contrastive(H, C) + 1e-3 kl(H, C) + 1e-3 adversarial

H memory, q sequence of the voice's style, C and M content and style of the motion. The formulas are in
`parlante.losses.disentanglement`. Clips of a batch are compared item by item, so padding never counts.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from parlante.core.ranges import Amount
from parlante.losses import disentanglement as apart
from parlante.losses import vertex_coordinates
from parlante.models.components.padding import real_frames
from parlante.models.ptalker.model import PTalker, before
from parlante.models.ptalker.motion_encoders import mean_over_time


@dataclass(frozen=True, kw_only=True)
class TermWeights:
    """Weight of every term; 0 takes a term out of the sum. Defaults: the published script's."""

    reconstruction: Amount = 1.0
    """Mean squared error of all coordinates."""
    mouth: Amount = 1.2
    """Mean squared error of the mouth's coordinates; 1.0 where the published script validates unseen subjects."""
    velocity: Amount = 10.0
    """Mean squared error of frame-to-frame differences."""
    constraint: Amount = 0.01
    """Factor of the weighted sum of the terms below."""
    orthogonal_audio: Amount = 1e-3
    """Content and style of the speech are orthogonal."""
    orthogonal_motion: Amount = 1e-4
    """Content and style of the motion are orthogonal."""
    info_audio: Amount = 1e-3
    """InfoNCE between content and style of the speech; 0 in value with one clip."""
    info_motion: Amount = 1e-4
    """InfoNCE between content and style of the motion; 0 in value with one clip."""
    contrastive: Amount = 1e-3
    """Contents of speech and motion agree frame by frame, in both directions."""
    kl: Amount = 1e-3
    """Divergence between the contents of speech and motion, as normal distributions."""
    adversarial: Amount = 1e-3
    """Classifier of the speaker behind a reversed gradient: the content of the speech tells none."""
    auxiliary: Amount = 0.0
    """Classifier of the speaker from the identity's style; the published code computes this term and drops it."""


CONSTRAINTS = (
    "orthogonal_audio",
    "orthogonal_motion",
    "info_audio",
    "info_motion",
    "contrastive",
    "kl",
    "adversarial",
    "auxiliary",
)


@dataclass(frozen=True)
class ObjectiveTerms:
    """One training step's numbers. B batch, T frames, M motion coordinates, D width, N subjects."""

    terms: dict[str, Tensor]
    """Every term by its name in `TermWeights`, unweighted, and `constraint`, the weighted sum of `CONSTRAINTS`."""
    total: Tensor
    """What to minimise."""
    prediction: Tensor
    """(B, T, M)."""
    content: Tensor
    """C (B, T, D)."""
    style: Tensor
    """m (B, D): the embedding of the motion's style."""
    style_sequence: Tensor
    """M (B, T, D)."""
    speaker_logits: Tensor
    """(B, N): the adversary's opinion of the memory."""
    auxiliary_logits: Tensor
    """(B, classes): the auxiliary classifier's of the identity style."""


def objective(
    model: PTalker,
    features: Tensor,
    motion: Tensor,
    weights: Tensor,
    emotion: Tensor,
    *,
    lengths: Tensor | None = None,
    emotion_lengths: Tensor | None = None,
    mouth: Tensor | None = None,
    term_weights: TermWeights | None = None,
    reference_motion: Tensor | None = None,
    reference_lengths: Tensor | None = None,
    style_dropout: float = 0.0,
    sampling: float = 0.0,
    passes: int = 1,
    generator: torch.Generator | None = None,
    free_running: bool = False,
    reference: bool = False,
    only_weighted: bool = False,
) -> ObjectiveTerms:
    """Teacher-forced prediction and all terms.

    features (B, S, A), motion (B, T, M) displacements, weights (B, N) one-hot, emotion (B, S', E), lengths (B,) in
    frames, emotion_lengths (B,) in steps. Motion longer than the features is cut to them. mouth (R,): vertex indices,
    of motion that is vertices; none leaves the term out. reference_motion (B, R, M), reference_lengths (B,): clips of
    the same people to take the motion's style from; none: the clips themselves, as published. style_dropout:
    probability, per clip, that the voice's style is withheld, and the same for the motion's, so that either may be
    missing when generating. sampling, passes: as in `PTalker.forward`. free_running: the published autoregressive
    branch, which their schedule never takes. reference: mouth and contrastive terms as published, mistakes included.
    only_weighted: do not compute terms of weight 0. Clips need at least 2 frames.
    """
    frames = min(motion.shape[1], model.transformer_decoder.frames_covered(features.shape[1]))
    motion = motion[:, :frames]
    lengths, steps = _lengths(lengths, motion, features, model.config.steps_per_frame)
    if emotion_lengths is None:
        emotion_lengths = torch.full((len(emotion),), emotion.shape[1], device=emotion.device)
    real, real_steps = real_frames(frames, lengths), real_frames(features.shape[1], steps)
    identity = model.onehot_style_encoder(weights)
    audio_style = model.AudioStyle(emotion, real_frames(emotion.shape[1], emotion_lengths))
    audio_sequence = model.AudioStyle.sequence(emotion)
    memory = model.encode_speech(features)
    if free_running:
        roll = model.reference_rollout(memory, audio_style, identity=identity)
        prediction = model.decode_motion(roll.hidden)
        frames_seen = roll.inputs
    else:
        frames_seen = model.encode_motion(before(motion))
    content = model.content_motion(frames_seen, real)
    style, style_sequence = model.style_motion(frames_seen, real)
    if not free_running:
        kept = _kept(style_dropout, len(motion), 2, generator).to(motion)
        shown = style
        if reference_motion is not None:
            marks = None if reference_lengths is None else real_frames(reference_motion.shape[1], reference_lengths)
            shown = model.style_motion(model.encode_motion(reference_motion), marks)[0]
        embedding = model.start_token[:, 0] + identity + kept[:, :1] * audio_style + kept[:, 1:] * shown
        prediction = model(features, motion, embedding, lengths, sampling=sampling, passes=passes, generator=generator)
    chosen, labels = term_weights or TermWeights(), weights.argmax(-1)
    wanted = _wanted(chosen, only_weighted)
    terms = _errors(prediction, motion, lengths, mouth, reference, wanted)
    terms |= _between(
        memory, steps, audio_sequence, emotion_lengths, content, style_sequence, lengths, model, reference, wanted
    )
    pairs = {
        "info_audio": (memory, steps, audio_sequence, emotion_lengths),
        "info_motion": (content, lengths, style_sequence, lengths),
    }
    terms |= {name: apart.info_nce_of_means(*_means(*pair)) for name, pair in pairs.items() if name in wanted}
    speaker_logits = model.style_classifier(apart.reverse_gradient(mean_over_time(memory, real_steps)))
    auxiliary_logits = model.auxiliary_style_classifier(identity)
    if "adversarial" in wanted:
        terms["adversarial"] = F.cross_entropy(speaker_logits, labels)
    if chosen.auxiliary or ("auxiliary" in wanted and int(labels.max()) < auxiliary_logits.shape[-1]):
        terms["auxiliary"] = F.cross_entropy(auxiliary_logits, labels)
    terms["constraint"] = _weighted(terms, chosen, CONSTRAINTS, prediction)
    total = _weighted(terms, chosen, ("reconstruction", "mouth", "velocity", "constraint"), prediction)
    return ObjectiveTerms(terms, total, prediction, content, style, style_sequence, speaker_logits, auxiliary_logits)


def _wanted(weights: TermWeights, only_weighted: bool) -> frozenset[str]:
    """Names of the terms to compute."""
    found = {each.name for each in fields(weights) if not only_weighted or getattr(weights, each.name)}
    return frozenset(found if weights.constraint or not only_weighted else found.difference(CONSTRAINTS))


def _lengths(lengths: Tensor | None, motion: Tensor, features: Tensor, per_frame: int) -> tuple[Tensor, Tensor]:
    """(frames, speech steps) of each clip, (B,) each; all of them where no lengths are given."""
    frames = motion.shape[1]
    if lengths is None:
        lengths = torch.full((len(motion),), frames, device=motion.device)
        return lengths, torch.full_like(lengths, features.shape[1])
    lengths = lengths.to(motion.device).clamp(max=frames)
    return lengths, lengths * per_frame


def _weighted(terms: dict[str, Tensor], weights: TermWeights, names: tuple[str, ...], like: Tensor) -> Tensor:
    parts = [getattr(weights, name) * terms[name] for name in names if name in terms and getattr(weights, name)]
    return torch.stack(parts).sum() if parts else like.new_zeros(())


def _kept(rate: float, batch: int, columns: int, generator: torch.Generator | None) -> Tensor:
    if rate == 0.0:
        return torch.ones(batch, columns)
    device = generator.device if generator is not None else "cpu"
    return (torch.rand(batch, columns, generator=generator, device=device) >= rate).float()


def _errors(
    prediction: Tensor,
    motion: Tensor,
    lengths: Tensor,
    mouth: Tensor | None,
    reference: bool,
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """Errors of positions, of the mouth and of velocities: means over clips of their means over real frames."""
    places = None if mouth is None else mouth if reference else vertex_coordinates(mouth)
    rows: dict[str, list[Tensor]] = {}
    for made, truth, count in zip(prediction, motion, lengths.tolist(), strict=True):
        error = made[:count] - truth[:count]
        if "reconstruction" in wanted:
            rows.setdefault("reconstruction", []).append(error.square().mean())
        if "velocity" in wanted:
            rows.setdefault("velocity", []).append(error.diff(dim=0).square().mean())
        if places is not None and "mouth" in wanted:
            rows.setdefault("mouth", []).append(error[:, places].square().mean())
    return {name: torch.stack(row).mean() for name, row in rows.items()}


def _between(
    memory: Tensor,
    steps: Tensor,
    audio_sequence: Tensor,
    emotion_lengths: Tensor,
    content: Tensor,
    style_sequence: Tensor,
    lengths: Tensor,
    model: PTalker,
    reference: bool,
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """The terms that compare two sequences of one clip, averaged over clips."""
    temperature = model.cons.temperature if reference else model.cons.temperature.clamp(min=0.01)
    formulas: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
        "orthogonal_audio": lambda h, q, c, m: apart.orthogonal(h, q),
        "orthogonal_motion": lambda h, q, c, m: apart.orthogonal(c, m),
        "contrastive": lambda h, q, c, m: apart.contrastive(h, c, temperature, reference=reference),
        "kl": lambda h, q, c, m: apart.kl(h, c),
    }
    rows: dict[str, list[Tensor]] = {name: [] for name in formulas if name in wanted}
    sizes = zip(steps.tolist(), emotion_lengths.tolist(), lengths.tolist())
    for i, (spoken, felt, moved) in enumerate(sizes):
        h, q = memory[i : i + 1, :spoken], audio_sequence[i : i + 1, :felt]
        c, m = content[i : i + 1, :moved], style_sequence[i : i + 1, :moved]
        for name, row in rows.items():
            row.append(formulas[name](h, q, c, m))
    return {name: torch.stack(row).mean() for name, row in rows.items()}


def _means(x: Tensor, x_lengths: Tensor, y: Tensor, y_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Time means (B, D) of both sequences, each pair first stretched to its longer one."""
    pairs = [
        apart.stretch_to_longer(x[i : i + 1, :n], y[i : i + 1, :m])
        for i, (n, m) in enumerate(zip(x_lengths.tolist(), y_lengths.tolist()))
    ]
    return torch.cat([a.mean(1) for a, _ in pairs]), torch.cat([b.mean(1) for _, b in pairs])
