"""Laws that every autoregressive family keeps."""

import pytest
import torch
from tiny_families import FAMILIES, Tiny

from parlante.models.components import causal_decoder as causal
from parlante.models.cpu import accelerate

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@each_family
def test_everything_is_connected(family: Tiny) -> None:
    model = family.model()
    inputs = {k: v.requires_grad_() if v.is_floating_point() else v for k, v in family.inputs(model).items()}
    answer = family.train(model, inputs)
    (answer * torch.randn_like(answer)).sum().backward()
    everything = {**dict(model.named_parameters()), **inputs}
    dead = {k for k, v in everything.items() if v.requires_grad and (v.grad is None or not v.grad.any())}
    assert dead == family.dead, f"no gradient reaches {sorted(dead - family.dead)}; alive: {sorted(family.dead - dead)}"


@each_family
def test_no_frame_sees_the_future(family: Tiny) -> None:
    model = family.model()
    inputs = family.inputs(model)
    motion, features = inputs["motion"].requires_grad_(), inputs["features"].requires_grad_()
    family.causal(model, inputs)[:, 3].sum().backward()
    assert motion.grad is not None and features.grad is not None
    assert motion.grad[:, :3].any() and not motion.grad[:, 3:].any()
    own = slice(3 * model.config.steps_per_frame, 4 * model.config.steps_per_frame)
    assert features.grad[:, own].any() and not features.grad[:, own.stop :].any()


@each_family
def test_batch_of_unequal_lengths_equals_single_runs(family: Tiny) -> None:
    model = family.model()
    lengths = [3, 11, 2, 7, 11, 5, 9, 4]
    inputs = family.inputs(model, batch=8, frames=11)
    together = family.generate(model, inputs, torch.tensor(lengths))
    assert together.shape == (8, 11, model.config.motion_dim)
    for item, frames in enumerate(lengths):
        alone = family.generate(model, family.cut(model, inputs, item, frames))
        torch.testing.assert_close(together[item : item + 1, :frames], alone, rtol=0, atol=1e-10)
        assert not together[item, frames:].any(), "frames past the end are zero"


@each_family
def test_push_equals_generate(family: Tiny) -> None:
    model = family.model()
    inputs, steps = family.inputs(model, batch=2, frames=12), model.config.steps_per_frame
    whole = family.live(model, inputs)
    session, pieces, first = family.session(model, inputs), [], 0
    for frames in (1, 4, 0, 2, 5):
        last = first + frames * steps
        pieces.append(session.push(inputs["features"][:, first:last]))
        assert pieces[-1].shape == (2, frames, model.config.motion_dim)
        first = last
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-10)


@each_family
def test_generation_is_its_own_teacher(family: Tiny) -> None:
    """Taught with the frames it fed back, a model predicts what it generated: both follow the same first-token rule."""
    model = family.model()
    inputs = family.inputs(model, batch=2, frames=13)
    again = family.causal(model, {**inputs, "motion": family.live(model, inputs)})
    torch.testing.assert_close(family.decide(model, again), family.decided(model, inputs), rtol=0, atol=1e-9)


@each_family
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "operators"])
def test_past_the_span_all_ways_to_run_agree(family: Tiny, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teaching, generating, pushing and batches of unequal lengths, over clips of several spans and blocks."""
    monkeypatch.setattr(accelerate, "ENABLED", compiled)
    monkeypatch.setattr(causal, "BLOCK", 8)
    monkeypatch.setattr(accelerate, "BLOCK", 8)
    model = family.model(span=5)
    inputs, steps = family.inputs(model, batch=2, frames=23), model.config.steps_per_frame
    shown = family.live(model, inputs)
    again = family.causal(model, {**inputs, "motion": shown})
    torch.testing.assert_close(family.decide(model, again), family.decided(model, inputs), rtol=0, atol=1e-9)
    session = family.session(model, inputs)
    pieces = [session.push(part) for part in inputs["features"].split([4 * steps, steps, 12 * steps, 6 * steps], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), shown, rtol=0, atol=1e-10)
    together = family.generate(model, inputs, torch.tensor([23, 14]))
    alone = family.generate(model, family.cut(model, inputs, 1, 14))
    torch.testing.assert_close(together[1:, :14], alone, rtol=0, atol=1e-10)


@each_family
def test_a_frame_sees_its_span_and_no_more(family: Tiny) -> None:
    one = next(family.model(span=5).transformer_decoder.children())[:1]  # further layers hand on what theirs saw
    model = family.model(span=5)
    model.transformer_decoder.layers = one
    inputs = family.inputs(model, frames=9)
    motion = inputs["motion"].requires_grad_()
    family.causal(model, inputs)[:, 8].sum().backward()
    assert motion.grad is not None
    assert motion.grad[0].any(-1).tolist() == [False] * 3 + [True] * 5 + [False]  # frame 8 is made of token 4..8


@each_family
def test_the_span_is_600_unless_told(family: Tiny) -> None:
    """Also for sizes saved before there was one."""
    model = family.model()
    assert model.config.span == model.transformer_decoder.span == 600
    assert family.model(span=None).transformer_decoder.span is None
    with pytest.raises(ValueError, match="span must be at least 1"):
        family.model(span=0)


@each_family
def test_styles_blend(family: Tiny) -> None:
    """Half way between two speakers lies between them, and one-hot weights are the speakers."""
    model = family.model()
    people = torch.eye(model.config.subjects, dtype=torch.float64)
    codes = model.style_embedding(people)
    assert (codes[0] - codes[1]).norm() > 1e-3, "speakers differ"
    steps = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    path = model.style_embedding(people[0] * (1 - steps) + people[1] * steps)
    torch.testing.assert_close(path[[0, -1]], codes[:2])
    jumps = path.diff(dim=0).norm(dim=-1)
    assert jumps.max() < 0.1 * (codes[0] - codes[1]).norm(), "a small change of the mixture is a small change of style"
