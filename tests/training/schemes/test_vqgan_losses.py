"""What the autoencoders' training does beside falling: adversary, average, codes, perceptual terms, scanned corpora."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from miniature import SIZE, pack, write_miniature
from safetensors.torch import save_file
from tiny import arguments
from torch.nn import functional as F

from parlante.cli import train
from parlante.core import InputError, Topology
from parlante.geometry.uv import bake_table
from parlante.losses.perceptual import LPIPS, GradientPyramid, perceptual
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.loop import Loop
from parlante.training.engine.recipe import LoopConfig, read_recipe
from parlante.training.engine.schema import section
from parlante.training.engine.scheme import Ema
from parlante.training.features.scanned_maps import ScannedMaps
from parlante.training.schemes.codebook import CodebookHealth
from parlante.training.schemes.vqgan import Material, VQGANLossConfig, VQGANScheme

TINY = VQGANConfig(
    img_size=32, nf=8, ch_mult=(1, 1), res_blocks=1, attn_resolutions=(), norm_groups=4, codebook_size=8, emb_dim=4
)


class Noise:
    """Batches of smooth noise."""

    def batch(self, step: int, *stream: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        coarse = torch.rand(2, 3, 8, 8, generator=generator)
        return F.interpolate(coarse, (32, 32), mode="bilinear")


def scheme(loop: LoopConfig | None = None, **changes) -> VQGANScheme:
    torch.manual_seed(0)
    loss = VQGANLossConfig(**{"skip_share": 0.0, "start_codes": False, "revive_every": 0, **changes})
    loop = loop or LoopConfig(max_steps=10, warmup=0, clip=0, log_every=1, accelerator="cpu")
    made = VQGANScheme(VQAutoEncoder(TINY), loop, loss, Material(Noise()), "motion")
    made.ema = Ema(made.network, 0.9)
    return made


def take_steps(made: VQGANScheme, count: int) -> list[dict[str, float]]:
    """Steps of the loop, with their logs."""
    rows: list[dict[str, float]] = []
    average = made.ema
    loop = Loop(made, Path())
    made.ema = average
    loop._note = rows.append  # type: ignore[method-assign, assignment]
    for _ in range(count):
        loop.step([made.batch(made.steps_done)])
    return rows


def test_adversary_waits_then_joins():
    made = scheme(adversarial_from=2, discriminator_width=4, discriminator_layers=2)
    before = copy.deepcopy(made.critic.state_dict())
    rows = take_steps(made, 2)
    assert all("adversarial" not in row and "discriminator" not in row for row in rows)
    assert all(torch.equal(value, before[key]) for key, value in made.critic.state_dict().items())
    joined = take_steps(made, 2)
    assert all({"adversarial", "adaptive", "discriminator"} <= row.keys() for row in joined)
    changed = [key for key, value in made.critic.state_dict().items() if not torch.equal(value, before[key])]
    assert {"main.0.weight", "main.3.running_mean"} <= set(changed)


def test_adaptive_weight_balances_gradients():
    """share = min(1, |d pixel| / (|d g| + 1e-4)) at the last weight, g = gan * -mean D, and the sum of all terms."""
    made = scheme(adversarial_from=0, discriminator_width=4, discriminator_layers=2, gan=0.2, adversarial=0.3)
    for parameter in made.critic.parameters():  # loud enough for the quotient to be below one
        parameter.data *= 4
    twin, batch = copy.deepcopy(made), made.batch(0)
    values = made.losses(batch)
    output, code = twin.network(batch)
    pixel = (output - batch).abs().mean()
    adversarial = -0.2 * twin.critic(output).mean()
    last = twin.network.last_weight
    a, b = (torch.autograd.grad(term, last, retain_graph=True)[0].norm() for term in (pixel, adversarial))
    share = torch.clamp(a / (b + 1e-4), max=1.0)
    assert 0 < share < 1
    torch.testing.assert_close(values["adaptive"], share)
    total = pixel + 0.25 * code.commitment + code.codebook + 0.3 * share * adversarial
    torch.testing.assert_close(values["loss"], total)
    values["loss"].backward()
    assert all(
        p.grad is None and p.requires_grad for p in made.critic.parameters()
    )  # the adversary does not learn here


def test_average_follows_the_weights():
    made = scheme()
    wanted = made.network.generator.blocks[0].weight.detach().clone()
    for step in range(1, 4):
        take_steps(made, 1)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * made.network.generator.blocks[0].weight.detach()
        torch.testing.assert_close(made.ema.state["generator.blocks.0.weight"], wanted)


def test_dead_codes_come_back():
    """Codes far from every latent are never chosen; revived they are; left alone they stay dead."""
    for every in (0, 2):
        made = scheme(revive_every=every, alive=0.5)
        made.health.memory = 1.0
        model = made.network
        with torch.no_grad():
            model.quantize.embedding.weight[2:] += 1000.0
        take_steps(made, 2)
        chosen = model.quantize(model.encode(torch.cat([made.batch(k) for k in range(8)]))).indices.unique()
        assert (len(chosen) > 4) == bool(every)
        if every:
            kept = made.ema.state["quantize.embedding.weight"]
            assert model.quantize.embedding.weight.abs().max() < 100 and kept.abs().max() < 1000
        else:
            assert set(chosen.tolist()) <= {0, 1}


def test_health_counts_use():
    health = CodebookHealth(4, alive=0.2, memory=0.5)
    for _ in range(20):
        dead = health.see(torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(health.usage, torch.tensor([0.5, 0.25, 0.25, 0.0]), atol=1e-5, rtol=0)
    assert dead.tolist() == [False, False, False, True]


def test_bfloat16_changes_little_and_leaves_codes_exact():
    plain, mixed = scheme(), scheme(autocast=True)
    batch = plain.batch(0)
    a, b = plain.losses(batch), mixed.losses(batch)
    assert a["loss"] != b["loss"]
    torch.testing.assert_close(a["loss"], b["loss"], rtol=0.05, atol=1e-3)
    assert b["loss"].dtype == torch.float32
    b["loss"].backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in mixed.network.parameters())


# -- perceptual terms


def vgg(prefix: str, linear: str) -> dict[str, torch.Tensor]:
    """Random weights under an author's key names."""
    generator, tensors, width = torch.Generator().manual_seed(3), {}, 3
    stages = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    for stage, (numbers, out) in enumerate(zip(stages, (64, 128, 256, 512, 512), strict=True)):
        for number in numbers:
            name = prefix.format(slice=stage + 1, number=number)
            tensors[f"{name}.weight"] = torch.randn(out, width, 3, 3, generator=generator) * (2 / (9 * width)) ** 0.5
            tensors[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1
            width = out
        tensors[linear.format(stage=stage)] = torch.rand(1, out, 1, 1, generator=generator)
    return tensors


@pytest.fixture(scope="module")
def lpips(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "vgg.safetensors"
    save_file(vgg("features.{number}", "lin{stage}.model.1.weight"), path)
    return LPIPS.from_file(path)


def test_lpips_is_the_published_formula(lpips):
    weights = vgg("{number}", "lin{stage}")
    images = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    features = []
    for image in images:
        x = (2 * image - 1 - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor(
            [0.458, 0.448, 0.450]
        )[:, None, None]
        kept = []
        for number in range(30):  # the layers of VGG16 in order
            if f"{number}.weight" in weights:
                x = F.conv2d(x, weights[f"{number}.weight"], weights[f"{number}.bias"], padding=1)
            elif number in (4, 9, 16, 23):
                x = F.max_pool2d(x, 2)
            else:
                x = F.relu(x)
            if number in (3, 8, 15, 22, 29):
                kept.append(F.normalize(x, dim=1, eps=1e-10))
        features.append(kept)
    wanted = sum(
        F.conv2d((a - b).square(), weights[f"lin{stage}"]).mean()
        for stage, (a, b) in enumerate(zip(*features, strict=True))
    )
    torch.testing.assert_close(lpips(*images), wanted, rtol=1e-4, atol=1e-5)
    assert lpips(images[0], images[0]) == 0
    assert not any(p.requires_grad for p in lpips.parameters())


def test_lpips_reads_other_names_and_refuses_the_rest(lpips, tmp_path):
    tensors = vgg("net.slice{slice}.{number}", "lin{stage}.model.1.weight")
    torch.save(tensors, tmp_path / "other.pth")
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(LPIPS.from_file(tmp_path / "other.pth")(image, 1 - image), lpips(image, 1 - image))
    del tensors["lin3.model.1.weight"]
    torch.save(tensors, tmp_path / "short.pth")
    torch.save({"model": SimpleNamespace()}, tmp_path / "objects.pth")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    for name, message in (
        ("short.pth", "lacks 1 of 31 .*'lin 3'"),
        ("objects.pth", "more than tensors"),
        ("damaged.safetensors", "cannot read"),
        ("absent.pth", "not part of this package.*loss.perceptual=gradients"),
    ):
        with pytest.raises(InputError, match=message):
            perceptual("lpips", str(tmp_path / name))
    with pytest.raises(InputError, match="perceptual_file=FILE"):
        perceptual("lpips")
    with pytest.raises(InputError, match="got 'vgg'"):
        perceptual("vgg")


def test_stand_in_sees_edges_of_every_size():
    pyramid, image = GradientPyramid(), torch.rand(1, 3, 64, 64)
    assert pyramid(image, image) == 0
    assert pyramid(image + 0.1, image) < 1e-6  # brightness alone is the L1 term's business
    coarse = F.interpolate(torch.rand(1, 3, 8, 8), (64, 64))
    fine_error = pyramid(F.avg_pool2d(image, 5, 1, 2), image)
    coarse_error = pyramid(torch.full_like(coarse, coarse.mean().item()), coarse)
    assert fine_error > 0.02 and coarse_error > 0.02


def test_perceptual_term_counts_only_with_a_share():
    logged, counted = scheme(perceptual="gradients"), scheme(perceptual="gradients", perceptual_share=2.0)
    batch = logged.batch(0)
    a, b = logged.losses(batch), counted.losses(batch)
    assert a["perceptual"] == b["perceptual"] > 0 and not a["perceptual"].requires_grad
    torch.testing.assert_close(b["loss"] - a["loss"], 2 * a["perceptual"])


# -- scanned corpora and the recipes of the published size


@pytest.fixture
def scanned(tmp_path):
    write_miniature(tmp_path / "source", 30)
    pack(tmp_path / "source", tmp_path / "corpus", shortest=3, held_out=1)
    return tmp_path / "corpus"


@pytest.mark.parametrize("kind", ["motion", "wrinkle"])
def test_scanned_maps(kind, scanned):
    data = ScannedMaps(scanned, kind, SIZE, 3, seed=1)
    assert torch.equal(data.batch(5), data.batch(5)) and not torch.equal(data.batch(5), data.batch(6))
    assert data.batch(0).shape == (3, 3, SIZE, SIZE) and data.batch(0).dtype == torch.float32
    held = data.held_out()
    drawn = torch.cat([data.batch(k) for k in range(60)])
    assert (held[:, None] - drawn[None]).abs().flatten(2).amax(-1).min() > 0  # no batch holds a held-out frame
    frames = {tuple(np.round(m.flatten().numpy(), 5)) for m in drawn}
    assert len(frames) > 20
    if kind == "motion":
        assert torch.equal(drawn, (drawn * 255).round() / 255)
    with pytest.raises(InputError, match=f"16 x 16, the model wants at least {2 * SIZE}"):
        ScannedMaps(scanned, "wrinkle", 2 * SIZE, 3, seed=1)


@pytest.mark.parametrize("kind", ["motion", "wrinkle"])
def test_paper_recipe_trains_on_scans(kind, scanned, tmp_path):
    """The recipe of the published size, shrunk by its numbers alone, runs to an export."""
    changes = (
        f"data.corpus={scanned}", f"model.img_size={SIZE}", "model.nf=8", "model.ch_mult=[1, 2]", "model.norm_groups=4",
        "model.attn_resolutions=[8]", "model.codebook_size=16", "loss.adversarial_from=1", "loss.discriminator_width=4",
        "loss.discriminator_layers=1", "loop.max_steps=3", "loop.accelerator=cpu", "loop.devices=1", "loop.threads=1",
        "loss.perceptual=gradients",
    )  # fmt: skip
    assert train.run(arguments(f"{kind}_vqgan_paper", tmp_path / "runs", *changes)) == 0
    model = VQAutoEncoder.from_pretrained(tmp_path / "runs" / f"{kind}_vqgan-001" / "export")
    assert model.config.ch_mult == (1, 2)
    rows = (tmp_path / "runs" / f"{kind}_vqgan-001" / "log-0" / "metrics.csv").read_text()
    assert "perplexity" in rows.splitlines()[0]


@pytest.mark.parametrize("kind", ["motion", "wrinkle"])
def test_paper_recipe_has_the_published_numbers(kind):
    from pathlib import Path

    root = Path(__file__).parents[3] / "recipes" / "textalker"
    recipe = read_recipe(root / f"{kind}_vqgan_paper.yaml")
    assert section(VQGANConfig, recipe, "model") == VQGANConfig()
    loss, loop = section(VQGANLossConfig, recipe, "loss"), section(LoopConfig, recipe, "loop")
    assert (loss.l1, loss.commitment, loss.codebook, loss.adversarial * loss.gan) == (1, 1, 0.25, pytest.approx(0.04))
    assert loss.perceptual == "none" and not loss.revive_every and not loss.start_codes and not loss.skip_share
    assert (loop.max_steps, loop.lr, loop.ema, loop.clip) == (500_000, 2e-5, 0.995, 0)


def test_a_mesh_without_a_texture_layout_is_refused():
    bare = Topology("bare", 4, np.array([[0, 1, 2], [0, 2, 3]]), np.zeros((1, 2)), np.zeros((2, 3), int))
    with pytest.raises(InputError, match="no triangle of bare covers a texel at size 16: it has no texture"):
        bake_table(bare, 16)
