"""Wide networks from rounded weights: the compiled loop of CodeTalker against torch's operators on the same weights."""

import copy
import math
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parlante.models.codetalker import incremental_decoder as prefix
from parlante.models.codetalker import model as talker_module
from parlante.models.codetalker import rounded
from parlante.models.codetalker.autoencoder import MotionAutoencoderConfig
from parlante.models.codetalker.incremental_decoder import Prefix
from parlante.models.codetalker.model import CodeRollout, CodeTalker, CodeTalkerConfig
from parlante.models.components import causal_decoder as causal
from parlante.models.components.causal_decoder import CausalDecoder
from parlante.models.cpu import wide

pytestmark = pytest.mark.skipif(wide.kernel() is None, reason="no numba, or no AVX-512")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Width 128 counts as wide, and approximations begin early."""
    monkeypatch.setattr(causal, "WIDEST", 64)
    monkeypatch.setattr(prefix, "ALWAYS_ANEW", 8)


def talker(steps: int = 1, span: int | None = 600, **more: Any) -> CodeTalker:
    """Random everywhere, in single precision."""
    torch.manual_seed(0)
    stage = MotionAutoencoderConfig(
        motion_dim=12, width=128, layers=2, heads=2, hidden=192, groups=4, code_dim=32, codes=32, span=span, **more
    )
    sizes = {"motion_dim": 12, "audio_dim": 10, "width": 128, "period": 5, "subjects": 3, "layers": 2, "heads": 2}
    config = CodeTalkerConfig(**sizes, steps_per_frame=steps, span=span, autoencoder=stage)  # type: ignore[arg-type]
    model = CodeTalker(config).eval()
    nn.init.normal_(model.feat_map.weight, std=0.3)
    nn.init.normal_(model.autoencoder.quantize.embedding.weight)
    return model


def speech(model: CodeTalker, batch: int, frames: int) -> tuple[Tensor, Tensor]:
    """Features and style codes."""
    torch.manual_seed(1)
    features = torch.randn(batch, frames * model.config.steps_per_frame, model.config.audio_dim)
    return features, model.style_code(torch.randn(batch, 3).softmax(-1)).detach()


def bytes_of(matrix: Tensor) -> Tensor:
    counts, scale = wide.in_bytes(matrix)
    return counts * scale[:, None]


# -- matrices


@pytest.mark.parametrize("count", [1, 4, 5, 6])
@pytest.mark.parametrize("biased", [True, False])
def test_products_are_those_of_the_rounded_matrices(count: int, biased: bool) -> None:
    torch.manual_seed(0)
    half, whole, x = torch.randn(128, 192), torch.randn(192, 192), torch.randn(count, 192)
    maps = wide.Rounded([half], [whole])
    for matrix, kept in ((half, half.half().float()), (whole, bytes_of(whole))):
        bias = torch.randn(len(matrix)) if biased else None
        torch.testing.assert_close(
            maps.linear(x, matrix, bias), nn.functional.linear(x, kept, bias), rtol=1e-4, atol=1e-4
        )


def test_many_rows_may_be_rounded_too_and_other_matrices_are_left_alone() -> None:
    torch.manual_seed(0)
    half, whole, other, x = torch.randn(128, 64), torch.randn(128, 64), torch.randn(128, 64), torch.randn(3, 40, 64)
    maps = wide.Rounded([half], [whole])
    rough = wide.Rougher(maps)
    torch.testing.assert_close(maps.linear(x, whole), x @ bytes_of(whole).T, rtol=1e-4, atol=1e-4)
    assert 0.003 < (rough.linear(x, whole) - maps.linear(x, whole)).norm() / maps.linear(x, whole).norm() < 0.012
    assert torch.equal(rough.linear(x, half), maps.linear(x, half)), "not in bytes"
    for matrix in (half, other):  # too many rows for halves to be of use
        torch.testing.assert_close(maps.linear(x, matrix), x @ matrix.T, rtol=1e-5, atol=1e-5)


def test_rows_with_a_few_large_weights_stay_in_half_precision() -> None:
    torch.manual_seed(0)
    even, uneven = torch.randn(64, 64), torch.randn(64, 64)
    uneven[:, 0] = 40
    x = torch.randn(2, 64)
    assert not wide.coarse(even) and wide.coarse(uneven)
    maps = wide.Rounded([], [even, uneven])
    for matrix in (even, uneven):
        torch.testing.assert_close(maps.linear(x, matrix), x @ matrix.half().float().T, rtol=1e-4, atol=1e-4)


def test_a_row_of_zeros_keeps_its_bias() -> None:
    matrix, bias = torch.randn(64, 64), torch.full((64,), 1e4)
    matrix[3] = 0
    answer = wide.Rounded([], [matrix]).linear(torch.randn(2, 64), matrix, bias)
    assert answer.isfinite().all() and torch.equal(answer[:, 3], bias[:2])


def test_where_torch_multiplies_bytes_badly_many_rows_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, x = torch.randn(64, 64), torch.randn(40, 64)
    monkeypatch.setattr(wide, "multiplies_bytes", lambda: False)
    rough = wide.Rougher(wide.Rounded([], [matrix]))
    torch.testing.assert_close(rough.linear(x, matrix), x @ matrix.T, rtol=1e-5, atol=1e-5)


# -- the causal decoder


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("span", [None, 600, 6])
@torch.no_grad()
def test_the_decoder_does_what_torch_does_with_these_weights(steps: int, span: int | None) -> None:
    torch.manual_seed(0)
    decoder = CausalDecoder(128, 2, heads=2, period=5, steps_per_frame=steps, span=span).eval()
    maps = wide.Rounded([], [x for layer in wide.layer_matrices(decoder) for x in layer])
    ours = wide.RoundedDecoder(decoder, maps, 2)
    plain = copy.deepcopy(decoder)
    for matrices in wide.layer_matrices(plain):
        for matrix in matrices:
            matrix.data = bytes_of(matrix.data)
    tokens, memory = torch.randn(2, 90, 128), torch.randn(2, 90 * steps, 128)
    heard, state, t = decoder.hear(memory), plain.start(2), 0
    while t < 84:
        count = 1 + t % 5
        right = plain.block(tokens[:, t : t + count], heard, t, state)
        torch.testing.assert_close(ours.block(tokens[:, t : t + count], heard, t), right, rtol=0, atol=5e-3)
        kept = 1 + t % count
        state.rewind(t + kept)
        ours.rewind(t + kept)
        t += kept


# -- stage 1


@pytest.mark.parametrize("tail", [1, 3])
@pytest.mark.parametrize(("refresh", "span"), [(0.25, 600), (1e9, 600), (0.25, 20)])
@pytest.mark.parametrize("biwi", [False, True])
@torch.no_grad()
def test_the_prefix_does_what_torch_does_with_these_weights(
    tail: int, refresh: float, span: int, biwi: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "WINDOW", 24)
    model = talker(span=span, latent_maps=biwi, norm_affine=biwi)
    weights = rounded.loop_weights(model)
    plain = copy.deepcopy(model).autoencoder.decoder
    parts = [(attend.fn, think.fn) for attend, think in plain.decoder_transformer.blocks()]
    matrices: list[Any] = [x for attend, think in parts for x in (attend.to_qkv, attend.to_out, think.l1, think.l2)]
    matrices += [plain.decoder_linear_embedding.net, *([plain.decoder_linear_embedding_pre.net] if biwi else [])]
    for layer in matrices:
        layer.weight.data = bytes_of(layer.weight.data)
    codes = model.autoencoder.quantize.vectors(torch.randint(32, (2, 60, 4)))
    ours = Prefix(model.autoencoder.decoder, refresh=refresh, tail=tail, maps=weights.maps, taps=weights.taps)
    right = Prefix(plain, refresh=refresh, tail=tail, taps=bytes_of(weights.taps))
    t, spread = 0, model.autoencoder.decoder.hidden(codes).std(1).mean()
    while t < 56:
        count = min(ours.room(), 1 + t % 4)
        assert ours.room() == right.room()
        one, other = ours.ahead(codes[:, t : t + count]), right.ahead(codes[:, t : t + count])
        assert (one - other).abs().mean() < 0.02 * spread, t  # rows of refreshes are rounded, too
        kept = 1 + t % count
        ours.keep(kept)
        right.keep(kept)
        t += kept


def test_nearest_codes_are_those_of_the_quantiser() -> None:
    quantizer = talker().autoencoder.quantize
    z = torch.randn(2, 3, 128)
    with torch.no_grad():
        assert torch.equal(rounded.nearest_codes(quantizer, z), quantizer.nearest_codes(z))


# -- the loop


def test_only_the_approximate_loop_of_wide_models_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = talker()
    _, code = speech(model, 1, 4)
    assert isinstance(CodeRollout(model, code, 0.25, 0).maps, wide.Rounded)
    assert not isinstance(CodeRollout(model, code, 0, 0).maps, wide.Rounded)
    assert not isinstance(CodeRollout(model.double(), code.double(), 0.25, 0).maps, wide.Rounded)
    model.float().train()
    assert not isinstance(CodeRollout(model, code, 0.25, 0).maps, wide.Rounded)
    monkeypatch.setattr(causal, "WIDEST", 512)
    assert not isinstance(CodeRollout(talker(), code, 0.25, 0).maps, wide.Rounded)


def test_nothing_is_rounded_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(wide.Rounded, "__init__", refuse)
    model = talker()
    features, code = speech(model, 1, 12)
    model.generate(features, code, refresh=0)
    model.train().generate(features, code)


def test_rounding_moves_the_motion_little() -> None:
    model = talker()
    features, code = speech(model, 1, 60)
    exact, ours = model.roll(features, code, refresh=0), model.roll(features, code)
    agree = (exact.codes == ours.codes).float().mean()
    assert agree > 0.75, agree  # random codes flip early and stay apart
    same = (exact.codes == ours.codes).all(2)[0].float().cumprod(0).sum()
    assert same >= 6


@pytest.mark.parametrize("steps", [1, 2])
def test_codes_are_the_same_one_at_a_time_and_together(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = talker(steps)
    features, code = speech(model, 1, 70)
    together = model.roll(features, code)
    monkeypatch.setattr(talker_module, "AT_ONCE", 1)
    alone = model.roll(features, code)
    assert torch.equal(together.codes, alone.codes)
    torch.testing.assert_close(together.fed_back, alone.fed_back, rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_batch_of_unequal_lengths_equals_single_clips(steps: int) -> None:
    model = talker(steps)
    features, code = speech(model, 3, 40)
    lengths = torch.tensor([40, 17, 31])
    together = model.generate(features, code, lengths=lengths)
    for item, frames in enumerate(lengths.tolist()):
        one = model.generate(features[item : item + 1, : frames * steps], code[item : item + 1])
        torch.testing.assert_close(together[item : item + 1, :frames], one, rtol=0, atol=1e-4)


@pytest.mark.parametrize("delay", [0, 2])
def test_a_session_answers_what_generate_does_live(delay: int) -> None:
    model = talker(2)
    features, code = speech(model, 1, 50)
    session = model.session(code, delay=delay)
    pushed = [session.push(part) for part in features.split([2, 14, 20, 2, 62], 1)]
    motion = torch.cat([*pushed, session.finish()], 1)
    torch.testing.assert_close(motion, model.generate(features, code, live=True, delay=delay), rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_speech_that_is_no_number_spoils_its_own_clip_only(steps: int, number: float) -> None:
    model = talker(steps)
    features, code = speech(model, 2, 40)
    features[0, 20] = number
    codes = model.roll(features, code).codes
    assert ((codes >= 0) & (codes < 32)).all()
    assert torch.equal(codes[1:], model.roll(features[1:], code[1:]).codes)


def test_a_past_that_is_never_computed_anew() -> None:
    model = talker()
    features, code = speech(model, 1, 20)
    assert torch.equal(
        model.roll(features, code, refresh=math.inf).codes, model.roll(features, code, refresh=1e9).codes
    )


def test_under_autocast() -> None:
    model = talker(2)
    features, code = speech(model, 1, 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.generate(features, code).isfinite().all()


def test_changed_weights_are_prepared_again() -> None:
    model = talker()
    before = rounded.loop_weights(model)
    assert rounded.loop_weights(model) is before
    with torch.no_grad():
        model.transformer_decoder.layers[0].linear1.weight.mul_(2)  # type: ignore[operator, union-attr]
    after = rounded.loop_weights(model)
    assert after is not before and rounded.loop_weights(copy.deepcopy(model)) is not after


def test_threads_are_given_back() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), wide.one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError("stop")
    assert torch.get_num_threads() == threads


def test_threads_that_begin_meanwhile_are_left_alone() -> None:
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        with wide.one_thread():
            other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            other.start()
            other.join()
    finally:
        torch.set_num_threads(before)
    assert found == [3]
