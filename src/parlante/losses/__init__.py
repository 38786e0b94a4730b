"""Losses: pure functions on tensors, one formula each."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """mean(w |prediction - target|); `weight` broadcasts, and should have mean 1. Without it: plain L1."""
    error = (prediction - target).abs()
    return (error if weight is None else error * weight).mean()


def weighted_l2(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """mean(w (prediction - target)^2); `weight` broadcasts, and should have mean 1."""
    error = (prediction - target).square()
    return (error if weight is None else error * weight).mean()


def gradient_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L1 between finite differences along both axes of (B, C, H, W) maps: creases and lip edges stay sharp."""
    error = prediction - target
    rows, columns = error.diff(dim=-2).abs(), error.diff(dim=-1).abs()
    if weight is not None:
        weight = weight.expand(*weight.shape[:-2], *error.shape[-2:])  # one number may stand for all texels
        rows, columns = rows * weight[..., 1:, :], columns * weight[..., :, 1:]
    return rows.mean() + columns.mean()


def hinge_generator(fake_scores: Tensor) -> Tensor:
    """-mean D(x'): the generator's side of the hinge GAN loss (Lim & Ye 2017)."""
    return -fake_scores.mean()


def hinge_discriminator(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """mean relu(1 - D(x)) + mean relu(1 + D(x'))."""
    return F.relu(1.0 - real_scores).mean() + F.relu(1.0 + fake_scores).mean()


GAN_KINDS = ("hinge", "vanilla", "lsgan", "wgan", "wgan_softplus")


def gan_score(scores: Tensor, kind: str, *, real: bool, generator: bool = False) -> Tensor:
    """One term of a GAN loss: how far scores are from what they should say, mean over all of them.

    real: what the scores should say; generator: the generator's term, which has no hinge. Kinds: hinge relu(1 -+ D),
    vanilla -log sigmoid(+-D), lsgan (D - 1)^2 or D^2, wgan -+D, wgan_softplus as vanilla. Raises ValueError if unknown.
    """
    signed = scores if real else -scores
    if kind == "hinge":
        return -signed.mean() if generator else F.relu(1.0 - signed).mean()
    if kind in ("vanilla", "wgan_softplus"):
        return F.softplus(-signed).mean()
    if kind == "lsgan":
        return (scores - float(real)).square().mean()
    if kind == "wgan":
        return -signed.mean()
    raise ValueError(f"GAN loss must be one of {', '.join(GAN_KINDS)}, got {kind!r}")


def adaptive_weight(pixel_loss: Tensor, adversarial_loss: Tensor, last_weight: Tensor, limit: float = 1.0) -> Tensor:
    """min(limit, |grad pixel| / (|grad adversarial| + 1e-4)) at the generator's last weight (VQGAN, eq. 7)."""
    pixel = torch.autograd.grad(pixel_loss, last_weight, retain_graph=True)[0]
    adversarial = torch.autograd.grad(adversarial_loss, last_weight, retain_graph=True)[0]
    return (pixel.norm() / (adversarial.norm() + 1e-4)).clamp(0.0, limit).detach()


def masked_mse(prediction: Tensor, target: Tensor, kept: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error over the frames that count.

    prediction, target (B, T, D); kept (B, T) 1 for frames that count; weight (D,) of mean 1, or none.
    """
    error = (prediction - target).square()
    error = (error if weight is None else error * weight).mean(-1)
    return (error * kept).sum() / kept.sum().clamp(min=1.0)


def velocity_mse(prediction: Tensor, target: Tensor, kept: Tensor, weight: Tensor | None = None) -> Tensor:
    """`masked_mse` of frame-to-frame differences; a pair counts when both its frames do."""
    return masked_mse(prediction.diff(dim=1), target.diff(dim=1), kept[:, 1:] * kept[:, :-1], weight)


def vertex_coordinates(vertices: Tensor) -> Tensor:
    """Places of vertices (R,) on a flattened coordinate axis: 3v, 3v + 1, 3v + 2 for each -> (3R,)."""
    return (3 * vertices[:, None] + torch.arange(3, device=vertices.device)).flatten()


def region_weighted_mse(
    prediction: Tensor, target: Tensor, coordinates: Tensor, share: float = 0.6
) -> tuple[Tensor, Tensor, Tensor]:
    """(1 - share) * MSE(all) + share * MSE(a region), and both terms (TalkingStyle, "mouth loss").

    prediction, target (..., M); coordinates (K,) places of the region on the last axis, repeats count as weights. From
    vertex numbers they come by `vertex_coordinates`; the released code used the vertex numbers as they are, which
    watches other places of the face.
    """
    everything = F.mse_loss(prediction, target)
    region = F.mse_loss(prediction[..., coordinates], target[..., coordinates])
    return (1.0 - share) * everything + share * region, everything, region
