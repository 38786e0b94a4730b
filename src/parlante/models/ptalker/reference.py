"""PTalker's three published ways to predict, exactly as released.

    method                    first token                          next token, after step t
    predict_seen              s + a in step 0, s from step 1 on    E(D(y_t)) + s + a, and + m(X_t) if t > 0
    predict_unseen            z + a                                E(D(y_t)) + a, and + m(X_t) if t > 0
    predict_with_ref_motion   E(frame 0 of the reference)          E(D(y_t)) + a, and + m(X_t) if t > 0

s, a, z: identity, style of the voice, start token. m(X_t) is the motion style of all decoder *inputs* so far, with
positions. It is recomputed over the whole prefix in every step and cannot be cached: the cost is T squared and more.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.components.incremental_decoder import fold

if TYPE_CHECKING:
    from parlante.models.ptalker.model import PTalker


@dataclass(frozen=True)
class ReleasedRoll:
    """What a released prediction leaves behind; (B, T, D) each."""

    hidden: Tensor
    """y: what the vertex decoder turns into the result."""
    fed_back: Tensor
    """y as they were fed back; only frame 0 of "seen" differs."""
    inputs: Tensor
    """Tokens and positions of the last step: what the training branch encodes as content and style."""


def roll_as_released(
    model: "PTalker",
    memory: Tensor,
    audio_style: Tensor,
    *,
    identity: Tensor | None = None,
    frame: Tensor | None = None,
) -> ReleasedRoll:
    """Decode memory (B, S, D) as released; differentiable if gradients are enabled.

    audio_style (B, D); identity (B, D) makes it `predict_seen`, frame (B, M), in absolute coordinates,
    `predict_with_ref_motion`, neither `predict_unseen`.
    """
    decoder = model.transformer_decoder
    heard = decoder.hear(memory)
    width, period, dropout = model.config.width, model.config.period, model.config.dropout
    positions = periodic_positions(0, heard.frames, width, period).to(memory)
    matrix, offset = fold(model.vertice_decoder, model.vertice_encoder)
    state = decoder.start(len(memory), heard.frames)

    def enter(token: Tensor, t: int) -> Tensor:
        return F.dropout(token + positions[t], dropout, model.training)

    if identity is not None:
        token, added = identity + audio_style, identity + audio_style
    elif frame is not None:
        token, added = model.vertice_encoder(frame), audio_style
    else:
        token, added = model.start_token[:, 0] + audio_style, audio_style

    hidden: list[Tensor] = []
    inputs: list[Tensor] = []
    first_fed: Tensor | None = None
    for t in range(heard.frames):
        if t == 1 and identity is not None:  # the prefix is computed anew, with another first token
            state.rewind(0)
            inputs[0] = enter(identity, 0)
            first_fed, hidden[0] = hidden[0], decoder.step(inputs[0], heard, 0, state)
        inputs.append(enter(token, t))
        y = decoder.step(inputs[-1], heard, t, state)
        hidden.append(y)
        token = F.linear(y, matrix, offset) + added
        if t > 0 and t + 1 < heard.frames:
            token = token + model.style_motion(torch.stack(inputs, 1))[0]
    result = torch.stack(hidden, 1)
    fed_back = result if first_fed is None else torch.cat([first_fed[:, None], result[:, 1:]], 1)
    return ReleasedRoll(result, fed_back, torch.stack(inputs, 1))
