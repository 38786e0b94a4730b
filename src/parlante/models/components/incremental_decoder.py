"""Rolling a decoder forward on its own output, at the cost of the model's width and not of the mesh's.

The published loop decodes every frame to vertices and encodes it again: e_{t+1} = E(D(y_t)) + s. Both maps are affine,
so their composition is one D x D matrix and an offset (`fold`), exact in real arithmetic. What leaves the loop is the
hidden frames y_t; the vertex decoder is applied to all of them at once, afterwards.
"""

import weakref
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.causal_decoder import CausalDecoder, periodic_positions, zero_past

_FOLDED: weakref.WeakKeyDictionary[nn.Linear, tuple[list[Tensor], list[int], tuple[Tensor, Tensor]]]
_FOLDED = weakref.WeakKeyDictionary()
"""Per vertex decoder: the weights last folded, their versions, and the result."""


def fold(decode: nn.Linear, encode: nn.Linear) -> tuple[Tensor, Tensor]:
    """encode(decode(y)) as (matrix (D, D), offset (D,)): W_E W_D and W_E b_D + b_E, summed in double precision.

    Without gradients the answer is kept, and computed anew once a weight has been written to or replaced.
    """
    weights = [x.detach() for x in (*decode.parameters(), *encode.parameters())]
    if torch.is_grad_enabled() or any(x.is_inference() for x in weights):
        return _fold(decode, encode)
    versions = [x._version for x in weights]  # detached tensors count with their originals
    kept = _FOLDED.get(decode)
    if kept is None or kept[1] != versions or not all(a is b or a.is_set_to(b) for a, b in zip(kept[0], weights)):
        kept = _FOLDED[decode] = weights, versions, _fold(decode, encode)
    return kept[2]


def _fold(decode: nn.Linear, encode: nn.Linear) -> tuple[Tensor, Tensor]:
    inner, outer = encode.weight.double(), decode.weight.double()
    offset = torch.zeros_like(inner[:, 0])
    if decode.bias is not None:
        offset = offset + inner @ decode.bias.double()
    if encode.bias is not None:
        offset = offset + encode.bias.double()
    return (inner @ outer).to(decode.weight), offset.to(decode.weight)


def taught_tokens(
    encode: nn.Linear, motion: Tensor, code: Tensor, frames: int, period: int, *, released: bool = False
) -> Tensor:
    """Tokens of teacher forcing, with positions: of each of `frames` frames the true one before it, and the style.

    encode: motion (B, T, M) -> (B, T, D); code (B, D). The first token is the code; `released`: that and encode's bias.
    """
    past = encode(motion[:, : frames - 1])
    batch, _, width = past.shape
    first = encode.bias.expand(batch, 1, -1) if released else past.new_zeros(batch, 1, width)
    tokens = torch.cat([first, past], 1) + code[:, None]
    return tokens + periodic_positions(0, frames, width, period).to(tokens)


class Rollout:
    """Frames in sequence, each fed back: e_0 = `first` (by default the code s), e_{t+1} = M y_t + o + s.

    code, first (B, D); fold as from `fold`. Differentiable if made while gradients are enabled.
    """

    def __init__(
        self, decoder: CausalDecoder, code: Tensor, folded: tuple[Tensor, Tensor], *, first: Tensor | None = None
    ) -> None:
        self.decoder, self.code = decoder, code
        self.matrix, self.offset = folded
        self.token = code if first is None else first
        self.state = decoder.start(len(code))

    def advance(self, memory: Tensor, dropout: float = 0.0, lengths: Tensor | None = None) -> Tensor:
        """Decode as many frames as memory (B, S, D) covers -> hidden frames (B, S // w, D). Call again to go on.

        dropout: rate on the tokens in training mode. lengths (B,): frames wanted of each item; past them the hidden
        frames are unspecified (work may be saved there) and the rollout cannot go on.
        """
        decoder, token = self.decoder, self.token
        heard = decoder.hear(memory)
        if decoder.compiled(self.state):
            counts = torch.full((len(token),), heard.frames) if lengths is None else lengths.cpu()
            counts = counts.clamp(max=heard.frames)
            hidden, self.token = decoder.roll(token, self.code, (self.matrix, self.offset), heard, self.state, counts)
            return hidden
        positions = periodic_positions(self.state.length, heard.frames, decoder.width, decoder.period).to(token)
        frames = []
        for t in range(heard.frames):
            x = F.dropout(token + positions[t], dropout, decoder.training)
            frames.append(decoder.step(x, heard, t, self.state))
            token = F.linear(frames[-1], self.matrix, self.offset) + self.code
        self.token = token
        return torch.stack(frames, 1) if frames else memory[:, :0]


def roll(
    decoder: CausalDecoder,
    memory: Tensor,
    code: Tensor,
    folded: tuple[Tensor, Tensor],
    *,
    first: Tensor | None = None,
    lengths: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Hidden frames (B, S // w, D) of memory (B, S, D); zero past `lengths` (B,) if given. See `Rollout`."""
    hidden = Rollout(decoder, code, folded, first=first).advance(memory, dropout, lengths)
    return hidden if lengths is None else zero_past(hidden, lengths)


class Session:
    """Speech in pieces, motion out in pieces; the same numbers as all at once.

    listen: features (B, S, A) -> memory (B, S, D); show: hidden (B, n, D) -> motion (B, n, M).
    """

    def __init__(self, rollout: Rollout, listen: Callable[[Tensor], Tensor], show: Callable[[Tensor], Tensor]) -> None:
        self._rollout, self._listen, self._show = rollout, listen, show

    @torch.no_grad()
    def push(self, features: Tensor) -> Tensor:
        """The next n * steps_per_frame feature steps (B, n * w, A) -> their frames (B, n, M); ValueError if uneven."""
        steps = self._rollout.decoder.steps_per_frame
        if features.shape[1] % steps:
            raise ValueError(f"push whole frames: {steps} feature steps each, got {features.shape[1]} steps")
        return self._show(self._rollout.advance(self._listen(features)))
