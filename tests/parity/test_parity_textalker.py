"""Schedule, denoiser, training pass and samplers against the published ones."""

import pytest
import torch
from comparison import close
from discover import holding

from parlante.models.textalker.denoiser import DenoiserConfig, DenoisingNetwork
from parlante.models.textalker.diffusion import DynamicThreshold, LatentDiffusion, Past
from parlante.models.textalker.schedule import DiffusionSchedule


def sizes_of(sizes: dict) -> DenoiserConfig:
    return DenoiserConfig(
        motion_dim=sizes["latent"],
        wrinkle_dim=sizes["latent"],
        width=sizes["feature"],
        frames=sizes["n"],
        previous=sizes["prev"],
        steps=sizes["steps"],
    )


@pytest.mark.parametrize("kind", ["cosine_500", "cosine_20", "linear_20", "quadratic_20", "sigmoid_20"])
def test_schedule(parity, kind):
    wanted = parity("textalker/schedule").part(f"out/{kind}")
    name, steps = kind.split("_")
    ours = DiffusionSchedule(int(steps), name)
    for table in ("betas", "alphas", "alpha_bars", "sigmas_flex", "sigmas_inflex"):
        close(getattr(ours, table), wanted[table], 1e-4)
    close(torch.stack([ours.sigma(t, 0.3) for t in range(int(steps) + 1)]), wanted["sigma_flex0.3"], 1e-4)


@pytest.mark.parametrize("name", holding("textalker", "in/feat", "denoiser"))
@torch.no_grad()
def test_denoiser(parity, name):
    case = parity(name)
    model = DenoisingNetwork(sizes_of(case.sizes)).eval()
    fresh = {key: model.state_dict()[key].clone() for key in ("TE.pe", "alignment_mask")}
    state, given = case.part("state"), case.part("in")
    close(fresh["TE.pe"], state["TE.pe"])
    assert torch.equal(fresh["alignment_mask"], state["alignment_mask"])
    model.load_state_dict(state, strict=True)
    rest = (given["prev_feat"], given["prev_audio_feat"], given["step"], given["indicator"])
    close(model(given["feat"], given["audio_feat"], *rest), case.part("out")["target"])
    layer = model.transformer.layers[0]
    x, memory = torch.randn(2, *model.PE.shape[1:]), torch.randn(2, model.PE.shape[1] - 1, model.PE.shape[2])
    torch_layer = torch.nn.TransformerDecoderLayer.forward
    slow = torch_layer(layer, x, memory, memory_mask=model.alignment_mask)
    close(layer(x, memory), slow)


@pytest.mark.parametrize("name", holding("textalker", "in/first/uniform", "forward"))
@pytest.mark.parametrize("window", ["first", "next"])
@torch.no_grad()
def test_training_pass(parity, window, name):
    case = parity(name)
    model = LatentDiffusion(sizes_of(case.sizes)).eval()
    model.load_state_dict(case.part("state"), strict=True)
    given = case.part("in")
    past = None
    if window == "next":
        latents = torch.cat([given["prev_motion_feat"], given["prev_tex_feat"]], -1)
        past = Past(latents, given["prev_audio_feat"])
    answer = model(
        torch.cat([given["motion_feat"], given["tex_feat"]], -1),
        given["audio_feat"],
        past,
        given["indicator"],
        given[f"{window}/time_step"],
        given[f"{window}/eps"],
        given[f"{window}/uniform"] < case.sizes["null_cond_prob"],
    )
    close(answer, case.part("out")[f"{window}/target"])


RUNS = {
    "cfg1.0": {"guidance": 1.0},
    "cfg1.15": {"guidance": 1.15},
    "none": {"guidance": None},
    "thresholded": {
        "guidance": 1.5,
        "flexibility": 0.5,
        "threshold": DynamicThreshold(ratio=0.8, low=0.5, high=2.0),
    },
}


@pytest.mark.parametrize("name", holding("textalker", "in/noise_2", "sample"))
@pytest.mark.parametrize("run", RUNS)
def test_sampling_two_windows(parity, run, name):
    case = parity(name)
    model = LatentDiffusion(sizes_of(case.sizes)).eval()
    model.load_state_dict(case.part("state"), strict=True)
    given, wanted = case.part("in"), case.part(f"out/{run}")
    seen: dict[int, torch.Tensor] = {}

    def window(number: int, past: Past | None) -> torch.Tensor:
        draws = given[f"noise_{number}"]
        return model.sample_ancestral(
            given[f"audio_{number}"],
            past,
            given[f"indicator_{number}"],
            given["x_T"],
            lambda t, like: draws[model.diffusion_sched.steps - t],
            watch=seen.__setitem__ if number == 1 else None,
            **RUNS[run],
        )

    first = window(1, None)
    close(first, wanted["window1"], 2e-4)
    for step in case.sizes["kept_steps"]:
        close(seen[step], wanted[f"window1_t{step}"], 2e-4)
    previous = model.config.previous
    second = window(2, Past(first[:, -previous:], given["audio_1"][:, -previous:]))
    close(second, wanted["window2"], 2e-4)
