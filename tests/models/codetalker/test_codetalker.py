"""CodeTalker: what the shared laws of the families cannot say about a model that decodes whole clips."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from tiny_families import FAMILIES
from torch import Tensor
from torch.overrides import TorchFunctionMode

from parlante.core import InputError
from parlante.models.codetalker import incremental_decoder as incremental
from parlante.models.codetalker import model as talker_module
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig, autoencoder_loss
from parlante.models.codetalker.incremental_decoder import IncrementalMotionDecoder
from parlante.models.codetalker.model import CodeRollout, CodeTalker, CodeTalkerConfig, talker_loss
from parlante.models.components.causal_decoder import periodic_positions

STAGE_ONE = MotionAutoencoderConfig(
    motion_dim=12, width=16, layers=2, heads=2, hidden=20, groups=4, code_dim=4, codes=32
)


@pytest.fixture
def talker() -> CodeTalker:
    return FAMILIES["codetalker"].model()


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Approximations from the fourth frame on, so that short clips reach them."""
    monkeypatch.setattr(incremental, "ALWAYS_ANEW", 4)


def inputs(model: CodeTalker, batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    drawn = FAMILIES["codetalker"].inputs(model, batch, frames)
    return drawn["features"], drawn["motion"], model.style_embedding(drawn["weights"]).detach()


def autoencoder(**changes: object) -> MotionAutoencoder:
    torch.manual_seed(0)
    model = MotionAutoencoder(replace(STAGE_ONE, **changes)).double().eval()
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


# -- stage 1


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("affine", [False, True])
def test_what_lies_past_the_end_has_no_effect(halvings: int, affine: bool) -> None:
    model = autoencoder(halvings=halvings, norm_affine=affine, latent_maps=True, groups=3, output_bias=False)
    motion, lengths = torch.randn(3, 16, 12).double(), torch.tensor([8, 16, 12])
    for item, frames in enumerate(lengths.tolist()):
        motion[item, frames:] = 1e3
    moved, codes = model(motion, lengths)
    loss = autoencoder_loss(moved, motion, codes, lengths=lengths)
    alone = [model(motion[i : i + 1, :n]) for i, n in enumerate(lengths.tolist())]
    for item, (one, one_codes) in enumerate(alone):
        torch.testing.assert_close(moved[item : item + 1, : one.shape[1]], one, rtol=0, atol=1e-10)
        steps = one_codes.indices.shape[1]
        assert torch.equal(codes.indices[item, :steps], one_codes.indices[0])
    singles = [autoencoder_loss(one, motion[i : i + 1, : one.shape[1]], c) for i, (one, c) in enumerate(alone)]
    weighted = (torch.stack(singles) * lengths).sum() / lengths.sum()
    torch.testing.assert_close(loss, weighted)


def test_a_place_in_the_batch_changes_nothing_unless_asked() -> None:
    motion = torch.randn(1, 6, 12).double().expand(3, -1, -1)
    ours, released = autoencoder()(motion)[0], autoencoder(positions_by_item=True)(motion)[0]
    torch.testing.assert_close(ours[2], ours[0])
    torch.testing.assert_close(released[0], ours[0])
    assert (released[2] - released[0]).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_clips_that_cannot_be_coded_say_so(frames: int) -> None:
    with pytest.raises(InputError, match="multiple of 4 and at least 8 frames"):
        autoencoder(halvings=2).encode(torch.zeros(1, frames, 12).double())


def test_codes_are_their_own_nearest() -> None:
    quantizer = autoencoder().quantize
    indices = torch.randint(32, (2, 5, 4))
    assert torch.equal(quantizer.nearest_codes(quantizer.vectors(indices)), indices)


def test_gradients_pass_the_codes_straight_through() -> None:
    quantizer = autoencoder().quantize
    z = torch.randn(2, 5, 16).double().requires_grad_()
    answer, slope = quantizer(z), torch.randn(2, 5, 16).double()
    (answer.latent * slope).sum().backward()
    torch.testing.assert_close(z.grad, slope)
    assert quantizer.embedding.weight.grad is None
    answer = quantizer(z.detach())
    (answer.codebook + answer.commitment).backward()
    assert quantizer.embedding.weight.grad.any(), "codes learn from the codebook term"


# -- the prefix decoder


def sticky_codes(model: MotionAutoencoder, frames: int) -> Tensor:
    """Code vectors (1, T, .) that mostly stay for some frames, as those of a face do."""
    draw = torch.Generator().manual_seed(2)
    indices = torch.randint(32, (frames, 4), generator=draw)
    kept = torch.rand(frames, 4, generator=draw) > 0.2
    for t in range(1, frames):
        indices[t] = torch.where(kept[t], indices[t - 1], indices[t])
    return model.quantize.vectors(indices[None])


def decoded_anew(model: MotionAutoencoder, latent: Tensor) -> Tensor:
    """The last frame of each prefix, by decoding the prefix (B, T - 1, C), from the second frame on."""
    return torch.cat([model.decoder.hidden(latent[:, :t])[:, -1:] for t in range(2, latent.shape[1] + 1)], 1)


@pytest.mark.parametrize("tail", [1, 3])
@torch.no_grad()
def test_prefix_without_approximation_is_exact(tail: int) -> None:
    model = autoencoder(latent_maps=True, groups=3, norm_affine=True)
    latent = model.quantize.vectors(torch.randint(32, (2, 12, 3)))
    decode = IncrementalMotionDecoder(model.decoder, refresh=0, tail=tail)
    for t in range(12):
        answer = decode.push(latent[:, t])
        if t:
            whole = model.decoder.hidden(latent[:, : t + 1])
            torch.testing.assert_close(answer, whole[:, -tail:], rtol=0, atol=1e-10)


@torch.no_grad()
def test_prefix_stays_close_and_its_cost_per_frame_stays_the_same() -> None:
    model = autoencoder(layers=3)
    latent = sticky_codes(model, 120)
    exact = decoded_anew(model, latent)
    spread = exact.std(1).mean()
    worked = 0

    def count(_module: object, args: tuple[Tensor], _out: object) -> None:
        nonlocal worked
        worked += args[0].shape[1]

    next(model.decoder.decoder_transformer.blocks())[1].register_forward_hook(count)
    errors, frames = {}, {}
    for refresh in (0.1, 0.25, 1e9):
        decode, worked = IncrementalMotionDecoder(model.decoder, refresh=refresh), 0
        ours = torch.cat([decode.push(latent[:, t]) for t in range(120)], 1)[:, 1:]
        errors[refresh], frames[refresh] = ((ours - exact).abs().mean() / spread).item(), worked
    assert errors[0.1] < 0.03 and errors[0.25] < 0.05 < 0.25, errors
    assert errors[0.1] < errors[0.25] < errors[1e9], errors
    start = incremental.ALWAYS_ANEW**2 / 2
    assert frames[0.25] < start + 120 * (1 + 1.25 / 0.25), frames


@torch.no_grad()
def test_a_prefix_longer_than_the_span_forgets() -> None:
    """Exactly the released decoding up to the span; beyond, attention reaches back over the span, norms over all."""
    wide, short = autoencoder(span=None), autoencoder(span=24)
    latent = sticky_codes(wide, 200)
    one, other = IncrementalMotionDecoder(wide.decoder, refresh=0), IncrementalMotionDecoder(short.decoder, refresh=0)
    answers = [(one.push(latent[:, t]), other.push(latent[:, t])) for t in range(40)]
    for ours, wanted in answers[:24]:
        assert torch.equal(ours, wanted)
    assert all((ours - wanted).abs().max() > 1e-6 for ours, wanted in answers[24:])
    x = short.decoder.expander[0](latent[:, :40].mT)
    last = short.decoder.decoder_transformer(short.decoder.embed(x[..., -24:]))[:, -1:]
    torch.testing.assert_close(answers[-1][1], last, rtol=0, atol=1e-10)
    frozen = IncrementalMotionDecoder(short.decoder, refresh=0.25)
    for t in range(200):
        frozen.push(latent[:, t])
    assert all(frames.storage.shape[2] < 150 for pair in frozen._past for frames in pair)


# -- attention over a span


def test_clips_within_the_span_are_not_touched_by_it() -> None:
    motion = torch.randn(2, 40, 12).double()
    for span in (40, 41, 600):
        assert torch.equal(autoencoder(span=span)(motion)[0], autoencoder(span=None)(motion)[0])
    assert (autoencoder(span=39)(motion)[0] - autoencoder(span=None)(motion)[0]).abs().max() > 1e-6
    with pytest.raises(ValueError, match="span must be at least 2"):
        replace(STAGE_ONE, span=1)


@torch.no_grad()
def test_steps_beyond_the_span_see_half_of_it_to_either_side() -> None:
    model = autoencoder(span=10, layers=1)
    attend = next(model.decoder.decoder_transformer.blocks())[0]
    x = torch.randn(1, 33, 16).double()
    seen = torch.zeros(33, 33, dtype=torch.bool)
    for step in range(33):
        moved = x.clone()
        moved[:, step] += torch.randn(16)
        seen[:, step] = (attend(moved) - attend(x))[0].abs().amax(-1) > 1e-9
    away = (torch.arange(33)[:, None] - torch.arange(33)).abs()
    assert seen[away <= 5].all() and not seen[away >= 10].any()


@torch.no_grad()
def test_lengths_do_not_matter_beyond_the_span() -> None:
    model, motion = autoencoder(span=10), torch.randn(3, 50, 12).double()
    lengths = torch.tensor([50, 4, 23])
    together = model(motion, lengths)[0]
    for item, frames in enumerate(lengths.tolist()):
        alone = model(motion[item : item + 1, :frames])[0]
        torch.testing.assert_close(together[item : item + 1, :frames], alone, rtol=0, atol=1e-10)
    assert together.isfinite().all()


@torch.no_grad()
def test_work_grows_with_the_length_and_not_with_its_square(early: None) -> None:
    """Products of queries and keys per frame, in the final decoding and in the fed-back one."""
    talker = FAMILIES["codetalker"].model()
    talker = CodeTalker(replace(talker.config, autoencoder=replace(talker.config.autoencoder, span=16))).double().eval()
    pairs = {}
    for frames in (40, 120):
        features, _, code = inputs(talker, 1, frames)
        with CountPairs() as count:
            talker.generate(features, code)
        pairs[frames] = count.pairs / frames
    assert pairs[120] < 1.25 * pairs[40], pairs  # the square would make it 3


# -- stage 2


class CountPairs(TorchFunctionMode):
    """Counts queries times keys of stage 1's attention."""

    pairs = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            self.pairs += args[0].shape[2] * args[1].shape[2]
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def published_loop(model: CodeTalker, features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """The loop as published: everything again for every frame. Result and fed-back frames (1, T, M)."""
    c, memory = model.config, model.audio_feature_map(features)
    tokens, fed_back = code[:, None], []
    for t in range(memory.shape[1] // c.steps_per_frame):
        placed = tokens + periodic_positions(0, t + 1, c.width, c.period).to(tokens)
        latent = model.feat_map(model.transformer_decoder(placed, memory[:, : (t + 1) * c.steps_per_frame]))
        codes = model.autoencoder.quantise(latent).latent
        if t == 0:
            motion = model.autoencoder.decode(torch.cat([codes, codes], 1))[:, :1]
        else:
            motion = model.autoencoder.decode(codes)
        fed_back.append(motion[:, -1:])
        tokens = torch.cat([tokens, model.vertice_map(fed_back[-1]) + code[:, None]], 1)
    return motion, torch.cat(fed_back, 1)


def test_loop_equals_the_published_one(talker: CodeTalker) -> None:
    features, _, code = inputs(talker, 1, 40)
    motion, fed_back = published_loop(talker, features, code)
    ours = talker.generate(features, code, refresh=0)
    torch.testing.assert_close(ours, motion, rtol=0, atol=1e-9)
    live = talker.generate(features, code, refresh=0, live=True)
    torch.testing.assert_close(live, fed_back, rtol=0, atol=1e-9)
    short = talker.generate(features[:, : 2 * incremental.ALWAYS_ANEW], code)
    exact = talker.generate(features[:, : 2 * incremental.ALWAYS_ANEW], code, refresh=0)
    torch.testing.assert_close(short, exact, rtol=0, atol=1e-9)


@torch.no_grad()
def test_the_loop_in_pieces_is_the_loop(talker: CodeTalker, monkeypatch: pytest.MonkeyPatch) -> None:
    features, _, code = inputs(talker, 1, 40)
    wanted = talker.roll(features, code, delay=2)
    monkeypatch.setattr(talker_module, "PIECE", 15)
    codes, tails = zip(*CodeRollout(talker, code, talker.config.refresh, 2).advance(talker.audio_feature_map(features)))
    assert torch.equal(torch.stack(codes, 1), wanted.codes)
    assert [tail.shape[1] for tail in tails] == [min(t, 2) + 1 for t in range(40)]


@pytest.mark.parametrize("delay", [0, 2])
def test_session_equals_live_generation(talker: CodeTalker, early: None, delay: int) -> None:
    features, _, code = inputs(talker, 2, 14)
    whole = talker.generate(features, code, live=True, delay=delay)
    session, pieces, first = talker.session(code, delay=delay), [], 0
    for frames in (1, 4, 0, 2, 7):
        pieces.append(session.push(features[:, first : first + 2 * frames]))
        first += 2 * frames
        assert sum(p.shape[1] for p in pieces) == max(0, first // 2 - delay)
    pieces.append(session.finish())
    assert session.finish().shape[1] == 0
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="whole frames: 2 feature steps each, got 3"):
        session.push(features[:, :3])


@pytest.mark.parametrize("live", [False, True])
def test_batch_of_unequal_lengths_equals_single_runs(talker: CodeTalker, early: None, live: bool) -> None:
    features, _, code = inputs(talker, 4, 15)
    lengths = torch.tensor([15, 2, 9, 12])
    together = talker.generate(features, code, lengths=lengths, live=live, delay=2)
    for item, frames in enumerate(lengths.tolist()):
        alone = talker.generate(features[item : item + 1, : 2 * frames], code[item : item + 1], live=live, delay=2)
        torch.testing.assert_close(together[item : item + 1, :frames], alone, rtol=0, atol=1e-10)
        assert not together[item, frames:].any()


def test_first_live_frame_depends_on_nothing(talker: CodeTalker) -> None:
    features, _, code = inputs(talker, 3, 2)
    first = talker.generate(features, code, live=True)[:, 0]
    torch.testing.assert_close(first, first[:1].expand(3, -1), rtol=0, atol=1e-10)


def test_one_frame_is_too_short(talker: CodeTalker) -> None:
    features, motion, code = inputs(talker, 1, 1)
    for call in (lambda: talker.generate(features, code), lambda: talker(features, motion, code)):
        with pytest.raises(InputError, match="at least two steps"):
            call()


def test_losses_count_true_frames_only(talker: CodeTalker) -> None:
    features, motion, code = inputs(talker, 2, 10)
    lengths = torch.tensor([10, 6])
    taught = talker.teach(features, motion, code, lengths)
    together = torch.stack(talker_loss(taught, motion, lengths))
    alone = [
        torch.stack(talker_loss(talker.teach(features[i : i + 1, : 2 * n], motion[i : i + 1, :n], code[i : i + 1]),
                                motion[i : i + 1, :n]))
        for i, n in enumerate(lengths.tolist())
    ]  # fmt: skip
    torch.testing.assert_close(together, (alone[0] * 10 + alone[1] * 6) / 16)


def test_stage_one_is_frozen(talker: CodeTalker) -> None:
    features, motion, code = inputs(talker, 1, 8)
    sum(talker_loss(talker.train().teach(features, motion, code), motion)).backward()
    assert all(p.grad is None for p in talker.autoencoder.parameters())
    assert talker.feat_map.weight.grad.any()


def test_config_is_json(talker: CodeTalker) -> None:
    again = CodeTalkerConfig(**json.loads(json.dumps(asdict(talker.config))))
    assert again == talker.config
    with pytest.raises(ValueError, match="motion_dim is 9, in stage 1 12"):
        replace(talker.config, motion_dim=9)
    with pytest.raises(ValueError, match="halvings must be 0"):
        replace(talker.config, autoencoder=replace(STAGE_ONE, halvings=1))
