"""The rearranged VQGAN computes what the plain one computes."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from parlante.models.cpu.vqgan import FastVQGAN, fast_vqgan, has_bfloat16
from parlante.models.cpu.winograd import Affine, WinogradConv, channel_sums
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

SIZES = VQGANConfig(
    img_size=64, nf=16, ch_mult=(1, 2, 3), res_blocks=1, attn_resolutions=(32,), norm_groups=8, codebook_size=16
)


def model(**changes) -> VQAutoEncoder:
    torch.manual_seed(0)
    made = VQAutoEncoder(dataclasses.replace(SIZES, **changes)).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():  # norms that do something, codes apart
        if "norm" in name or "embedding" in name:
            nn.init.normal_(parameter, 1.0 if "norm" in name and "weight" in name else 0.0, 0.5)
    return made


def close(ours: torch.Tensor, wanted: torch.Tensor, tolerance: float = 2e-5) -> None:
    assert ours.shape == wanted.shape
    assert (ours - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize(("channels", "outputs", "side"), [(16, 32, 4), (32, 16, 44), (48, 16, 64)])
def test_convolution(channels, outputs, side, grow):
    """Norm, swish, doubling, convolution, sum: against torch, and the statistics of the result."""
    torch.manual_seed(0)
    image, conv = torch.randn(side, side, channels), nn.Conv2d(channels, outputs, 3, padding=1).requires_grad_(False)
    norm = nn.GroupNorm(8, channels, eps=1e-6).requires_grad_(False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = F.silu(norm(image.permute(2, 0, 1)[None]))
    wanted = conv(F.interpolate(x, scale_factor=2.0) if grow else x)[0].permute(1, 2, 0)
    added = torch.randn_like(wanted)
    affine = Affine.of(norm, channel_sums(image), side * side, active=True)
    out, sums = WinogradConv(conv, grow=grow)(image, affine, added=added)
    close(out, wanted + added)
    np.testing.assert_allclose(sums, channel_sums(out), rtol=1e-4, atol=1e-2)


def test_what_does_not_fit_is_known():
    assert WinogradConv.fits(nn.Conv2d(16, 32, 3, padding=1))
    for conv in (
        nn.Conv2d(16, 3, 3, padding=1),
        nn.Conv2d(16, 16, 3, 2, 1),
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, 3),
    ):
        assert not WinogradConv.fits(conv)


@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_both_ways(activation, threads, monkeypatch):
    plain = model(final_activation=activation)
    fast = FastVQGAN(plain)
    assert fast.fast
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        image = torch.rand(3, 3, 64, 64)
        z = fast.encode(image)
        close(z, plain.encode(image))
        close(fast.decode(z, quantise=False), plain.decode(z, quantise=False))
        close(fast.decode(z), plain.decode(z))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("changes", [{"patch": 4, "img_size": 64}, {"nf": 8, "ch_mult": (1, 1, 1)}])
def test_other_sizes_run_on_the_plain_modules(changes):
    plain = model(**changes)
    fast = FastVQGAN(plain)
    assert not fast.fast
    image = torch.rand(2, 3, 64, 64)
    z = plain.encode(image)
    close(fast.encode(image), z)
    close(fast.decode(z), plain.decode(z))


def test_bfloat16_is_near_and_chosen_where_it_pays():
    plain = model()
    z = plain.encode(torch.rand(1, 3, 64, 64))
    half = FastVQGAN(plain, precision="bfloat16")
    error = (half.decode(z) - plain.decode(z)).abs().mean()
    assert 0 < error < 0.02
    assert (FastVQGAN(plain, precision="auto").dtype == torch.bfloat16) == has_bfloat16()
    with pytest.raises(ValueError, match=r"auto, got 'float16'"):
        FastVQGAN(plain, precision="float16")


def test_kept_until_weights_change():
    plain = model()
    z = torch.randn(1, 16, 16, 16)
    kept = fast_vqgan(plain)
    assert fast_vqgan(plain) is kept
    before = kept.decode(z)
    plain.load_state_dict({name: 1.1 * value for name, value in plain.state_dict().items()})
    after = fast_vqgan(plain).decode(z)
    assert (after - before).abs().max() > 1e-3
    close(after, plain.decode(z))


def test_extreme_values_stay_finite():
    """Swish far out is the identity or nothing."""
    image = torch.linspace(-400, 400, 16 * 16 * 16).view(16, 16, 16)
    conv = nn.Conv2d(16, 16, 3, padding=1).requires_grad_(False)
    nn.init.dirac_(conv.weight)
    nn.init.zeros_(conv.bias)
    unchanged = Affine(torch.ones(16), torch.zeros(16), active=True)
    out, _ = WinogradConv(conv)(image, unchanged)
    torch.testing.assert_close(out, F.silu(image), rtol=1e-5, atol=1e-3)
