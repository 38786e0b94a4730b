"""The style of a stranger: the embedding under which a frozen autoregressive model speaks as the stranger's clips do.

The search stays where known styles are: in the linear space of their embeddings, with a Gaussian prior of their
spread (the maximum a posteriori estimate). It begins at the known style that fits best: all of them speak the clips.
The loss is that of running free: the past is the model's own, renewed as the embedding moves, and the gradient flows
through the last few of its frames (parallel passes), so that a style is judged by what it leads to, not by one step.
A denoiser has no past: all of its steps are taken, from the same noise, and slopes are differences.
What is found is never worse on the clips than the nearest known style, which is kept otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

AT_ONCE = 16
"""Known styles that speak together."""
MOST_STEPS = 8
"""Denoising steps for denoisers that name none of their own."""
SHORTLIST = 8
"""Known styles of a denoiser that are generated with all these steps."""


@dataclass(frozen=True, kw_only=True)
class StyleFitConfig:
    """How hard to search."""

    steps: int = 60
    lr: float = 0.1
    """In deviations of known embeddings."""
    prior: float = 2e-3
    """Weight of the squared distance from the mean embedding, in deviations, against the relative squared error."""
    rank: int = 12
    """Directions searched: the strongest in which known embeddings differ."""
    passes: int = 2
    """Parallel passes the gradient flows through."""
    renew: int = 4
    """Run free every so many steps."""
    rounds: int = 3
    """For denoisers: Gauss-Newton steps, instead of `steps`, `lr`, `passes` and `renew`."""
    nudge: float = 0.3
    """For denoisers: difference from which slopes are read, in deviations."""
    lips: float = 1.0
    """Weight of the lips' squared error over their variance."""


@dataclass(frozen=True)
class StyleFit:
    """What was found."""

    embedding: Tensor
    """(D,)."""
    nearest: int
    """The known style that fits best by itself."""
    errors: dict[str, float]
    """Relative squared error, running free: of the mean embedding, the nearest known style, and the embedding found,
    which is never worse than the nearest."""


def in_own_space(network: Any) -> tuple[Any, Tensor, Tensor]:
    """(the same model, basis (K, M), centre (M,)): what it can show is centre + coordinates (K,) @ basis.

    Its motion is an affine function of D hidden features, so K <= D numbers a frame hold it, however many vertices
    move; rows of the basis are orthonormal, so that distances stay. Exact for what the model itself has made.
    """
    made, readers = network.motion_maps
    decode = cast(nn.Linear, network.get_submodule(made))
    basis, back = torch.linalg.qr(decode.weight.detach())  # (M, K), (K, D)
    centre = torch.zeros(len(basis)).to(basis) if decode.bias is None else decode.bias.detach()
    folded = {f"{made}.weight": back}
    if decode.bias is not None:
        folded[f"{made}.bias"] = torch.zeros(len(back))
    for name in readers:
        reader = cast(nn.Linear, network.get_submodule(name))
        folded |= {f"{name}.weight": reader.weight @ basis, f"{name}.bias": reader.weight @ centre + reader.bias}
    config: Any = network.config.resized(len(back))
    small = type(network)(config)
    small.load_state_dict(network.state_dict() | folded)
    return small.eval().requires_grad_(False), basis.T, centre


class Judge:
    """The error of made (..., B, T, R): of all coordinates and of the lips, each squared over its variance."""

    def __init__(self, motions: Sequence[Tensor], truth: Tensor, lengths: Tensor, lips: Tensor, weight: float) -> None:
        everything = torch.cat(list(motions))
        everything = everything - everything.mean(0)
        self.truth, self.lips = truth, lips
        self.real = (torch.arange(truth.shape[1], device=truth.device) < lengths[:, None]).float()[..., None]
        size = self.real.sum() * (1 + weight)
        spreads = [x.square().mean().clamp(min=1e-12) for x in (everything, everything @ lips)]
        self.whole = size * truth.shape[-1] * spreads[0]
        self.mouth = size * lips.shape[1] * spreads[1] / weight if weight else None

    def __call__(self, made: Tensor) -> Tensor:
        """(...)."""
        error = (made - self.truth) * self.real
        whole = error.square().sum((-3, -2, -1)) / self.whole
        return whole if self.mouth is None else whole + (error @ self.lips).square().sum((-3, -2, -1)) / self.mouth

    def parts(self, made: Tensor) -> Tensor:
        """(..., n) whose squares sum to the error."""
        error = (made - self.truth) * self.real
        whole = error.flatten(-3) / self.whole.sqrt()
        return (
            whole if self.mouth is None else torch.cat([whole, (error @ self.lips).flatten(-3) / self.mouth.sqrt()], -1)
        )


def spread_pieces(pieces: list[tuple[Tensor, Tensor]], least: int, most: int) -> list[tuple[Tensor, Tensor]]:
    """At most `most` of (features, motion (T, M)), spread evenly; those of `least` frames or more, if there are any."""
    pieces = [piece for piece in pieces if len(piece[1]) >= least] or pieces
    return pieces[:: -(-len(pieces) // most)]


def fit_style(
    network: Any,
    embeddings: Tensor,
    clips: Sequence[tuple[Tensor, Tensor]],
    lips: Tensor,
    config: StyleFitConfig | None = None,
    *,
    add_voice_style: Callable[[Tensor, Tensor], Tensor] = lambda embedding, features: embedding,
) -> StyleFit:
    """embeddings (N, D) of known styles; clips: features (T, A), coordinates (T, R); lips (R, 3 n): `MotionBasis.part`.

    `add_voice_style(embedding (B, D), features (B, T, A))` adds the style of the voice.
    Takes seconds for a few clips. Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("at least one clip is needed")
    config = config or StyleFitConfig()
    lengths = torch.tensor([len(motion) for _, motion in clips], device=clips[0][1].device)
    features = torch.nn.utils.rnn.pad_sequence([encoded for encoded, _ in clips], batch_first=True)
    truth = torch.nn.utils.rnn.pad_sequence([motion for _, motion in clips], batch_first=True)
    judge = Judge([motion for _, motion in clips], truth, lengths, lips, config.lips)
    speaker = _Speaker(
        network, features, lengths, torch.cat([_voice(add_voice_style, embeddings, encoded) for encoded, _ in clips])
    )
    mean = embeddings.mean(0)
    directions, spreads = _directions(embeddings, config.rank)
    known = torch.cat([judge(speaker.free(part, steps=1)) for part in embeddings.split(AT_ONCE)])
    if speaker.start is not None:  # one step sorts them, the best few are generated with all steps
        few = known.argsort()[:SHORTLIST]
        known = torch.full_like(known, torch.inf).scatter(0, few, judge(speaker.free(embeddings[few])))
    nearest = int(known.argmin())
    place = (embeddings[nearest] - mean) @ directions.T / spreads  # in deviations
    space = _Space(mean, directions * spreads[:, None])
    search = _by_gradient if speaker.start is None else _by_differences
    found = torch.stack([mean, embeddings[nearest], search(speaker, judge, space, place, config)])
    errors = judge(speaker.free(found)).tolist()
    best = 2 if errors[2] < errors[1] else 1
    return StyleFit(found[best], nearest, {"mean": errors[0], "nearest": errors[1], "found": errors[best]})


class _Space(NamedTuple):
    """Embeddings (D,) by place (k,)."""

    mean: Tensor
    rows: Tensor

    def embedding(self, place: Tensor) -> Tensor:
        return self.mean + place @ self.rows


def _by_gradient(speaker: "_Speaker", judge: Judge, space: _Space, place: Tensor, config: StyleFitConfig) -> Tensor:
    """Adam; the best embedding (D,) on the way."""
    place = place.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([place], config.lr, (0.8, 0.95))
    best, found = float("inf"), space.mean
    for step in tqdm(range(config.steps + 1), desc="searching the style", disable=None, leave=False):
        embedding = space.embedding(place)
        if step % config.renew == 0:
            past = speaker.free(embedding.detach()[None])[0]
            error = float(judge(past))
            if error < best:
                best, found = error, embedding.detach().clone()
        if step == config.steps:
            break
        made = past
        for _ in range(config.passes):
            made = speaker.think(made, embedding)
        loss = judge(made) + config.prior * place.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


@torch.no_grad()
def _by_differences(speaker: "_Speaker", judge: Judge, space: _Space, place: Tensor, config: StyleFitConfig) -> Tensor:
    """Gauss-Newton with differences of whole samples, which a denoiser's many steps would make dear to derive."""
    steps = config.nudge * torch.eye(len(place))
    tries = torch.tensor([0.25, 0.5, 1.0])[:, None]
    for _ in range(config.rounds):
        here, *there = judge.parts(speaker.free(space.embedding(torch.cat([place[None], place + steps]))))
        slopes = (torch.stack(there) - here) / config.nudge  # (k, n)
        normal = slopes @ slopes.T + config.prior * torch.eye(len(place))
        move = -torch.linalg.solve(normal, slopes @ here + config.prior * place)
        places = torch.cat([place[None], place + tries * move])
        costs = judge(speaker.free(space.embedding(places))) + config.prior * places.square().sum(1)
        if int(costs.argmin()) == 0:
            break
        place = places[int(costs.argmin())]
    return space.embedding(place)


class _Speaker:
    """The clips' speech in any style. A denoiser always starts from the same noise, so that styles alone differ."""

    def __init__(self, network: Any, features: Tensor, lengths: Tensor, voice: Tensor) -> None:
        self.network, self.features, self.lengths, self.voice = network, features, lengths, voice
        self.start: Tensor | None = None
        if network.solver_steps:
            shape = (*features.shape[:2], network.config.motion_dim)
            self.start = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(features)

    @torch.no_grad()
    def free(self, embeddings: Tensor, *, steps: int | None = None) -> Tensor:
        """(K, B, T, R) of embeddings (K, D), all at once. steps: of a denoiser; none: as many as it speaks with."""
        count, clips = len(embeddings), len(self.features)
        own: dict[str, Any] = {}
        if self.start is not None:
            sizes = self.network.config
            steps = steps or sizes.sample_steps or min(MOST_STEPS, sizes.steps)
            own = {"steps": steps, "start": self.start.repeat(count, 1, 1)}
        styles = (embeddings[:, None] + self.voice).flatten(0, 1)
        made = self.network.generate(
            self.features.repeat(count, 1, 1), styles, lengths=self.lengths.repeat(count), **own
        )
        return made.unflatten(0, (count, clips)).clone()  # outside of inference mode

    def think(self, past: Tensor, embedding: Tensor) -> Tensor:
        """One parallel pass over past (B, T, R) in a style (D,), with its gradient."""
        return self.network(self.features, past, embedding + self.voice)


def _voice(add_voice_style: Callable[[Tensor, Tensor], Tensor], embeddings: Tensor, features: Tensor) -> Tensor:
    """(1, D) that the voice of a clip (T, A), without padding, adds to every embedding."""
    with torch.no_grad():
        return add_voice_style(torch.zeros_like(embeddings[:1]), features[None])


def _directions(embeddings: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Principal directions (k, D) of embeddings (N, D), and their deviations (k,)."""
    centred = embeddings - embeddings.mean(0)
    _, strength, rows = torch.linalg.svd(centred, full_matrices=False)
    spreads = strength / max(1, len(embeddings) - 1) ** 0.5
    count = max(1, min(rank, int((spreads > 1e-4 * spreads[0]).sum())))
    return rows[:count], spreads[:count].clamp(min=1e-8)
