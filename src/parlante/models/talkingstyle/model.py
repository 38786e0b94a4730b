"""TalkingStyle: personalized speech-driven 3D facial animation with style preservation (Song et al., TVCG 2024).

The loop of `components/autoregressive_model.py` around six decoder layers, with a gated style embedding
(`components/style_embedding.py`) and a larger speech encoder. Parameter names are the authors'.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from parlante.core.ranges import Count
from parlante.models.components.autoregressive_model import AutoregressiveConfig, AutoregressiveModel
from parlante.models.components.style_embedding import StyleEncoder


@dataclass(frozen=True, kw_only=True)
class TalkingStyleConfig(AutoregressiveConfig):
    """Sizes; the defaults are those published for VOCASET (HuBERT large)."""

    audio_dim: int = 1024
    layers: Count = 6


class TalkingStyle(AutoregressiveModel):
    """Motion is the displacement from the template, (B, T, M), in the unit of training."""

    motion_in, motion_out = "vertice_encoder", "vertice_decoder"

    def __init__(self, config: TalkingStyleConfig) -> None:
        super().__init__(config)
        self.audio_feature_map = nn.Linear(config.audio_dim, config.width)
        self.vertice_encoder = nn.Linear(config.motion_dim, config.width)
        self.transformer_decoder = config.decoder()
        self.vertice_decoder = nn.Linear(config.width, config.motion_dim)
        self.style_encoder = StyleEncoder(config.subjects, config.width, config.dropout)
        nn.init.zeros_(self.vertice_decoder.weight)  # training starts from the template
        nn.init.zeros_(self.vertice_decoder.bias)

    def style_embedding(self, weights: Tensor, *, style_encoder_batched: bool = False) -> Tensor:
        """Style of a speaker (one-hot) or a mixture of speakers, each item by itself: weights (B, N) -> (B, D).

        `style_encoder_batched`: as the published code reads a batch instead, see `StyleEncoder`.
        """
        return self.style_encoder(weights, reference=style_encoder_batched)
