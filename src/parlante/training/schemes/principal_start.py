"""A closed-form start for the autoencoders: principal components of map patches, written into the network's weights.

Where the network folds whole latent cells into channels (`ch_mult` of one level), its linear part can be a principal
component coder at once: residual and attention branches begin at zero, group norms are kept near the identity by
constant channels, the generator's last convolution is fitted by least squares before the sigmoid. Training then only
refines, which is what makes good autoencoders affordable on a CPU. Ours; the published networks start at random.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.conv2d import AttentionBlock, ResBlock
from parlante.models.textalker.vqgan import VQAutoEncoder

_SIZE = 0.15
"""Deviation of the first component inside the network, where the constant channels are +-1."""


def calm_start(model: VQAutoEncoder) -> VQAutoEncoder:
    """Residual and attention branches begin at zero: the network is nearly linear."""
    for block in model.modules():
        if isinstance(block, ResBlock):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)  # type: ignore[arg-type]
        elif isinstance(block, AttentionBlock):
            nn.init.zeros_(block.proj_out.weight)
            nn.init.zeros_(block.proj_out.bias)  # type: ignore[arg-type]
    return model


@torch.no_grad()
def principal_start(model: VQAutoEncoder, maps: Tensor, weight: Tensor) -> VQAutoEncoder:
    """Set the weights of `model` from maps (N, 3, H, H) and texel weights (1, 1, H, H); see the module's first lines.

    A model of several levels only gets `calm_start`.
    """
    config = calm_start(model).config
    if len(config.ch_mult) > 1:
        return model
    patches = _cells(F.pixel_unshuffle(maps, config.patch))
    texel = _cells(F.pixel_unshuffle(weight.expand(1, *maps.shape[1:]), config.patch)).repeat(len(maps), 1)
    mean = (patches * texel).sum(0) / texel.sum(0)
    centred = patches - mean
    share = texel.mean(1, keepdim=True)
    _, vectors = torch.linalg.eigh((centred * share).mT @ centred)
    width = model.config.nf * config.ch_mult[0]
    directions = vectors.flip(1)[:, : min(width, patches.shape[1])]  # (P, K)
    scale = _SIZE / ((centred @ directions[:, 0]).square() * share[:, 0]).mean().div(share.mean()).sqrt()
    kept = min(width, config.emb_dim)
    constant = torch.ones(width)
    constant[1::2] = -1.0

    enter, leave = model.encoder.blocks[0], model.encoder.blocks[-1]
    assert isinstance(enter, nn.Conv2d) and isinstance(leave, nn.Conv2d)
    _centre(enter, (scale * directions).mT, constant.clone())
    enter.bias[: directions.shape[1]] -= scale * (mean @ directions)  # type: ignore[index]
    _centre(leave, torch.eye(config.emb_dim, width), -constant[:kept])

    begin, end = model.generator.blocks[0], model.generator.blocks[-2]
    assert isinstance(begin, nn.Conv2d) and isinstance(end, nn.Conv2d)
    _centre(begin, torch.eye(width, config.emb_dim), constant)
    z = torch.cat([model.encode(piece) for piece in maps.split(16)])
    hidden = z
    for block in model.generator.blocks[:-2]:
        hidden = block(hidden)
    inputs = F.unfold(hidden[:, :kept], 3, padding=1)  # (N, 9 E, cells)
    inputs = inputs.mT.flatten(0, 1)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
    safe = patches.clamp(0.01, 0.99)
    target = torch.logit(safe)
    count = texel.mean(1, keepdim=True)
    gram = (inputs * count).mT @ inputs
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram))
    answer = torch.linalg.solve(gram, (inputs * count).mT @ target)  # (9 E + 1, P)
    end.weight.zero_()
    end.weight[:, :kept] = answer[:-1].mT.unflatten(1, (kept, 3, 3))
    end.bias.copy_(answer[-1])  # type: ignore[union-attr]
    return model


def _cells(folded: Tensor) -> Tensor:
    """(N, P, h, h) -> (N * h * h, P)."""
    return folded.permute(0, 2, 3, 1).flatten(0, 2)


def _centre(conv: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    """A 3x3 convolution that multiplies each cell by `matrix` (out, in); the other taps start small."""
    conv.weight.mul_(0.01)
    conv.weight[: matrix.shape[0], : matrix.shape[1], 1, 1] = matrix
    assert conv.bias is not None
    conv.bias.zero_()
    conv.bias[: len(bias)] = bias
