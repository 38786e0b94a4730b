"""Perceptual distances for training autoencoders: LPIPS with weights that the user brings, and a stand-in without any.

LPIPS (Zhang et al. 2018, "The unreasonable effectiveness of deep features", version 0.1, VGG16): features after five
stages, each pixel's feature vector scaled to length one, squared differences weighed per channel, averaged over pixels,
summed over stages. The weights are not part of this package.
"""

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from parlante.core import InputError

_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Numbers of VGG16's convolutions in torchvision's `features`; a stage ends after the last one's ReLU."""
_WIDTHS = (64, 128, 256, 512, 512)
_CONV = re.compile(r"(?:features|slice\d)\.(\d+)\.(weight|bias)$")
_LINEAR = re.compile(r"lin(\d)\.model\.1\.weight$")


class LPIPS(nn.Module):
    """Distance of images in 0..1; frozen. Made by `from_file`."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        width = 3
        for numbers, out in zip(_STAGES, _WIDTHS, strict=True):
            convs = [nn.Conv2d(width if k == 0 else out, out, 3, padding=1) for k in range(len(numbers))]
            self.stages.append(nn.ModuleList(convs))
            width = out
        self.channel_weights = nn.ParameterList(torch.zeros(out) for out in _WIDTHS)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) each, 0..1 -> mean distance over the batch."""
        x, y = ((2 * picture - 1 - self.shift) / self.scale for picture in (image, target))
        total = x.new_zeros(())
        for number, (stage, weight) in enumerate(zip(self.stages, self.channel_weights, strict=True)):
            if number:
                x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
            for conv in stage:  # type: ignore[attr-defined]
                x, y = F.relu(conv(x)), F.relu(conv(y))
            difference = _unit(x) - _unit(y)
            total = total + (difference.square() * weight.view(1, -1, 1, 1)).sum(1).mean()
        return total

    @classmethod
    def from_file(cls, path: Path | str) -> "LPIPS":
        """Read VGG16 and the five linear layers from one safetensors or torch file (tensors only, nothing executes).

        Keys may carry any prefix: `features.N.weight` (torchvision) or `sliceK.N.weight` for the convolutions,
        `linK.model.1.weight` for the channel weights, as the authors' package and its descendants write them.
        Raises InputError if the file is missing, is none, or lacks a tensor.
        """
        tensors = _read(Path(path))
        model, found = cls(), {}
        for key, value in tensors.items():
            if match := _CONV.search(key):
                found[f"conv {match[1]} {match[2]}"] = value
            elif match := _LINEAR.search(key):
                found[f"lin {match[1]}"] = value.flatten()
        wanted = {}
        for stage, numbers in enumerate(_STAGES):
            for place, number in enumerate(numbers):
                for part in ("weight", "bias"):
                    wanted[f"conv {number} {part}"] = f"stages.{stage}.{place}.{part}"
            wanted[f"lin {stage}"] = f"channel_weights.{stage}"
        if missing := [name for name in wanted if name not in found]:
            raise InputError(
                f"{path} lacks {len(missing)} of {len(wanted)} tensors of LPIPS with VGG16, the first {missing[0]!r}; "
                "give one file that holds both the VGG16 features and the lin layers"
            )
        try:
            model.load_state_dict({place: found[name].float() for name, place in wanted.items()})
        except RuntimeError as error:
            raise InputError(f"{path} holds tensors of other shapes than VGG16's: {error}") from error
        return model.eval()


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"no LPIPS weights at {path}. They are not part of this package: give one file with the VGG16 features and "
            "the LPIPS lin layers, or go without: loss.perceptual=gradients in training, no --lpips in an evaluation"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise InputError(f"cannot read the LPIPS weights {path}: {error}") from error
    except Exception as error:  # an unpickling error of torch has no public base class
        if type(error).__name__ != "UnpicklingError":
            raise
        raise InputError(f"{path} holds more than tensors; convert it to safetensors") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise InputError(f"{path} is no mapping of tensors; give a state dict")
    return tensors


class GradientPyramid(nn.Module):
    """The stand-in: L1 between image gradients at four scales, each scale counting alike.

    It asks for edges and creases of every size in the right place, as LPIPS does, but knows nothing of what they mean.
    """

    def __init__(self, scales: int = 4) -> None:
        super().__init__()
        self.scales = scales

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """(B, C, H, W) each -> mean over the scales."""
        error, total = image - target, image.new_zeros(())
        for scale in range(self.scales):
            if scale:
                error = F.avg_pool2d(error, 2)
            if min(error.shape[-2:]) < 2:
                return total / scale
            total = total + error.diff(dim=-2).abs().mean() + error.diff(dim=-1).abs().mean()
        return total / self.scales


def perceptual(kind: str, weights: str = "") -> nn.Module | None:
    """none, gradients (the stand-in) or lpips with a file of weights. Raises InputError for anything else."""
    if kind == "none":
        return None
    if kind == "gradients":
        return GradientPyramid()
    if kind == "lpips":
        if not weights:
            raise InputError(
                "loss.perceptual=lpips needs loss.perceptual_file=FILE with the VGG16 features and LPIPS lin layers;"
                " they are not part of this package. loss.perceptual=gradients needs no file"
            )
        return LPIPS.from_file(weights)
    raise InputError(f"loss.perceptual is none, gradients or lpips, got {kind!r}")
