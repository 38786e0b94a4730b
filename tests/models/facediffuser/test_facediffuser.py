"""FaceDiffuser: the wavefront sampler equals the plain loop; batches, pieces, rigs."""

import pytest
import torch

from parlante.models.facediffuser.model import FaceDiffuser, FaceDiffuserConfig, ancestral, cosine_table, few_steps
from parlante.models.registry import build

RIG = {"projected": False, "time": "sinusoid", "normalise": False, "subjects": 0, "layers": 4}


def tiny(**changes) -> FaceDiffuser:
    torch.manual_seed(0)
    sizes = {"motion_dim": 21, "audio_dim": 5, "width": 8, "subjects": 3, "steps": 12} | changes
    model = FaceDiffuser(FaceDiffuserConfig(**sizes)).double().eval()
    torch.nn.init.normal_(model.final_layer.weight, std=0.3)
    torch.nn.init.normal_(model.final_layer.bias)
    return model


def speech(model: FaceDiffuser, batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, frames * model.config.steps_per_frame, model.config.audio_dim, dtype=torch.float64)


def styles(model: FaceDiffuser, batch: int) -> torch.Tensor:
    return model.style_embedding(torch.rand(batch, max(model.config.subjects, 1), dtype=torch.float64))


@torch.no_grad()
def plain_loop(model, plan, features, code, template, start, noise):
    """The published loop: the whole clip, vertices and all, once per step."""
    x = plan.begin * start
    for k, t in enumerate(plan.time.tolist()):
        step = torch.full((len(x),), t)
        clean = model.estimate(x, features, step, code, template)
        x = plan.estimate[k] * clean + plan.keep[k] * x + plan.spread[k] * noise[k]
    return x if template is None else x - template[:, None]


@pytest.mark.parametrize("changes", [{}, {"layers": 1, "steps": 3}, RIG], ids=["vertices", "shallow", "rig"])
@pytest.mark.parametrize("frames", [1, 5, 70])
@pytest.mark.parametrize("few", [None, 3])
def test_wavefront_equals_plain_loop(changes, frames, few):
    model = tiny(**changes)
    batch, coordinates = 2, model.config.motion_dim
    features, code = speech(model, batch, frames), styles(model, batch)
    template = torch.randn(batch, coordinates, dtype=torch.float64) if model.config.projected else None
    plan = ancestral(model.config.steps) if few is None else few_steps(model.config.steps, few)
    start = torch.randn(batch, frames, coordinates, dtype=torch.float64)
    noise = torch.randn(len(plan.time), batch, frames, coordinates, dtype=torch.float64)
    slow = plain_loop(model, plan, features, code, template, start, noise)
    fast = model.generate(features, code, template=template, steps=few, start=start, noise=noise)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", [{}, RIG], ids=["vertices", "rig"])
@pytest.mark.parametrize("few", [None, 4])
def test_pieces_equal_the_whole(changes, few):
    model = tiny(**changes)
    features, code = speech(model, 1, 75), styles(model, 1)
    whole = model.generate(features, code, steps=few, generator=torch.Generator().manual_seed(3))
    session = model.session(code, steps=few, generator=torch.Generator().manual_seed(3))
    w = model.config.steps_per_frame
    made = [session.push(piece) for piece in features.split([w * n for n in (1, 30, 0, 44)], 1)]
    assert [m.shape[1] for m in made] == [1, 30, 0, 44]
    torch.testing.assert_close(torch.cat(made, 1), whole, rtol=1e-9, atol=1e-9)


def test_batch_of_unequal_lengths_equals_single_runs():
    model = tiny()
    lengths = torch.tensor([3, 9, 6])
    features, code = speech(model, 3, 9), styles(model, 3)
    template = torch.randn(3, 21, dtype=torch.float64)
    start, noise = torch.randn(3, 9, 21).double(), torch.randn(12, 3, 9, 21).double()
    together = model.generate(features, code, lengths=lengths, template=template, start=start, noise=noise)
    for i, n in enumerate(lengths):
        one = slice(i, i + 1)
        alone = model.generate(
            features[one, : 2 * n], code[one], template=template[one], start=start[one, :n], noise=noise[:, one, :n]
        )
        torch.testing.assert_close(together[one, :n], alone, rtol=1e-9, atol=1e-9)
        assert not together[i, n:].any()


def test_drawn_noise_has_the_spread_of_projected_vertex_noise():
    model = tiny(steps=40, width=4)
    session = model.session(styles(model, 1), generator=torch.Generator().manual_seed(0))
    drawn = session._draw(1500, 40).flatten(0, 2)
    weight = model.input_projection[0].weight
    torch.testing.assert_close(drawn.mT.cov(), weight @ weight.mT, rtol=0.1, atol=0.02)


def test_a_seed_means_the_same_motion_whatever_signs_the_machine_gives_to_eigenvectors(monkeypatch):
    model = tiny()
    features, code = speech(model, 1, 4), styles(model, 1)
    said = model.generate(features, code, generator=torch.Generator().manual_seed(1))
    find = torch.linalg.eigh

    def otherwise(matrix):
        values, vectors = find(matrix)
        return values.flip(0), -vectors.flip(1)

    monkeypatch.setattr(torch.linalg, "eigh", otherwise)
    again = model.generate(features, code, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again, said, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, RIG], ids=["vertices", "rig"])
def test_everything_is_connected(changes):
    model = tiny(**changes).train()
    features, motion = speech(model, 2, 6).requires_grad_(), torch.randn(2, 6, 21).double().requires_grad_()
    template = torch.randn(2, 21).double().requires_grad_()
    answer = model(features, motion, styles(model, 2), template=template, step=torch.tensor([0, 11]))
    answer.square().mean().backward()
    parts = {**dict(model.named_parameters()), "features": features, "motion": motion, "template": template}
    first = "time_mlp.0.weight"  # a column per step: only those asked
    assert not [k for k, p in parts.items() if p.grad is None or not p.grad.any()]
    if model.config.time == "table":
        assert model.time_mlp[0].weight.grad.any(0).sum() == 2, first


def test_no_frame_sees_the_future():
    model = tiny()
    features = speech(model, 1, 6).requires_grad_()
    model(features, torch.randn(1, 6, 21).double(), styles(model, 1), step=torch.tensor([4]))[:, 3].sum().backward()
    assert features.grad[:, :8].any() and not features.grad[:, 8:].any()


def test_training_draws_are_repeatable_and_an_untrained_model_answers_the_template():
    model = FaceDiffuser(FaceDiffuserConfig(motion_dim=6, audio_dim=4, width=8, steps=10)).eval()
    features, motion, template = torch.randn(2, 8, 4), torch.randn(2, 4, 6), torch.randn(2, 6)
    code = model.style_embedding(torch.eye(8)[:2])
    assert not model(features, motion, code, template=template).any()
    torch.nn.init.normal_(model.final_layer.weight)
    a, b = (model(features, motion, code, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)


def test_schedules():
    table = cosine_table(1000)
    assert table.alphas_cumprod.diff().max() < 0 and table.betas.max() == 0.999
    times = few_steps(1000, 20).time
    assert times[0] == 999 and times[-1] > 0 and len(times.unique()) == 20
    assert len(ancestral(1000, 100).time) == 900
    with pytest.raises(ValueError, match=r"1\.\.10, got 11"):
        few_steps(10, 11)


def test_errors_name_the_shape():
    model = tiny()
    with pytest.raises(ValueError, match=r"\(B, T \* 2, 5\).*\(1, 7, 5\)"):
        model.project_speech(torch.zeros(1, 7, 5).double())
    with pytest.raises(ValueError, match="sinusoid"):
        FaceDiffuserConfig(motion_dim=3, time="none")


def test_registered():
    assert type(build("facediffuser", {"motion_dim": 3})) is FaceDiffuser


def test_sizes_are_read_off_the_tensors_of_every_variant():
    from parlante.models.facediffuser.import_ import family_tensors, infer

    for changes in ({}, {"layers": 3, "kernel": 5}, RIG | {"steps": 1000}, {"projected": False, "subjects": 0}):
        model = tiny(**changes)
        assert FaceDiffuserConfig(**infer(model.state_dict())) == model.config
    theirs = {"rnn.weight_ih_l0": 1, "out.bias": 2, "embed_timestep.time_embed.0.bias": 3, "audio_encoder.x": 4}
    renamed = family_tensors({name: torch.tensor(value) for name, value in theirs.items()})
    assert set(renamed) == {"gru.weight_ih_l0", "final_layer.bias", "time_mlp.0.bias"}


def test_a_unit_rescales_the_noise_and_nothing_else():
    """Coordinates in another unit, with the model told so: the same motion in that unit, in training and sampling."""
    metres = tiny()
    millimetres = tiny(unit=1000.0)
    features, code = speech(metres, 1, 6), styles(metres, 1)
    template, motion, noise = (
        torch.randn(1, 21).double(),
        torch.randn(1, 6, 21).double(),
        torch.randn(1, 6, 21).double(),
    )
    given = {"step": torch.tensor([5]), "noise": noise}
    one = metres(features, motion, code, template=template, **given)
    other = millimetres(features, 1000 * motion, code, template=1000 * template, **given)
    torch.testing.assert_close(other, 1000 * one)
    one = metres.generate(features, code, template=template, steps=3, generator=torch.Generator().manual_seed(0))
    other = millimetres.generate(
        features, code, template=1000 * template, steps=3, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(other, 1000 * one)
