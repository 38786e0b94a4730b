"""Health of a codebook during training: which codes are used, a start from data, new places for dead codes.

With several processes the use is that of all of them, and the first one's draws hold for all.
"""

import torch
from torch import Tensor, nn

from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.engine.processes import all_together, same_everywhere


class CodebookHealth(nn.Module):
    """Running share of every code, (K,), kept in checkpoints."""

    usage: Tensor

    def __init__(self, size: int, alive: float, memory: float = 0.02) -> None:
        """alive: a code is dead when it is used less than this share of the even rate; memory: weight of a batch."""
        super().__init__()
        self.alive, self.memory = alive, memory
        self.register_buffer("usage", torch.full((size,), 1.0 / size))

    @torch.no_grad()
    def see(self, indices: Tensor) -> Tensor:
        """Count a batch's codes (any shape); returns (K,) bool, True for dead codes."""
        share = all_together(torch.bincount(indices.flatten(), minlength=len(self.usage)).to(self.usage))
        self.usage.lerp_(share / share.sum(), self.memory)
        return self.usage < self.alive / len(self.usage)

    @torch.no_grad()
    def place(self, model: VQAutoEncoder, maps: Tensor) -> Tensor:
        """Start from data: k-means on the latents of maps (N, 3, H, W), drawn by their distance from rest -> (K, C)."""
        z = torch.cat([model.encode(piece).float() for piece in maps.split(16)])
        z = z.permute(0, 2, 3, 1).flatten(0, 2)
        active = (z - z.mean(0)).norm(dim=1)
        z = z[torch.multinomial(active + 0.02 * active.mean() + 1e-12, 16 * len(self.usage), replacement=True)]
        codes = z[torch.randperm(len(z), device=z.device)[: len(self.usage)]].clone()
        for _ in range(8):
            nearest = torch.cdist(z, codes).argmin(1)
            count = torch.bincount(nearest, minlength=len(codes))[:, None]
            total = torch.zeros_like(codes).index_add_(0, nearest, z)
            stray = z[torch.randint(len(z), (len(codes),), device=z.device)]
            codes = torch.where(count > 0, total / count.clamp(min=1), stray)
        return self._put(model, torch.arange(len(codes), device=codes.device), codes)

    @torch.no_grad()
    def revive(self, model: VQAutoEncoder, dead: Tensor, maps: Tensor) -> Tensor:
        """Move the codes numbered `dead` (n,) onto latents of maps, those far from their own code first: most cells of
        a face are at rest. Returns their new vectors (n, C)."""
        z = model.encode(maps).float()
        far = (z - model.quantize.nearest(z)).square().sum(1).flatten()
        z = z.permute(0, 2, 3, 1).flatten(0, 2)
        picked = z[torch.multinomial(far + 0.05 * far.mean() + 1e-12, len(dead), replacement=len(dead) > len(z))]
        picked = picked + 0.01 * z.std(0) * torch.randn_like(picked)
        self.usage[dead] = 1.0 / len(self.usage)
        return self._put(model, dead, picked)

    def _put(self, model: VQAutoEncoder, where: Tensor, vectors: Tensor) -> Tensor:
        vectors = same_everywhere(vectors.contiguous())
        model.quantize.place(where, vectors)
        return vectors
