"""The closed-form start: a good coder before the first training step."""

import torch

from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.schemes.principal_start import calm_start, principal_start

SIZES = {"img_size": 32, "nf": 32, "res_blocks": 1, "attn_resolutions": (), "norm_groups": 4, "codebook_size": 8}


def maps(count: int) -> torch.Tensor:
    """Mixtures of five smooth pictures, around 0.4."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.nn.functional.interpolate(torch.randn(5, 3, 4, 4, generator=generator), 32, mode="bicubic")
    amounts = 0.06 * torch.randn(count, 5, generator=generator)
    return 0.4 + torch.einsum("nk,kchw->nchw", amounts, basis)


@torch.no_grad()
def test_one_level_codes_at_once():
    torch.manual_seed(0)
    known, fresh = maps(80)[:64], maps(80)[64:]
    weight = torch.ones(1, 1, 32, 32)
    model = principal_start(VQAutoEncoder(VQGANConfig(**SIZES, ch_mult=(1,), patch=4)), known, weight)
    error = (model.decode(model.encode(fresh), quantise=False) - fresh).square().mean()
    assert error < 0.06 * (fresh - known.mean((0, 2, 3), keepdim=True)).square().mean()


def test_training_reaches_every_weight():
    torch.manual_seed(0)
    batch = maps(4)
    model = principal_start(VQAutoEncoder(VQGANConfig(**SIZES, ch_mult=(1,), patch=4)), batch, torch.ones(1, 1, 32, 32))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):  # branches that begin at zero let the gradient through from the second step on
        optimizer.zero_grad()
        output, code = model(batch, torch.tensor([True, True, False, False]))
        ((output - batch).square().mean() + code.commitment + code.codebook).backward()
        optimizer.step()
    # keys of an attention have no gradient through their bias
    dead = [n for n, p in model.named_parameters() if not p.grad.any() and not n.endswith("k.bias")]
    assert not dead


def test_several_levels_start_calm():
    model = calm_start(VQAutoEncoder(VQGANConfig(**SIZES, ch_mult=(1, 1), patch=2)))
    block = model.encoder.blocks[1]
    x = torch.randn(1, 32, 8, 8)
    assert torch.equal(block(x), x)
