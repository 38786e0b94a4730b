"""Frame-by-frame decoding with the paper's alignments switched on."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from parlante.models.components.causal_decoder import CausalDecoder, periodic_positions
from parlante.models.components.incremental_decoder import Rollout
from parlante.models.ptalker.alignment import TemporalAlignment


class AlignedRollout(Rollout):
    """`Rollout` whose tokens attend to the recent speech (`temporal`) and whose feedback is not affine (`feed_back`).

    feed_back: hidden (B, 1, D) -> embedded frame (B, 1, D), or none for the fused map.
    """

    def __init__(
        self,
        decoder: CausalDecoder,
        style: Tensor,
        feedback: tuple[Tensor, Tensor],
        *,
        first: Tensor,
        temporal: TemporalAlignment | None,
        feed_back: Callable[[Tensor], Tensor] | None,
    ) -> None:
        super().__init__(decoder, style, feedback, first=first)
        self.temporal, self.feed_back = temporal, feed_back
        self.recent = style.new_zeros(len(style), 0, decoder.width)

    def advance(self, memory: Tensor, dropout: float = 0.0, lengths: Tensor | None = None) -> Tensor:
        """As `Rollout.advance`: memory (B, S, D) -> hidden frames (B, S // w, D)."""
        decoder, token, temporal = self.decoder, self.token, self.temporal
        encoded = decoder.encode_memory(memory)
        positions = periodic_positions(self.cache.length, encoded.num_frames, decoder.width, decoder.period).to(token)
        if temporal is not None and encoded.num_frames:
            reach = torch.cat([self.recent, memory[:, : encoded.num_frames * decoder.steps_per_frame]], 1)
            keys, values, hidden_steps = temporal.key_windows(reach, self.recent.shape[1])
            self.recent = reach[:, max(0, reach.shape[1] - temporal.history) :]
        hidden = []
        for t in range(encoded.num_frames):
            now = slice(t, t + 1)
            x = token[:, None]
            if temporal is not None:
                x = temporal.attend(x, keys[:, now], values[:, now], hidden_steps[now])
            x = F.dropout(x[:, 0] + positions[t], dropout, decoder.training)
            y = decoder.step(x, encoded, t, self.cache)
            fed = F.linear(y, self.matrix, self.offset) if self.feed_back is None else self.feed_back(y[:, None])[:, 0]
            token = fed + self.style
            hidden.append(y)
        self.token = token
        return torch.stack(hidden, 1) if hidden else memory[:, :0]
