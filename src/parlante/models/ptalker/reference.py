"""PTalker's three published ways to predict, exactly as published.

    method                    first token                          next token, after step t
    predict_seen              s + a in step 0, s from step 1 on    E(D(y_t)) + s + a, and + m(X_t) if t > 0
    predict_unseen            z + a                                E(D(y_t)) + a, and + m(X_t) if t > 0
    predict_with_ref_motion   E(frame 0 of the reference)          E(D(y_t)) + a, and + m(X_t) if t > 0

s, a, z: identity, style of the voice, start token. m(X_t) is the motion style of all decoder *inputs* so far, with
positions. It is recomputed over the whole prefix in every step and cannot be cached: the cost is T squared and more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.causal_decoder import CausalDecoder, periodic_positions
from parlante.models.components.incremental_decoder import fuse_feedback


@dataclass(frozen=True)
class ReferenceRollout:
    """What a published prediction leaves behind; (B, T, D) each."""

    hidden: Tensor
    """y: what the vertex decoder turns into the result."""
    fed_back: Tensor
    """y as they were fed back; only frame 0 of "seen" differs."""
    inputs: Tensor
    """Tokens and positions of the last step: what the training branch encodes as content and style."""


def reference_rollout(
    decoder: CausalDecoder,
    encode: nn.Linear,
    decode: nn.Linear,
    motion_style: Callable[[Tensor], Tensor],
    memory: Tensor,
    *,
    first: Tensor,
    added: Tensor,
    restart: Tensor | None = None,
    dropout: float = 0.0,
) -> ReferenceRollout:
    """Decode memory (B, S, D) as published; differentiable if gradients are enabled.

    encode, decode: E and D of the table above. motion_style: inputs (B, t, D) -> m (B, D). first (B, D): the first
    token; added (B, D): what every later token gets beside m; restart (B, D): the first token from step 1 on, where
    it changes. dropout: rate on the tokens in training mode.
    """
    encoded = decoder.encode_memory(memory)
    positions = periodic_positions(0, encoded.num_frames, decoder.width, decoder.period).to(memory)
    matrix, offset = fuse_feedback(decode, encode)
    cache = decoder.start(len(memory), encoded.num_frames)

    def enter(token: Tensor, t: int) -> Tensor:
        return F.dropout(token + positions[t], dropout, decoder.training)

    token = first
    hidden: list[Tensor] = []
    inputs: list[Tensor] = []
    first_fed: Tensor | None = None
    for t in range(encoded.num_frames):
        if t == 1 and restart is not None:  # the prefix is computed anew, with another first token
            cache.rewind(0)
            inputs[0] = enter(restart, 0)
            first_fed, hidden[0] = hidden[0], decoder.step(inputs[0], encoded, 0, cache)
        inputs.append(enter(token, t))
        y = decoder.step(inputs[-1], encoded, t, cache)
        hidden.append(y)
        token = F.linear(y, matrix, offset) + added
        if t > 0 and t + 1 < encoded.num_frames:
            token = token + motion_style(torch.stack(inputs, 1))
    result = torch.stack(hidden, 1)
    fed_back = result if first_fed is None else torch.cat([first_fed[:, None], result[:, 1:]], 1)
    return ReferenceRollout(result, fed_back, torch.stack(inputs, 1))
