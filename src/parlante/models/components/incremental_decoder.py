"""Autoregressive decoding at the cost of the model's width, not of the mesh's.

The published loop decodes every frame to vertices and encodes it again: e_{t+1} = E(D(y_t)) + s. Both maps are affine,
so their composition is one D x D matrix and an offset (`fuse_feedback`), exact in real arithmetic. The loop gives the
hidden frames y_t; the vertex decoder is applied to all of them at once, afterwards.
"""

import weakref
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.causal_decoder import CausalDecoder, periodic_positions
from parlante.models.cpu.accelerate import accelerate

_FUSED: weakref.WeakKeyDictionary[nn.Linear, tuple[list[Tensor], list[int], tuple[Tensor, Tensor]]]
_FUSED = weakref.WeakKeyDictionary()
"""Per vertex decoder: the weights last fused, their versions, and the result."""


def fuse_feedback(decode: nn.Linear, encode: nn.Linear) -> tuple[Tensor, Tensor]:
    """encode(decode(y)) as (matrix (D, D), offset (D,)): W_E W_D and W_E b_D + b_E, summed in double precision.

    Without gradients the answer is kept, and computed anew once a weight has been written to or replaced.
    """
    weights = [x.detach() for x in (*decode.parameters(), *encode.parameters())]
    if torch.is_grad_enabled() or any(x.is_inference() for x in weights):
        return _fuse(decode, encode)
    versions = [x._version for x in weights]  # detached tensors count with their originals
    kept = _FUSED.get(decode)
    if kept is None or kept[1] != versions or not all(a is b or a.is_set_to(b) for a, b in zip(kept[0], weights)):
        kept = _FUSED[decode] = weights, versions, _fuse(decode, encode)
    return kept[2]


def _fuse(decode: nn.Linear, encode: nn.Linear) -> tuple[Tensor, Tensor]:
    inner, outer = encode.weight.double(), decode.weight.double()
    offset = torch.zeros_like(inner[:, 0])
    if decode.bias is not None:
        offset = offset + inner @ decode.bias.double()
    if encode.bias is not None:
        offset = offset + encode.bias.double()
    return (inner @ outer).to(decode.weight), offset.to(decode.weight)


def teacher_forcing_tokens(
    encode: nn.Linear, motion: Tensor, style: Tensor, frames: int, period: int, *, reference: bool = False
) -> Tensor:
    """Tokens of teacher forcing, with positions: of each of `frames` frames the true one before it, and the style.

    encode: motion (B, T, M) -> (B, T, D); style (B, D). The first token is the style; `reference`: that and encode's
    bias, as in the authors' training.
    """
    past = encode(motion[:, : frames - 1])
    batch, _, width = past.shape
    first = encode.bias.expand(batch, 1, -1) if reference else past.new_zeros(batch, 1, width)
    tokens = torch.cat([first, past], 1) + style[:, None]
    return tokens + periodic_positions(0, frames, width, period).to(tokens)


class Rollout:
    """Frames in sequence, each fed back: e_0 = `first` (by default the style s), e_{t+1} = M y_t + o + s.

    style, first (B, D); feedback (M, o) as from `fuse_feedback`. Differentiable if made while gradients are enabled.
    """

    def __init__(
        self, decoder: CausalDecoder, style: Tensor, feedback: tuple[Tensor, Tensor], *, first: Tensor | None = None
    ) -> None:
        self.decoder, self.style = decoder, style
        self.matrix, self.offset = feedback
        self.token = style if first is None else first
        self.cache = decoder.start(len(style))
        self._compiled = None if self.cache.differentiable else accelerate(decoder)

    def advance(self, memory: Tensor, dropout: float = 0.0, lengths: Tensor | None = None) -> Tensor:
        """Decode as many frames as memory (B, S, D) covers -> hidden frames (B, S // w, D). Call again to go on.

        dropout: rate on the tokens in training mode. lengths (B,): frames wanted of each item; past them the hidden
        frames are unspecified (work may be saved there) and the rollout cannot go on.
        """
        decoder, token = self.decoder, self.token
        encoded = decoder.encode_memory(memory)
        positions = periodic_positions(self.cache.length, encoded.num_frames, decoder.width, decoder.period).to(token)
        if self._compiled is not None:
            feedback = self.matrix, self.offset
            hidden, self.token = self._compiled(token, self.style, feedback, positions, encoded, self.cache, lengths)
            return hidden
        frames = []
        for t in range(encoded.num_frames):
            x = F.dropout(token + positions[t], dropout, decoder.training)
            frames.append(decoder.step(x, encoded, t, self.cache))
            token = F.linear(frames[-1], self.matrix, self.offset) + self.style
        self.token = token
        return torch.stack(frames, 1) if frames else memory[:, :0]


class MotionSession:
    """Speech in pieces, motion out in pieces; the same numbers as all at once.

    encode: features (B, S, A) -> memory (B, S, D); decode: hidden (B, n, D) -> motion (B, n, M).
    """

    def __init__(
        self, rollout: Rollout, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]
    ) -> None:
        self._rollout, self._encode, self._decode = rollout, encode, decode

    @torch.no_grad()
    def push(self, features: Tensor) -> Tensor:
        """The next n * steps_per_frame feature steps (B, n * w, A) -> their frames (B, n, M); ValueError if uneven."""
        steps = self._rollout.decoder.steps_per_frame
        if features.shape[1] % steps:
            raise ValueError(f"push whole frames: {steps} feature steps each, got {features.shape[1]} steps")
        return self._decode(self._rollout.advance(self._encode(features)))
