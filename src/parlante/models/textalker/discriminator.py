"""PatchGAN: a score for each overlapping patch of a map (Isola et al. 2017), as published with TexTalker."""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """4x4 convolutions: `layers` of stride 2, one of stride 1, one score map. Names as released: `main.i`."""

    def __init__(self, channels: int = 3, ndf: int = 64, layers: int = 4) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = ndf
        for layer in range(1, layers + 1):
            wider, stride = ndf * min(2**layer, 8), 2 if layer < layers else 1
            blocks += [
                nn.Conv2d(width, wider, 4, stride, 1, bias=False),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        self.main = nn.Sequential(*blocks, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, H) -> (B, 1, h, h) scores, higher = more real."""
        return self.main(image)
