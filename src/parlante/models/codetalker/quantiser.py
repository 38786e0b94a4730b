"""The codebook of facial motions (CodeTalker, section 3.1; van den Oord et al. 2017).

Every frame of the encoder's output is cut into `groups` vectors, and each becomes its nearest code.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from parlante.models.textalker.vqgan import VectorQuantizer


class Codes(NamedTuple):
    """What the quantiser answers; loss terms are separate so that a trainer weighs them."""

    latent: Tensor
    """(B, T, groups * dim): code vectors, with the gradient passed straight to the input."""
    indices: Tensor
    """(B, T, groups) int64."""
    commitment: Tensor
    """mean (sg[e] - z)^2 over the frames that count: pulls the encoder to its codes."""
    codebook: Tensor
    """mean (e - sg[z])^2 over the frames that count: pulls codes to the encoder."""
    perplexity: Tensor
    """exp(entropy) of code use over the frames that count."""


class MotionQuantizer(VectorQuantizer):
    """Nearest codes of a sequence, `groups` per frame."""

    def nearest_codes(self, z: Tensor) -> Tensor:
        """z (..., groups * dim) -> (..., groups) indices of the nearest codes, by squared distance."""
        dim = self.embedding.embedding_dim
        flat = z.reshape(-1, dim)
        return self.distances(flat).argmin(1).view(*z.shape[:-1], z.shape[-1] // dim)

    def vectors(self, indices: Tensor) -> Tensor:
        """indices (..., groups) -> (..., groups * dim) code vectors."""
        return self.embedding(indices).flatten(-2)

    def forward(self, z: Tensor, kept: Tensor | None = None) -> Codes:  # type: ignore[override]
        """z (B, T, groups * dim) -> see `Codes`. kept (B, T) bool: frames that count in the loss; default all."""
        indices = self.nearest_codes(z)
        codes = self.vectors(indices)
        error_z, error_e, used = (codes.detach() - z).square(), (codes - z.detach()).square(), indices
        if kept is not None:
            error_z, error_e, used = error_z[kept], error_e[kept], indices[kept]
        share = torch.bincount(used.flatten(), minlength=self.embedding.num_embeddings).to(z.dtype) / used.numel()
        return Codes(
            latent=z + (codes - z).detach(),
            indices=indices,
            commitment=error_z.mean(),
            codebook=error_e.mean(),
            perplexity=torch.exp(-(share * torch.log(share + 1e-10)).sum()),
        )
