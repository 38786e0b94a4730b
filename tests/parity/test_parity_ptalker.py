"""PTalker computes what the authors' code computes: every published way to predict, every term, every gradient norm."""

import json
from typing import Any

import pytest
import torch
from golden import ROOT, Golden, GoldenCase, cases, close_gradients, listed, models
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.losses import disentanglement as apart
from parlante.models.components.causal_decoder import memory_mask, temporal_bias
from parlante.models.importing.keys import EMOTION, SPEECH
from parlante.models.ptalker.import_ import infer as sizes_told_by
from parlante.models.ptalker.model import PTalker, PTalkerConfig
from parlante.models.ptalker.objective import ObjectiveTerms, TermWeights, objective
from parlante.models.ptalker.reference import ReferenceRollout

ENCODERS = (SPEECH, EMOTION)
STEPS = {"vocaset": 1, "BIWI": 2}
RULES = {"vocaset": RateRule(kind="aligned", fps=30.0), "BIWI": RateRule(kind="pairs", steps_per_frame=2)}
EMOTION_RULE = RateRule(kind="aligned", fps=60.0)
RATES = {"float64": torch.float64, "float32": torch.float32}


def build(golden: Golden, dtype: torch.dtype) -> PTalker:
    """The fixture's model, loaded strictly, in evaluation mode."""
    state = golden.state(dtype, drop=ENCODERS)
    sizes = golden.sizes
    config = PTalkerConfig(
        **sizes_told_by(state),
        period=sizes["period"],
        heads=sizes["decoder_heads"],
        motion_heads=sizes["motion_encoder_heads"],
        steps_per_frame=STEPS[golden.dataset],
        span=golden.span,
    )
    model = PTalker(config).to(dtype)
    model.load_state_dict(state, strict=True)
    return model.eval()


def hear(case: GoldenCase, given: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The arguments with features in place of audio, through both speech encoders of the fixture."""
    audio, about = given["audio"], case.golden.sizes["encoders"]
    frames = given["vertice"].shape[1] if "vertice" in given else None
    content = _encoder(case, about["content"], RULES[case.golden.dataset], SPEECH, dtype)
    emotion = _encoder(case, about["emotion"], EMOTION_RULE, EMOTION, dtype)
    with torch.no_grad():
        return given | {"hidden_states": content(audio, frames), "emotion_hidden": emotion(audio)}


def _encoder(case: GoldenCase, about: dict[str, Any], rule: RateRule, prefix: str, dtype: torch.dtype) -> SpeechEncoder:
    network = {"model_type": about["architecture"], **{k: v for k, v in about.items() if k != "architecture"}}
    state = {k.removeprefix(prefix): v for k, v in case.golden.part("state").items() if k.startswith(prefix)}
    return SpeechEncoder.from_config(network, rule, state=state, normalise=False).to(dtype)


def predict(model: PTalker, case: GoldenCase, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`vertice` and `fed_back` of the three released methods, through the internals and through `generate`."""
    mode = {"predict_seen": "seen", "predict_unseen": "unseen", "predict_with_ref_motion": "reference"}[case.mode]
    features, emotion, template = given["hidden_states"], given["emotion_hidden"], given["template"]
    everyone = torch.eye(model.config.subjects, dtype=features.dtype)
    weights = given.get("one_hot", everyone if mode == "seen" else None)
    reference = given.get("ref_motion_seq")
    batch = len(weights) if mode == "seen" and weights is not None else 1
    features, emotion = features.expand(batch, -1, -1), emotion.expand(batch, -1, -1)
    with torch.no_grad():
        motion = model.generate(
            features, mode=mode, weights=weights, emotion=emotion, reference_motion=reference, reference=True
        )
        roll: ReferenceRollout = model.reference_rollout(
            model.encode_speech(features),
            model.AudioStyle(emotion),
            identity=model.onehot_style_encoder(weights) if mode == "seen" else None,
            frame=reference[:, 0] if mode == "reference" and reference is not None else None,
        )
        return {"vertice": motion + template[:, None], "fed_back": model.decode_motion(roll.fed_back)}


def train(model: PTalker, case: GoldenCase, given: dict[str, Tensor]) -> tuple[ObjectiveTerms, dict[str, Tensor]]:
    """The training forward as released, and its numbers under the fixture's names."""
    template = given["template"][:, None]
    outcome = objective(
        model,
        given["hidden_states"],
        given["vertice"] - template,
        given["one_hot"],
        given["emotion_hidden"],
        mouth=torch.tensor(case.golden.sizes["mouth_map"]),
        free_running="autoregressive branch" in case.body["description"],
        reference=True,
    )
    terms = outcome.terms
    return outcome, {
        "rec_loss": terms["reconstruction"],
        "mouth_loss": terms["mouth"],
        "constraint_loss": terms["constraint"],
        "velocity": terms["velocity"],
        "train_total": outcome.total,
        "vertice_out": outcome.prediction + template,
        "target_frames": torch.tensor(outcome.prediction.shape[1]),
        "orthogonal_audio": terms["orthogonal_audio"],
        "orthogonal_motion": terms["orthogonal_motion"],
        "contrastive": terms["contrastive"],
        "kl": terms["kl"],
        "info_audio": terms["info_audio"],
        "info_motion": terms["info_motion"],
        "adversarial": terms["adversarial"],
        "auxiliary_unused": terms["auxiliary"],
        "speaker_logits": outcome.speaker_logits,
        "aux_logits": outcome.auxiliary_logits,
        "content_motion": outcome.content,
        "style_motion": outcome.style,
        "style_motion_sequence": outcome.style_sequence,
    }


def parts(model: PTalker, case: GoldenCase, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Single modules; a case of another set of arguments fails for want of outputs."""
    found: dict[str, Tensor] = {}
    if "motion" in given:
        motion = given["motion"]
        style, sequence = model.style_motion(motion)
        found |= {"content": model.content_motion(motion), "style_code": style, "style_sequence": sequence}
        found |= {f"style_code_t{t}": model.style_motion(motion[:, :t])[0] for t in (1, 2)}
        found["content_t2"] = model.content_motion(motion[:, :2])
    elif "emotion_hidden" in given:
        emotion = given["emotion_hidden"]
        found |= {"style_audio": model.AudioStyle(emotion), "style_audio_sequence": model.AudioStyle.sequence(emotion)}
    else:
        everyone = torch.eye(model.config.subjects, dtype=model.start_token.dtype)
        found["style"] = torch.cat([model.onehot_style_encoder(one[None]) for one in everyone])
    return found


def losses(model: PTalker, case: GoldenCase, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every loss alone, on the fixture's small features."""
    five, nine, a, b = (given[name] for name in ("feat_t5", "feat_t9", "feat_batch_a", "feat_batch_b"))
    styles = [given[f"style_{i}"] for i in range(3)]
    heat = model.cons.temperature
    return {
        "orthogonal_same": apart.orthogonal(nine, nine.flip(1)),
        "orthogonal_content_longer": apart.orthogonal(nine, five),
        "orthogonal_style_longer": apart.orthogonal(five, nine),
        "contrastive_9_5": apart.contrastive(nine, five, heat, reference=True),
        "contrastive_9_9": apart.contrastive(nine, nine, heat, reference=True),
        "contrastive_batch": apart.contrastive(a, b, heat, reference=True),
        "kl_9_5": apart.kl(nine, five),
        "kl_5_9": apart.kl(five, nine),
        "kl_batch": apart.kl(a, b),
        "info_batch1": apart.info_nce(nine, five),
        "info_batch3": apart.info_nce(a, b),
        "style_similarity_cosine": apart.style_spread(styles),
        "style_similarity_l2": apart.style_spread(styles, "l2"),
        "aux_classifier": model.auxiliary_style_classifier(styles[0]),
        "speaker_classifier": model.style_classifier(styles[0]),
    }


def masks(case: GoldenCase) -> dict[str, Tensor]:
    """The additive bias and the alignment mask, at the sizes that the fixture stores."""
    heads, frames, _ = case.body["outputs"]["temporal_bias"]["shape"]
    rows, steps = case.body["outputs"]["memory_mask"]["shape"]
    return {
        "temporal_bias": temporal_bias(frames, case.golden.sizes["period"], heads),
        "memory_mask": memory_mask(rows, steps, STEPS[case.golden.dataset]),
    }


def of_the_model(golden: Golden) -> bool:
    """Not a speech front end alone; those are tested in test_parity_speech.py."""
    return "start_token" in golden.head.get("state_shapes", {})


@pytest.mark.parametrize("dtype", RATES.values(), ids=RATES)
@pytest.mark.parametrize("case", cases("ptalker", of_the_model))
def test_same_numbers(case: GoldenCase, dtype: torch.dtype) -> None:
    model, given = build(case.golden, dtype), case.arguments(dtype)
    if "audio" in given:
        given = hear(case, given, dtype)
    if case.mode.startswith("predict"):
        ours = predict(model, case, given)
    elif case.mode == "forward":
        _, ours = train(model, case, given)
    elif case.mode == "module":
        ours = parts(model, case, given)
    elif case.mode == "losses":
        ours = losses(model, case, given)
    elif case.mode == "masks":
        ours = {k: v.to(dtype) if v.is_floating_point() else v for k, v in masks(case).items()}
    else:
        pytest.fail(f"{case}: nothing here computes mode {case.mode!r}")
    case.compare(ours, dtype)


@pytest.mark.parametrize("golden", models("ptalker", lambda g: "gradient_l2_train_total_tf" in g.head))
def test_same_gradients(golden: Golden) -> None:
    """Evaluation mode, double precision, the training script's total, teacher forced."""
    theirs = golden.gradients("train_total_tf")
    model = build(golden, torch.float64)
    case = GoldenCase(golden, "forward_tf", golden.head["cases"]["forward_tf"])
    train(model, case, case.arguments(torch.float64))[0].total.backward()
    close_gradients({name: value.grad for name, value in model.named_parameters()}, theirs)


@pytest.mark.parametrize("name", ["ptalker_vocaset_d128", "ptalker_biwi_d128"])
def test_published_files_load_strictly(name: str) -> None:
    """All keys and shapes of a full-size file, without its numbers."""
    path = ROOT / "keys" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no list of keys {path}; set PARLANTE_PARITY")
    about = json.loads(path.read_text())
    shapes = {
        key: torch.empty(shape, device="meta")
        for key, shape in about["shapes"].items()
        if key not in about["buffers"] and not key.startswith(ENCODERS)
    }
    with torch.device("meta"):
        model = PTalker(PTalkerConfig(**sizes_told_by(shapes)))
    found = {key: value.shape for key, value in model.state_dict().items()}
    assert found == {key: value.shape for key, value in shapes.items()}


def test_every_listed_case_is_there() -> None:
    """What the index promises, apart from the speech front ends, is what the tests above run over."""
    here = [parameter.values[0] for parameter in models("ptalker", of_the_model) if parameter.values[0] is not None]
    found = {(golden.path.stem, name) for golden in here for name in golden.head["cases"]}
    assert {pair for pair in listed("ptalker") if not pair[0].endswith("_frontend")} <= found


def test_weights_of_the_script() -> None:
    weights = TermWeights()
    assert (weights.mouth, weights.velocity, weights.constraint, weights.auxiliary) == (1.2, 10.0, 0.01, 0.0)
