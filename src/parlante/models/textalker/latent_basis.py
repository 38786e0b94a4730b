"""A linear basis of latents. Ours: TexTalker's denoiser reads and writes 2 x 4096 numbers per frame as they are.

Latent offsets of speech fill few directions. Principal components, each scaled to unit variance, describe a frame by
some 2 x 200 numbers, so a denoiser that a CPU can train has no wide layers to learn. The published model has no basis.
"""

import torch
from torch import Tensor, nn


class LinearBasis(nn.Module):
    """x = mean + (coordinates * scale) @ components, with orthonormal components."""

    mean: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("components", torch.zeros(count, dim))
        self.register_buffer("scale", torch.ones(count))

    @classmethod
    @torch.no_grad()
    def fit(cls, samples: Tensor, count: int) -> "LinearBasis":
        """The first `count` principal components of samples (N, D); fewer when the samples have fewer directions."""
        mean = samples.mean(0)
        centred = (samples - mean).float()
        count = min(count, *centred.shape)
        if centred.shape[0] > 2 * count + 64 and centred.shape[1] > 2 * count + 64:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                _, values, vectors = torch.svd_lowrank(centred, q=min(count + 32, *centred.shape), niter=3)
        else:
            _, values, right = torch.linalg.svd(centred, full_matrices=False)
            vectors = right.mT
        basis = cls(samples.shape[1], count)
        basis.mean.copy_(mean)
        basis.components.copy_(vectors[:, :count].mT)
        deviation = values[:count] / max(len(samples), 1) ** 0.5
        basis.scale.copy_(deviation.clamp(min=1e-3 * float(deviation[0]) + 1e-12))
        return basis

    def encode(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., K) coordinates, about unit variance."""
        return (x - self.mean) @ self.components.mT / self.scale

    def decode(self, coordinates: Tensor) -> Tensor:
        """(..., K) -> (..., D)."""
        return self.mean + (coordinates * self.scale) @ self.components
