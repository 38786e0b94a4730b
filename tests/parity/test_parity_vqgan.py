"""The autoencoder and the discriminator against the published ones."""

import json

import numpy as np
import pytest
import torch
from comparison import close
from discover import holding

from parlante import losses
from parlante.geometry.uv import apply_ratio
from parlante.models.textalker.discriminator import PatchDiscriminator
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

AUTOENCODERS = holding("vqgan", "out/codebook_rows", "autoencoder")
DISCRIMINATORS = holding("vqgan", "out/eval", "discriminator")
STEPS = holding("vqgan", "out/with_gan/adaptive_weight", "training")


def build(sizes: dict) -> VQAutoEncoder:
    return VQAutoEncoder(
        VQGANConfig(
            img_size=sizes["img"],
            nf=sizes["nf"],
            ch_mult=tuple(sizes["ch_mult"]),
            res_blocks=sizes["res"],
            attn_resolutions=tuple(sizes["attn"]),
            codebook_size=sizes["codes"],
            emb_dim=sizes["emb"],
        )
    ).eval()


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_autoencoder(parity, name):
    case = parity(name)
    model = build(case.sizes)
    model.load_state_dict(case.part("state"), strict=True)
    inputs, wanted = case.part("in"), case.part("out")
    z = model.encode(inputs["image"])
    close(z, wanted["latent"])
    image, answer = model(inputs["image"])
    assert torch.equal(answer.indices, wanted["indices"])
    close(answer.latent, wanted["quantised"])
    close(model.quantize.nearest(z), wanted["codebook_rows"])
    close(answer.commitment + 0.25 * answer.codebook, wanted["loss"])
    close(answer.perplexity, wanted["perplexity"])
    close(answer.mean_distance, wanted["mean_distance"])
    close(image, wanted["image"])
    close(model.decode(z), wanted["image"])
    decoded = model.decode(inputs["decode/motion_latent"][None])
    close(decoded[0].permute(1, 2, 0), wanted["decode/diff"])


def test_published_size(shared):
    """Every key and shape of the released networks."""
    path = shared / "parity" / "textalker" / "real_size_keys.json"
    if not path.is_file():
        pytest.skip(f"no list of the published keys: {path}")
    wanted = json.loads(path.read_text())
    with torch.device("meta"):
        networks = {
            "vqautoencoder": VQAutoEncoder(VQGANConfig()),
            "vqgandiscriminator": PatchDiscriminator(ndf=64, layers=4),
        }
    for name, network in networks.items():
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == wanted[name]


def picture(values: np.ndarray, wanted: torch.Tensor) -> None:
    """Bytes of (H, W, 3) values in 0..1 against a stored B, G, R picture; +-1 where a value sits on an edge."""
    ours = np.rint(values.clip(0, 1) * 255).astype(int)
    difference = np.abs(ours - wanted.numpy()[..., ::-1])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3, (difference.max(), (difference > 0).mean())


@pytest.mark.parametrize("name", AUTOENCODERS)
@torch.no_grad()
def test_published_decode(parity, name):
    """Latents to the pictures of a motion map, a wrinkle map and the coloured frame."""
    case = parity(name)
    model = build(case.sizes)
    model.load_state_dict(case.part("state"), strict=True)
    inputs, wanted = case.part("in"), case.part("out")
    motion = model.decode(inputs["decode/motion_latent"][None])[0].permute(1, 2, 0).numpy()
    picture(motion, wanted["decode/diff_png"])
    wrinkle = model.decode(inputs["decode/tex_latent"][None])[0].permute(1, 2, 0).numpy()
    picture(wrinkle, wanted["decode/wrinkle_png"])
    face = np.ascontiguousarray(inputs["decode/face_bgr"].numpy()[..., ::-1])
    picture(apply_ratio(face, wrinkle) / 255.0, wanted["decode/face_png"])


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator(parity, name):
    case = parity(name)
    model = PatchDiscriminator(ndf=case.sizes["ndf"], layers=case.sizes["layers"])
    model.load_state_dict(case.part("state"), strict=True)
    image, wanted = case.part("in")["image"], case.part("out")
    close(model.eval()(image), wanted["eval"])
    close(model.train()(image), wanted["train"])
    state = model.state_dict()
    for key, value in case.part("out/after").items():
        close(state[key].double(), value.double())


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("kind", losses.GAN_KINDS)
def test_gan_losses(parity, kind, name):
    case = parity(name)
    scores, wanted = case.part("in")["scores"], case.part(f"out/{kind}")
    generator = losses.gan_score(scores, kind, real=True, generator=True)
    close(generator * case.sizes["loss_weight"], wanted["generator"])
    close(losses.gan_score(scores, kind, real=True), wanted["disc_real"])
    close(losses.gan_score(scores, kind, real=False), wanted["disc_fake"])
    if kind == "hinge":
        far = torch.full_like(scores, 9.0)  # a side that the hinge leaves alone
        close(losses.hinge_generator(scores), generator)
        close(losses.hinge_discriminator(scores, -far), wanted["disc_real"])
        close(losses.hinge_discriminator(far, scores), wanted["disc_fake"])
    with pytest.raises(ValueError, match=r"hinge.*'none'"):
        losses.gan_score(scores, "none", real=True)


def norms(model: torch.nn.Module, names: list[str], wanted: torch.Tensor) -> None:
    """Norms of every gradient; attention key biases have a true gradient of 0."""
    parameters = dict(model.named_parameters())
    ours = torch.stack([parameters[name].grad.norm() for name in names]).double()
    key = torch.tensor(["k.bias" in name for name in names])
    assert not key.any() or ours[key].max() < 1e-6
    torch.testing.assert_close(ours[~key], wanted[~key], rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("stage", ["before_gan", "with_gan"])
def test_training_step(parity, stage, name):
    """One published step: pixel, codebook and adversarial losses, adaptive weight, all gradient norms of both nets."""
    case = parity(name)
    model = build(case.sizes)
    model.load_state_dict(case.part("state"), strict=True)
    sizes, wanted, names = case.sizes, case.part(f"out/{stage}"), case.sizes["grad_names"]
    critic = PatchDiscriminator(ndf=sizes["ndf"], layers=sizes["disc_layers"])
    critic.load_state_dict(case.part("state_d"), strict=True)
    critic.train()
    image = case.part("in")["gt"]
    output, answer = model.train()(image)
    pixel = losses.weighted_l1(output, image)
    codebook = answer.commitment + 0.25 * answer.codebook
    close(pixel.double(), wanted["l_g_pix"])
    close(codebook.double(), wanted["l_codebook"])
    if stage == "before_gan":
        (pixel + codebook).backward()
        norms(model, names[f"{stage}/g"], wanted["grad_norms_g"])
        return
    critic.requires_grad_(False)  # its batch statistics move all the same
    adversarial = losses.hinge_generator(critic(output)) * sizes["loss_weight"]
    weight = losses.adaptive_weight(pixel, adversarial, model.last_weight)
    close(weight, wanted["adaptive_weight"], 2e-4)
    share = weight * sizes["disc_weight"] * adversarial
    close(share.double(), wanted["l_g_gan"], 2e-4)
    (pixel + codebook + share).backward()
    norms(model, names[f"{stage}/g"], wanted["grad_norms_g"])
    critic.requires_grad_(True)
    real, fake = critic(image), critic(output.detach())
    close(real.mean().double(), wanted["out_d_real"], 2e-4)
    close(fake.mean().double(), wanted["out_d_fake"], 2e-4)
    close(losses.gan_score(real, "hinge", real=True).double(), wanted["l_d_real"])
    close(losses.gan_score(fake, "hinge", real=False).double(), wanted["l_d_fake"])
    losses.hinge_discriminator(real, fake).backward()
    norms(critic, names[f"{stage}/d"], wanted["grad_norms_d"])
