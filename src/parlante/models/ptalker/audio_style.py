"""Style of the voice: the strongest emotion features of a clip, squeezed into one embedding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AudioStyle(nn.Module):
    """Features of an emotion encoder -> style embedding and sequence.

    The published layers are fixed at 128 outputs; here `width` is the model's, so that any width works. The emotion
    encoder itself (`AudioStyle.wav2vec2_emo.*` in the published files) stands outside, like every speech encoder.
    """

    def __init__(self, emotion_dim: int, width: int, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = nn.Linear(emotion_dim, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.fc3 = nn.Linear(emotion_dim, width)

    def forward(self, emotion: Tensor, real: Tensor | None = None) -> Tensor:
        """Embedding a = tanh(fc2(relu(fc1(max over time)))): emotion (B, S, E), real (B, S) bool or none -> (B, D)."""
        if real is not None:
            emotion = emotion.masked_fill(~real[..., None], -torch.inf)
        hidden = F.dropout(self.fc1(emotion.amax(1)).relu(), self.dropout, self.training)
        return self.fc2(hidden).tanh()

    def sequence(self, emotion: Tensor) -> Tensor:
        """q = fc3(h), (B, S, E) -> (B, S, D): only the losses look at it."""
        return self.fc3(emotion)
