"""TexTalker beyond parity: windows, styles, bases, checkpoints, alignment."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from parlante.audio.align import align
from parlante.core import InputError, Style
from parlante.core.plugins import resolve
from parlante.models.checkpoint import load_checkpoint
from parlante.models.registry import families, family
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.diffusion import LatentDiffusion
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.model import TexTalker, TexTalkerConfig
from parlante.models.textalker.schedule import DiffusionSchedule
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

MAP = VQGANConfig(
    img_size=32, nf=8, ch_mult=(1, 1), res_blocks=1, attn_resolutions=(8,), norm_groups=4, codebook_size=16, patch=2
)


def tiny(**changes) -> TexTalker:
    sizes = DenoiserConfig(
        motion_dim=12, wrinkle_dim=10, width=16, heads=2, layers=2, frames=20, previous=4, steps=50, style_dim=4
    )
    config = TexTalkerConfig(
        motion=MAP,
        wrinkle=dataclasses.replace(MAP, img_size=64, patch=4),
        denoiser=sizes,
        feature_dim=5,
        stats={"minimum": [-1, -1, -1], "maximum": [1, 1, 1]},
        style_dims=(2, 2),
        styles=("ann", "bob"),
        overlap=3,
        steps=4,
    )
    torch.manual_seed(0)
    talker = TexTalker(dataclasses.replace(config, **changes)).eval()
    for name in ("motion_basis", "wrinkle_basis", "motion_style", "wrinkle_style"):
        basis = getattr(talker, name)
        if basis is not None:
            torch.nn.init.orthogonal_(basis.components)
    talker.motion_pivots.normal_()
    talker.wrinkle_pivots.normal_()
    return talker.requires_grad_(False)


def joined(talker: TexTalker, features: torch.Tensor, frames: int, seed: int = 1, **options) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    style = options.pop("style", talker.style("ann"))
    windows = list(talker.latents(features, style, frames, generator=generator, **options))
    assert [w.start for w in windows] == list(np.cumsum([0, *[w.motion.shape[1] for w in windows[:-1]]]))
    return torch.cat([torch.cat([w.motion, w.wrinkle], 2) for w in windows], 1)


@pytest.mark.parametrize("frames", [1, 4, 19, 20, 21, 23, 37, 38, 100])
@pytest.mark.parametrize("overlap", [0, 3])
def test_any_length(frames, overlap):
    talker = tiny(overlap=overlap)
    assert joined(talker, torch.randn(1, 2 * frames, 5), frames).shape == (1, frames, 32, 8, 8)


def test_same_seed_same_result_and_batch_equals_single():
    talker = tiny()
    features = torch.randn(1, 80, 5)
    once, again, other = (joined(talker, features, 45, seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, other)
    pair = joined(talker, features.expand(2, -1, -1), 45, style=[talker.style("ann"), talker.style("bob")])
    assert pair.shape[0] == 2 and not torch.allclose(pair[0], pair[1])


def test_later_speech_does_not_change_finished_windows():
    """Streaming: a window needs no features beyond its own frames."""
    talker = tiny()
    features = torch.randn(1, 200, 5)
    changed = features.clone()
    changed[:, 60:] += 1.0  # after 1.2 s = frame 36
    a, b = joined(talker, features, 100), joined(talker, changed, 100)
    assert torch.equal(a[:, :17], b[:, :17])
    assert not torch.allclose(a[:, 40:], b[:, 40:])


def test_joins_are_smooth():
    """With the same estimate in every window, the join moves no more than the frames around it."""
    talker = tiny()
    result = joined(talker, torch.randn(1, 200, 5), 100, guidance=1.0)
    jump = result.diff(dim=1).square().mean((0, 2, 3, 4)).sqrt()
    joins = torch.zeros(99, dtype=torch.bool)
    joins[16::17] = True
    assert jump[joins].mean() < 2 * jump[~joins].mean()


def test_pivots_shift_the_result_and_tell_the_network():
    talker = tiny()
    ann, bob = talker.style("ann"), talker.style("bob")
    mixed = Style(ann.motion, bob.wrinkle)
    features = torch.randn(1, 40, 5)
    a, m = (joined(talker, features, 20, style=s) for s in (ann, mixed))
    assert not torch.allclose(a[:, :, :16], m[:, :, :16])  # the network hears of the other wrinkle pivot
    with pytest.raises(InputError, match=r"eve.*ann, bob"):
        talker.style("eve")


def test_checkpoint_round_trip(tmp_path):
    talker = tiny()
    again = TexTalker.from_pretrained(talker.save(tmp_path / "talker"))
    assert again.config == talker.config
    features = torch.randn(1, 60, 5)
    assert torch.allclose(joined(talker, features, 30), joined(again, features, 30), atol=5e-2)
    assert torch.equal(again.diffusion.diffusion_sched.alpha_bars, talker.diffusion.diffusion_sched.alpha_bars)


def test_damaged_checkpoints_are_refused(tmp_path):
    folder = VQAutoEncoder(MAP).save(tmp_path / "vq")
    with pytest.raises(InputError, match="wanted a 'textalker'"):
        load_checkpoint(folder, "textalker")
    head = json.loads((folder / "config.json").read_text())
    head["config"]["vqgan"]["nf"] = 16
    (folder / "config.json").write_text(json.dumps(head))
    with pytest.raises(InputError, match="does not fit VQAutoEncoder"):
        VQAutoEncoder.from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        VQAutoEncoder.from_pretrained(folder)
    with pytest.raises(InputError, match=r"has no config\.json"):
        VQAutoEncoder.from_pretrained(tmp_path / "nowhere")


def test_few_steps_end_at_the_estimate():
    """One step from pure noise returns the network's own estimate; steps are distinct and end above zero."""
    talker = tiny()
    model: LatentDiffusion = talker.diffusion
    audio, start = torch.randn(1, 20, 16), torch.randn(1, 20, 22)
    indicator, style = torch.ones(1, 20), torch.zeros(1, 4)
    one = model.sample(audio, None, indicator, start, steps=1, style=style, guidance=1.0)
    estimate = model.estimate(start, audio, model.start(1), indicator, 50, style=style, guidance=1.0)
    assert torch.allclose(one, estimate)
    times = DiffusionSchedule(500).few(10)
    assert times[0] == 500 and times[-1] > 0 and len(set(times)) == 10


def test_everything_is_connected():
    talker = tiny()
    model = talker.diffusion.requires_grad_(True)
    batch = 2
    model(
        torch.randn(batch, 20, 22),
        model.audio_feature_map(torch.randn(batch, 20, 5)),
        None,
        torch.ones(batch, 20),
        torch.tensor([5, 40]),
        torch.randn(batch, 20, 22),
        torch.tensor([True, False]),
        torch.randn(batch, 4),
    ).square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_skipped_quantiser_and_patch():
    torch.manual_seed(0)
    model = VQAutoEncoder(MAP).eval()
    image = torch.rand(2, 3, 32, 32)
    output, _ = model(image, torch.tensor([True, False]))
    z = model.encode(image)
    assert torch.allclose(output[0], model.decode(z, quantise=False)[0], atol=1e-5)
    assert torch.allclose(output[1], model.decode(z)[1], atol=1e-5)


def test_what_a_talker_does_not_have_is_none():
    talker = tiny(style_dims=(0, 0), denoiser=dataclasses.replace(tiny().config.denoiser, style_dim=0))
    assert talker.motion_style is None and talker.basis("motion") is talker.motion_basis is not None
    whole = dataclasses.replace(talker.config.denoiser, motion_dim=MAP.emb_dim * MAP.latent_size**2)
    assert tiny(denoiser=dataclasses.replace(whole, style_dim=4)).basis("motion") is None
    with pytest.raises(InputError, match="has no speech network"):
        talker.encode_audio(torch.zeros(1, 16000), 30)


def test_basis_is_exact_within_its_span():
    torch.manual_seed(0)
    samples = torch.randn(300, 5) @ torch.randn(5, 40) + 3
    basis = LinearBasis.fit(samples, 5)
    coordinates = basis.encode(samples)
    assert torch.allclose(basis.decode(coordinates), samples, atol=1e-4)
    assert torch.allclose(coordinates.std(0), torch.ones(5), atol=0.05)


def test_align_reads_exact_times():
    """A feature that is a line in time is read as that line."""
    centres = (torch.arange(100) + 0.5) / 50
    heard = align(centres.view(1, -1, 1), 50, frame_offsets=(-0.02, 0.0, 0.02))
    frames = torch.arange(50) / 30
    inside = slice(2, 50)
    for column, tap in enumerate((-0.02, 0.0, 0.02)):
        torch.testing.assert_close(heard[0, inside, column], (frames + tap)[inside])
    assert align(torch.randn(1, 1, 3), 4).shape == (1, 4, 3)
    with pytest.raises(ValueError, match="S >= 1"):
        align(torch.zeros(1, 0, 3), 4)


def test_registry():
    for spec in families().values():
        for place in (spec.network, spec.config, spec.loader, spec.importer, spec.scheme):
            assert not place or resolve(place)
    with pytest.raises(InputError, match="did you mean 'textalker'"):
        family("textalkr")


def test_solvers_and_shared_noise():
    """Another solver is another way to the same face; the published way starts every window from the same noise."""
    talker = tiny(overlap=0, same_noise=True)
    features = torch.randn(1, 100, 5)
    few, many = (joined(talker, features, 40, steps=n, guidance=1.0) for n in (10, 50))
    slow = joined(talker, features, 40, steps=50, guidance=1.0, solver="ancestral")
    assert (few - many).square().mean() < 0.25 * slow.square().mean()
    assert not torch.allclose(joined(tiny(overlap=0), features, 40)[:, 20:], joined(talker, features, 40)[:, 20:])
    with pytest.raises(InputError, match="no solver named 'magic'"):
        joined(talker, features, 40, solver="magic")


def test_features_per_frame_need_no_alignment():
    talker = tiny(frame_offsets=())
    assert joined(talker, torch.randn(1, 30, 5), 30).shape[1] == 30
    with pytest.raises(ValueError, match="one feature per frame, got 31 for 30"):
        joined(talker, torch.randn(1, 31, 5), 30)
    with pytest.raises(InputError, match="no speech network"):
        talker.encode_audio(torch.zeros(1, 16000), 30)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_model_of_one_kind_keeps_the_pivot_of_the_other(kind):
    made, rest = (("motion", "wrinkle"), ("wrinkle", "motion"))[kind]
    sizes = dataclasses.replace(tiny().config.denoiser, **{f"{rest}_dim": 0})
    talker = tiny(denoiser=sizes)
    style = talker.style("ann")
    window = next(talker.latents(torch.randn(1, 40, 5), style, 20))
    still = getattr(window, rest) - torch.from_numpy(getattr(style, rest))
    assert not still.any() and getattr(window, made).std(1).mean() > 0


@pytest.mark.parametrize("shipped", [False, True], ids=["untrained", "shipped"])
def test_windows_join_without_a_jump(shipped):
    """Root mean square acceleration at joins is at most 1.3 times that elsewhere; without a cross-fade it is more."""
    talker = TexTalker.from_pretrained() if shipped else tiny()
    sizes = talker.config.denoiser
    frames = 12 * sizes.frames
    generator = torch.Generator().manual_seed(0)
    rough = torch.randn(1, frames * 2 // 10, talker.config.feature_dim, generator=generator)
    features = torch.nn.functional.interpolate(rough.mT, frames * 2, mode="linear").mT  # changes in syllables

    def ratio(overlap: int) -> float:
        talker.config = dataclasses.replace(talker.config, overlap=overlap)
        style = talker.style(talker.config.styles[0])
        windows = list(talker.latents(features, style, frames, generator=torch.Generator().manual_seed(1)))
        motion = torch.cat([w.motion[0] for w in windows]).flatten(1)
        acceleration = motion.diff(n=2, dim=0).square().mean(1)
        at = torch.zeros(len(acceleration), dtype=torch.bool)
        for window in windows[1:]:
            at[window.start - 2 : window.start + overlap] = True
        return float((acceleration[at].mean() / acceleration[~at].mean()).sqrt())

    own = talker.config.overlap
    assert own > 0 and ratio(own) < 1.3
    assert ratio(0) > ratio(own)
