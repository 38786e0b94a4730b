"""Speech encoders on tiny networks made on the spot: loading, batches, long sound, training, errors."""

import sys

import pytest
import torch
from torch import nn

from parlante.audio.encoders import convolve as convolve_module
from parlante.audio.encoders.phonetic import PhoneticEncoder
from parlante.audio.encoders.transformers import (
    SpeechConfig,
    SpeechEncoder,
    infer_config,
    load_speech_encoder,
    time_spans,
)
from parlante.audio.encoders.weight_norm import to_new, to_old
from parlante.audio.rates import REFERENCE_RULES, RateRule
from parlante.core import InputError, MissingExtra

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")  # WavLM's masks, in torch

BASE = {"feat_extract_norm": "group", "conv_bias": False, "do_stable_layer_norm": False}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
LAYOUTS = [
    {"model_type": "wav2vec2", **BASE},
    {"model_type": "wav2vec2", **LARGE},
    {"model_type": "hubert", **BASE},
    {"model_type": "hubert", **LARGE},
    {"model_type": "wavlm", **BASE},
    {"model_type": "wavlm", **LARGE},
]
NAMES = [f"{n['model_type']}-{'large' if n['conv_bias'] else 'base'}" for n in LAYOUTS]
THIRTY, PAIRS = REFERENCE_RULES["aligned30"], REFERENCE_RULES["pairs25"]
RULES = {**REFERENCE_RULES, "squeezed": RateRule(kind="centred", fps=60.0, steps_per_frame=2, keep_fps=30.0)}


def tiny(layout: dict) -> dict:
    return {
        **layout,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }


@pytest.fixture(params=LAYOUTS, ids=NAMES)
def network(request):
    pytest.importorskip("transformers", reason="speech networks need the extra `encoders`")
    return tiny(request.param)


def make(network: dict, rule: RateRule = THIRTY, **fields) -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder.from_config(network, rule, **fields)


def sound(*seconds: float, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, int(16000 * sum(seconds))) * 0.1


@torch.no_grad()
def test_folder_gives_what_transformers_gives(network, tmp_path):
    import transformers

    stem = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}[network["model_type"]]
    fields = {k: v for k, v in network.items() if k != "model_type"}
    theirs = getattr(transformers, stem + "Model")(getattr(transformers, stem + "Config")(**fields)).eval()
    theirs.save_pretrained(tmp_path)
    ours = SpeechEncoder.from_hub(tmp_path, normalise=False)
    audio = sound(1.3)
    assert torch.allclose(ours(audio), theirs(audio).last_hidden_state, atol=1e-5)
    assert ours.dim == 32 and ours.steps(audio.shape[1]) == ours(audio).shape[1]
    again = load_speech_encoder(ours.spec(), state=theirs.state_dict())
    assert torch.equal(again(audio), ours(audio))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@torch.no_grad()
def test_batch_of_unequal_lengths_equals_single_clips(network, rule):
    encoder = make(network, rule).double()
    audio, lengths = sound(2.0, batch=4).double(), [32000, 17000, 9001, 32000]
    frames = [40, 13, None, 41]
    for wanted in ([None] * 4, [f or 9 for f in frames]):
        batch = encoder(audio, None if wanted[0] is None else wanted, lengths)
        for i, n in enumerate(lengths):
            alone = encoder(audio[i : i + 1, :n], wanted[i])[0]
            assert len(alone) == encoder.steps(n, wanted[i])
            assert torch.allclose(batch[i, : len(alone)], alone, atol=1e-9)
            assert not batch[i, len(alone) :].any()


@torch.no_grad()
def test_both_spellings_load_and_are_exact(network):
    encoder, audio = make(network), sound(0.7)
    new, old = to_new(encoder.state_dict()), to_old(encoder.state_dict())
    assert set(new) != set(old) and to_old(new).keys() == old.keys()
    for state in (new, old):
        assert torch.equal(make(network, state=state)(audio), encoder(audio))
        whole = nn.ModuleDict({"audio_encoder": make(network)})
        whole.load_state_dict({f"audio_encoder.{k}": v for k, v in state.items()}, strict=True)
        assert torch.equal(whole["audio_encoder"](audio), encoder(audio))


def test_sizes_follow_from_the_weights(network):
    encoder = make(network)
    inferred = infer_config(to_old(encoder.state_dict()), heads=4)
    if network["model_type"] == "wavlm":
        assert inferred["model_type"] == "wavlm"
    assert {k: inferred[k] for k in network if k != "model_type"} == {
        k: v for k, v in network.items() if k != "model_type"
    }
    again = make(inferred, state=encoder.state_dict())
    audio = sound(0.5)
    with torch.no_grad():
        assert torch.equal(again(audio), encoder(audio))


def test_weights_that_do_not_fit_are_named(network):
    state = dict(make(network).state_dict())
    for change, word in (
        (lambda s: s.pop("encoder.layer_norm.bias"), "encoder.layer_norm.bias"),
        (lambda s: s.update({"head.weight": torch.zeros(2)}), "head.weight"),
        (lambda s: s.update({"encoder.layer_norm.bias": torch.zeros(2)}), "size mismatch"),
    ):
        wrong = dict(state)
        change(wrong)
        with pytest.raises(InputError, match=word):
            make(network, state=wrong)
    with pytest.raises(InputError, match="missing"):
        infer_config({k: v for k, v in state.items() if "projection" not in k}, heads=4)
    if network["model_type"] != "wavlm":  # whose weights tell
        with pytest.raises(InputError, match="heads"):
            infer_config(state)


def test_masking_vector_may_be_absent(network):
    state = dict(make(network).state_dict())
    state.pop("masked_spec_embed", None)
    assert infer_config(state, heads=4)["mask_time_prob"] == 0
    make(network, state=state)


@torch.no_grad()
def test_sound_in_pieces_gives_the_whole(network, monkeypatch):
    encoder, audio = make(network).double(), sound(5.03).double()
    whole = encoder(audio)
    monkeypatch.setattr(convolve_module, "PIECE_S", 0.7)
    assert torch.allclose(encoder(audio), whole, atol=1e-9)


@torch.no_grad()
def test_windows_of_long_sound(network):
    audio, lengths = sound(6.0, batch=2).double(), [96000, 30000]
    whole = make(network).double()(audio, lengths=lengths)
    near = make(network, window_s=1.0, context_s=1.0).double()
    windowed = near(audio, lengths=lengths)
    assert windowed.shape == whole.shape
    alone = near(audio[1:, :30000])
    assert torch.allclose(windowed[1:, : alone.shape[1]], alone, atol=1e-9)
    far = make(network, window_s=1.0, context_s=6.0).double()(audio, lengths=lengths)
    assert torch.allclose(far, whole, atol=1e-9)
    config = make(network, context_s=1.0).double()  # the same, asked of one call; the encoder stays as it is
    assert torch.equal(config(audio, lengths=lengths, window_s=1.0), windowed)
    assert torch.equal(config(audio, lengths=lengths), whole)


def test_training_masks_time_after_the_change_of_rate_and_leaves_convolutions_alone():
    pytest.importorskip("transformers")
    quiet = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
    network = {**tiny(LAYOUTS[1]), **quiet, "layerdrop": 0.0, "mask_time_prob": 0.3, "mask_time_length": 4}
    encoder, audio = make(network), sound(2.0)
    assert torch.equal(encoder(audio), encoder(audio))
    encoder.train()
    assert not torch.equal(encoder(audio), encoder(audio))
    encoder(audio, lengths=[20000]).square().sum().backward()
    assert encoder.masked_spec_embed.grad.norm() > 0
    untouched = {k for k, p in encoder.named_parameters() if p.grad is None}
    assert untouched == {k for k in encoder.state_dict() if k.startswith("feature_extractor.")}
    encoder = make(network, frozen="all").train()
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    encoder = make(network, frozen="none").train()
    encoder(audio).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_time_spans():
    torch.manual_seed(0)
    shares = torch.stack([time_spans(200, 240, 0.05, 10, 2) for _ in range(50)]).float().mean(0)
    assert not shares[200:].any() and 0.03 < shares[:200].mean() < 0.12
    assert time_spans(20, 20, 0.01, 10, 2).sum() >= 11  # two stretches with different starts
    assert not time_spans(9, 9, 0.5, 10, 2).any() and not time_spans(50, 50, 0.0, 10, 2).any()


def test_level_does_not_matter_where_clips_are_normalised():
    pytest.importorskip("transformers")
    encoder, audio = make(tiny(LAYOUTS[3])), sound(1.0)
    with torch.no_grad():
        assert torch.allclose(encoder(audio), encoder(audio * 7 + 0.3), atol=1e-4)


def test_too_short_sound_is_one_clear_error(network):
    encoder = make(network)
    for samples in (0, 100, 399, 450):
        with pytest.raises(InputError, match="too short"):
            encoder(torch.randn(1, samples))
    with pytest.raises(ValueError, match="batch axis"):
        encoder(torch.randn(16000))


def test_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[encoders\]"):
        load_speech_encoder("facebook/hubert-large-ls960-ft")
    load_speech_encoder("phonetic")


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    pytest.importorskip("transformers")
    for name in ("nobody/no-such-network", tmp_path):
        with pytest.raises(InputError, match="cannot load a speech network") as error:
            load_speech_encoder(str(name), local_files_only=True)
        assert "\n" not in str(error.value) and "config.json" in str(error.value)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="wav2vec2, hubert, wavlm"):
        load_speech_encoder(str(tmp_path))
    with pytest.raises(InputError, match="known"):
        load_speech_encoder({"encoder": "whisper"})
    with pytest.raises(InputError, match="rate rule"):
        SpeechConfig.from_dict({"rate": {"kind": "fast"}})
    with pytest.raises(InputError, match="colour"):
        SpeechConfig.from_dict({"colour": "red"})


@torch.no_grad()
def test_phonetic_encoder_is_a_drop_in():
    encoder = load_speech_encoder("phonetic", fps=25.0, steps_per_frame=2)
    audio, lengths = sound(2.0, batch=3), [32000, 20000, 9000]
    batch = encoder(audio, lengths=lengths)
    assert batch.shape == (3, encoder.steps(32000), encoder.dim) == (3, 100, 56)
    for i, n in enumerate(lengths):
        alone = encoder(audio[i : i + 1, :n])[0]
        assert torch.allclose(batch[i, : len(alone)], alone, atol=1e-5) and not batch[i, len(alone) :].any()
    assert encoder(audio, frames=30).shape == (3, 60, 56)
    plain = PhoneticEncoder.from_pretrained()(audio[:1])
    even = load_speech_encoder({"encoder": "phonetic", "fps": 50.0})(audio[:1])
    assert torch.allclose(even[:, 1:], (plain[:, :-1] + plain[:, 1:])[:, : even.shape[1] - 1] / 2, atol=1e-5)
    again = load_speech_encoder(encoder.spec())
    assert torch.equal(again(audio), encoder(audio)) and not encoder.state_dict()
    again.load_state_dict({}, strict=True)
    with pytest.raises(InputError, match="too short"):
        encoder(audio[:, :300])
    with pytest.raises(InputError, match="colour"):
        load_speech_encoder("phonetic", colour="red")
