"""FaceFormer: speech-driven 3D facial animation with Transformers (Fan, Lin, Saito, Wang, Komura; CVPR 2022).

The loop of `components/autoregressive_model.py` around one decoder layer, with one style vector per
training speaker. Parameter names are the authors'.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from parlante.core.ranges import Count
from parlante.models.components.autoregressive_model import AutoregressiveConfig, AutoregressiveModel


@dataclass(frozen=True, kw_only=True)
class FaceFormerConfig(AutoregressiveConfig):
    """Sizes; the defaults are those published for VOCASET (wav2vec 2.0 base)."""

    audio_dim: int = 768
    layers: Count = 1


class FaceFormer(AutoregressiveModel):
    """Motion is the displacement from the template, (B, T, M), in the unit of training."""

    motion_in, motion_out = "vertice_map", "vertice_map_r"

    def __init__(self, config: FaceFormerConfig) -> None:
        super().__init__(config)
        self.audio_feature_map = nn.Linear(config.audio_dim, config.width)
        self.vertice_map = nn.Linear(config.motion_dim, config.width)
        self.transformer_decoder = config.decoder()
        self.vertice_map_r = nn.Linear(config.width, config.motion_dim)
        self.obj_vector = nn.Linear(config.subjects, config.width, bias=False)
        nn.init.zeros_(self.vertice_map_r.weight)  # training starts from the template
        nn.init.zeros_(self.vertice_map_r.bias)

    def style_embedding(self, weights: Tensor) -> Tensor:
        """Style of a speaker (one-hot) or a mixture of speakers, linear: weights (B, N) -> (B, D)."""
        return self.obj_vector(weights)
