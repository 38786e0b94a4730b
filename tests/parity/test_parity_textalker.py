"""TexTalker's diffusion model against the published one: tables, network, training, sampling, inference, sizes.

Every fixture in $PARLANTE_PARITY/textalker is told by what it holds; one of an unknown kind fails.
"""

import ast
import json

import pytest
import torch
from comparison import close
from discover import ROOT, holding

from parlante.data.datasets import textalk4d
from parlante.models.textalker.denoiser import DenoiserConfig, DenoisingNetwork
from parlante.models.textalker.diffusion import DynamicThreshold, LatentDiffusion, Past
from parlante.models.textalker.schedule import DiffusionSchedule
from parlante.models.textalker.speech_diffusion import TRAINED_SPEECH, SpeechLatentDiffusion, speech_config
from parlante.training.schemes import two_windows

TELLING = {
    "denoiser": "in/feat",
    "forward": "in/first/uniform",
    "sample": "in/noise_2",
    "schedule": "out/cosine_500/betas",
    "inference": "in/noise",
    "training": "out/whole/loss",
    "dataset": "out/crops",
    "audio": "out/exact/feature",  # tests/parity/test_parity_textalker_audio.py
}
"""Kind of fixture: a tensor that only it holds."""
TABLES = ("betas", "alphas", "alpha_bars", "sigmas_flex", "sigmas_inflex")


def found(kind: str) -> list[str]:
    return holding("textalker", TELLING[kind], kind)


def sizes_of(sizes: dict) -> DenoiserConfig:
    known = {"heads": "n_heads", "layers": "n_layers", "mlp_ratio": "mlp_ratio"}
    return DenoiserConfig(
        motion_dim=sizes["latent"],
        wrinkle_dim=sizes["latent"],
        width=sizes["feature"],
        frames=sizes["n"],
        previous=sizes["prev"],
        steps=sizes["steps"],
        **{ours: sizes[theirs] for ours, theirs in known.items() if theirs in sizes},
    )


def listening(case) -> SpeechLatentDiffusion:
    """The whole published model of a fixture, speech encoder included."""
    network = {k: v for k, v in case.sizes["hubert_config"].items() if k != "output_attentions"}
    model = SpeechLatentDiffusion(sizes_of(case.sizes), speech_config(network))
    model.load_state_dict(case.part("state"), strict=True)
    return model.eval()


def test_no_fixture_is_overlooked():
    paths = sorted(ROOT.glob("textalker/*.json"))
    if not paths:
        pytest.skip(f"no parity fixtures in {ROOT}; set PARLANTE_PARITY")
    known = {name for kind in TELLING for name in found(kind)}
    unknown = [p.stem for p in paths if f"textalker/{p.stem}" not in known and p.stem != "real_size_keys"]
    assert not unknown, f"fixtures of no known kind: {unknown}"


@pytest.mark.parametrize("name", found("schedule"))
def test_schedule(parity, name):
    tables = parity(name).part("out")
    kinds = {key.rpartition("/")[0] for key in tables}
    assert len(kinds) >= 5
    for kind in kinds:
        schedule, steps = kind.split("_")
        ours = DiffusionSchedule(int(steps), schedule)
        for table in TABLES:
            close(getattr(ours, table), tables[f"{kind}/{table}"], 1e-4)
        mixed = torch.stack([ours.sigma(t, 0.3) for t in range(int(steps) + 1)])
        close(mixed, tables[f"{kind}/sigma_flex0.3"], 1e-4)


@pytest.mark.parametrize("name", found("denoiser"))
@torch.no_grad()
def test_denoiser(parity, name):
    """Both recorded calls; the step-independent preparation and answers for new frames alone change nothing."""
    case = parity(name)
    model = DenoisingNetwork(sizes_of(case.sizes)).eval()
    fresh = {key: model.state_dict()[key].clone() for key in ("TE.pe", "alignment_mask")}
    state, given, wanted = case.part("state"), case.part("in"), case.part("out")
    close(fresh["TE.pe"], state["TE.pe"])
    assert torch.equal(fresh["alignment_mask"], state["alignment_mask"])
    model.load_state_dict(state, strict=True)
    before, real = (given["prev_feat"], given["prev_audio_feat"]), (given["step"], given["indicator"])
    shifted = given["audio_feat"].clone()
    shifted[:, 1:] += 1.0
    calls = {"target": given["audio_feat"], "target_audio_shifted_after_frame_0": shifted}
    assert wanted.keys() <= calls.keys(), f"unknown outputs {wanted.keys() - calls.keys()}"
    for output, target in wanted.items():
        close(model(given["feat"], calls[output], *before, *real), target)
        prepared = model.prepare(calls[output], *before)
        close(model.estimate(given["feat"], *real, prepared), target[:, case.sizes["prev"] :])


@pytest.mark.parametrize("name", found("denoiser"))
@torch.no_grad()
def test_collapsed_attention_is_the_masked_one(parity, name):
    case = parity(name)
    model = DenoisingNetwork(sizes_of(case.sizes)).eval()
    model.load_state_dict(case.part("state"), strict=True)
    x, memory = torch.randn(2, *model.PE.shape[1:]), torch.randn(2, model.PE.shape[1] - 1, model.PE.shape[2])
    for layer in model.transformer.layers:
        slow = torch.nn.TransformerDecoderLayer.forward(layer, x, memory, memory_mask=model.alignment_mask)
        close(layer(x, memory), slow)
        close(layer(x, layer.encode_memory(memory), last=3), slow[:, -3:])


@pytest.mark.parametrize("name", found("forward"))
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


def options(described: str) -> dict:
    """A run of the published sampler in our terms."""
    given = ast.literal_eval(described)
    unknown = given.keys() - {"cfg_cond", "cfg_scale", "flexibility", "dynamic_threshold"}
    assert not unknown, f"unknown sampling options {unknown}"
    scale = given.get("cfg_scale", 1.15)
    ours = {"guidance": (scale[0] if isinstance(scale, list) else scale) if given["cfg_cond"] else None}
    if "flexibility" in given:
        ours["flexibility"] = given["flexibility"]
    if given.get("dynamic_threshold"):
        ours["threshold"] = DynamicThreshold(**dict(zip(("ratio", "low", "high"), given["dynamic_threshold"])))
    return ours


@pytest.mark.slow
@pytest.mark.parametrize("name", found("sample"))
def test_sampling_two_windows(parity, name):
    """Every recorded run, step for step, through a second window that continues the first."""
    case = parity(name)
    model = LatentDiffusion(sizes_of(case.sizes)).eval()
    model.load_state_dict(case.part("state"), strict=True)
    given, previous = case.part("in"), model.config.previous
    for run, described in case.sizes["runs"].items():
        wanted, seen = case.part(f"out/{run}"), {}
        past = None
        for number in (1, 2):
            draws = given[f"noise_{number}"]
            made = model.sample_ancestral(
                given[f"audio_{number}"],
                past,
                given[f"indicator_{number}"],
                given["x_T"],
                lambda t, like, draws=draws: draws[model.diffusion_sched.steps - t],
                watch=seen.__setitem__ if number == 1 else None,
                **options(described),
            )
            close(made, wanted[f"window{number}"], 2e-4)
            past = Past(made[:, -previous:], given[f"audio_{number}"][:, -previous:])
        for step in case.sizes["kept_steps"]:
            close(seen[step], wanted[f"window1_t{step}"], 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", found("inference"))
def test_published_script(parity, name):
    """From the waveform to every frame's latents, pivots added: padded last window, one x_T for all windows."""
    case = parity(name)
    model, given = listening(case), case.part("in")
    steps, pivots = case.sizes["steps"], torch.cat([given["shape_map"], given["tex_map"]])
    runs = sorted({key.partition("/")[0] for key in case.part("out")})
    assert runs and all(run.startswith("cfg") for run in runs)

    def noise(window: int):
        draws = given["noise"][window * (steps - 1) : (window + 1) * (steps - 1)]
        return lambda t, like: draws[steps - t]

    for run in runs:
        windows = list(
            model.generate(given["audio"], given["x_T"], guidance=float(run.removeprefix("cfg")), noise=noise)
        )
        assert len(windows) == case.sizes["windows"]
        made = torch.cat([offsets for _, offsets in windows], 1)[0] + pivots
        wanted = torch.cat([case.part(f"out/{run}")[kind] for kind in ("motion", "tex")], -1)
        close(made, wanted, 2e-4)


@pytest.mark.parametrize("name", found("training"))
def test_two_window_loss_and_gradients(parity, name):
    case = parity(name)
    model, given = listening(case), case.part("in")
    lost = torch.tensor(case.sizes["null_uniform"]) < case.sizes.get("null_cond_prob", 0.1)
    audio = torch.cat([given["audio_0"], given["audio_1"]], 1)
    latents = torch.cat([torch.cat([given[f"motion_{k}"], given[f"tex_{k}"]], -1) for k in (0, 1)], 1)
    for run, described in case.sizes["runs"].items():
        own, wanted = case.part(f"in/{run}"), case.part(f"out/{run}")
        ends = [own.get(f"end_idx_{k}") for k in (0, 1)]
        assert [end is not None for end in ends] == described["cut"]
        model.zero_grad()
        features, past_audio = two_windows.encode_pair(model, audio, *ends)
        kept = two_windows.kept_frames(model.config.frames, *ends, len(audio))
        pair = two_windows.Pair(latents, features, past_audio, kept)
        step, noise = (torch.cat([own[f"{part}_{k}"] for k in (0, 1)]) for part in ("time_step", "eps"))
        draws = two_windows.Draws(step, noise, lost.repeat(2))
        loss = two_windows.published_loss(two_windows.estimate_pair(model, pair, draws))
        assert abs(loss.item() - wanted["loss"].item()) <= 2e-5 * wanted["loss"].item()
        loss.backward()
        norms = {key: p.grad.norm().double() for key, p in model.named_parameters() if p.grad is not None}
        assert sorted(norms) == described["grad_names"]
        theirs = wanted["grad_norms"]
        ours = torch.stack([norms[key] for key in described["grad_names"]])
        allowed = 2e-4 * theirs + 1e-5 * theirs.max()
        assert ((ours - theirs).abs() <= allowed).all(), (ours - theirs).abs().max()


@pytest.mark.parametrize("name", found("dataset"))
def test_which_frames_and_samples_make_an_item(parity, name):
    case = parity(name)
    sizes, wanted = case.sizes, case.part("out")
    frames, length, whole = sizes["frames"], sizes["n"], sizes["ids"] - textalk4d.HELD_OUT
    for row in wanted["crops"].tolist():
        number, low, beyond, first, last, second, end, at, count, at_2, count_2 = row
        seconds = 16000 * sizes["audio_seconds"]
        starts = textalk4d.window_starts(frames, seconds, length, held_out=number >= whole)
        assert (low, beyond) == (starts.start, starts.stop)
        start = first - 1  # folders count from 1
        assert (last, second, end) == (start + length, start + length + 1, start + 2 * length)
        samples = length * 16000 // 30
        assert (at, count) == (two_windows.first_sample(start), samples)
        assert (at_2, count_2) == (at + samples, samples)
    for number, low, high in wanted["vae_frame_index_bounds"].tolist():
        usable = frames if number < whole else textalk4d.held_out_from(frames, "half")
        assert (low, high) == (1, usable - 1)


def test_published_size_matches_key_by_key():
    path = ROOT / "textalker" / "real_size_keys.json"
    if not path.is_file():
        pytest.skip(f"no list of released weights {path}")
    listed = json.loads(path.read_text())
    with torch.device("meta"):
        model = SpeechLatentDiffusion(DenoiserConfig())
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert ours == listed["textalker"]
    trained = sorted(k for k, p in model.audio_encoder.named_parameters() if p.requires_grad)
    assert trained == sorted(k.removeprefix("audio_encoder.") for k in listed["textalker_trainable_encoder"])
    assert all(k.startswith(TRAINED_SPEECH) for k in trained)
    counted = sum(p.numel() for p in model.denoising_net.parameters())
    assert counted == listed["parameters"]["of these denoising_net"]
