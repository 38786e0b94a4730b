"""The autoencoder and the discriminator against the published ones."""

import torch
from comparison import close

from parlante import losses
from parlante.models.textalker.discriminator import PatchDiscriminator
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig


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


@torch.no_grad()
def test_autoencoder(parity):
    case = parity("vqgan/autoencoder")
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


def test_discriminator(parity):
    case = parity("vqgan/discriminator")
    model = PatchDiscriminator(ndf=case.sizes["ndf"], layers=case.sizes["layers"])
    model.load_state_dict(case.part("state"), strict=True)
    image, wanted = case.part("in")["image"], case.part("out")
    close(model.eval()(image), wanted["eval"])
    close(model.train()(image), wanted["train"])
    state = model.state_dict()
    for name, value in case.part("out/after").items():
        close(state[name].double(), value.double())


def test_hinge(parity):
    case = parity("vqgan/discriminator")
    scores, wanted, weight = case.part("in")["scores"], case.part("out/hinge"), case.sizes["loss_weight"]
    far = torch.full_like(scores, 9.0)  # a side that the hinge leaves alone
    generator = losses.hinge_generator(scores)
    close(generator * weight, wanted["generator"])
    close(losses.hinge_discriminator(scores, -far), wanted["disc_real"])
    close(losses.hinge_discriminator(far, scores), wanted["disc_fake"])


def test_training_step_losses(parity):
    """Pixel, codebook and adversarial losses, the adaptive weight and every gradient norm of one generator step."""
    case = parity("vqgan/training")
    model = build(case.sizes)
    model.load_state_dict(case.part("state"), strict=True)
    sizes, wanted = case.sizes, case.part("out")
    critic = PatchDiscriminator(ndf=sizes["ndf"], layers=sizes["disc_layers"])
    critic.load_state_dict(case.part("state_d"), strict=True)
    image = case.part("in")["gt"]
    output, answer = model.train()(image)
    pixel = losses.weighted_l1(output, image)
    codebook = answer.commitment + 0.25 * answer.codebook
    close(pixel.double(), wanted["before_gan/l_g_pix"])
    close(codebook.double(), wanted["before_gan/l_codebook"])
    adversarial = losses.hinge_generator(critic.train()(output)) * sizes["loss_weight"]
    weight = losses.adaptive_weight(pixel, adversarial, model.last_weight)
    close(weight, wanted["with_gan/adaptive_weight"], 2e-4)
    share = weight * sizes["disc_weight"] * adversarial
    close(share.double(), wanted["with_gan/l_g_gan"], 2e-4)
    names = sizes["grad_names"]
    (pixel + codebook + share).backward()
    grads = dict(model.named_parameters())
    norms = torch.stack([grads[name].grad.norm() for name in names["with_gan/g"]]).double()
    theirs = wanted["with_gan/grad_norms_g"]
    key = torch.tensor(["k.bias" in name for name in names["with_gan/g"]])  # true gradient 0
    assert norms[key].max() < 1e-6
    torch.testing.assert_close(norms[~key], theirs[~key], rtol=2e-4, atol=1e-7)
