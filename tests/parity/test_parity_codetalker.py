"""CodeTalker, both stages, against the authors' numbers: every case of every fixture found."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from golden import ROOT, Golden, GoldenCase, cases, close, close_gradients, listed, models
from torch import Tensor, nn

from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig, autoencoder_loss
from parlante.models.codetalker.model import CodeTalker, CodeTalkerConfig, talker_loss
from parlante.models.components.causal_decoder import memory_mask, temporal_bias

both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
STEPS_PER_FRAME = {"vocaset": 1, "BIWI": 2}
"""What the original derives from the data set's name."""


def stage_one(golden: Golden) -> bool:
    return "zquant_dim" in golden.sizes


def stage_two(golden: Golden) -> bool:
    return "stage1" in golden.sizes


def autoencoder_config(sizes: dict[str, Any], names: Mapping[str, Any], prefix: str = "") -> MotionAutoencoderConfig:
    """The variants differ in which parameters they have; `names` are those of the file."""
    return MotionAutoencoderConfig(
        motion_dim=sizes["in_dim"],
        width=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        hidden=sizes["intermediate_size"],
        groups=sizes["face_quan_num"],
        code_dim=sizes["zquant_dim"],
        codes=sizes["n_embed"],
        halvings=sizes["quant_factor"],
        slope=sizes["neg"],
        norm_affine=sizes["INaffine"],
        output_bias=f"{prefix}decoder.vertice_map_reverse.bias" in names,
        latent_maps=f"{prefix}decoder.decoder_linear_embedding_pre.net.weight" in names,
    )


def build_autoencoder(golden: Golden, dtype: torch.dtype, **changes: Any) -> MotionAutoencoder:
    state = golden.state(dtype)
    model = MotionAutoencoder(replace(autoencoder_config(golden.sizes, state), **changes)).to(dtype).eval()
    model.load_state_dict(state, strict=True)
    return model


def build_talker(golden: Golden, dtype: torch.dtype) -> CodeTalker:
    sizes, state = golden.sizes, golden.state(dtype)
    config = CodeTalkerConfig(
        motion_dim=sizes["vertice_dim"],
        audio_dim=sizes["audio_dim"],
        width=sizes["feature_dim"],
        period=sizes["period"],
        subjects=sizes["num_subjects"],
        layers=sizes["decoder_layers"],
        heads=sizes["decoder_heads"],
        steps_per_frame=STEPS_PER_FRAME[golden.dataset],
        span=golden.span,
        autoencoder=autoencoder_config(sizes["stage1"], state, "autoencoder."),
    )
    model = CodeTalker(config).to(dtype).eval()
    model.load_state_dict(state, strict=True)
    return model


# -- stage 1


def reconstruct(golden: Golden, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    model, given = build_autoencoder(golden, dtype), case.arguments(dtype)
    template = given["template"][:, None]
    motion = given["vertice"] - template
    moved, codes = model(motion)
    if case.informational:  # a batch, and the released code's treatment of it
        quirk = build_autoencoder(golden, dtype, positions_by_item=True)
        alone = torch.cat([model(one[None])[0] for one in motion])
        close(moved, alone, 1e-5, "together and one by one")
        return {"vertice_together": quirk(motion)[0] + template, "vertice_one_by_one": moved + template}
    quant_loss = codes.codebook + 0.25 * codes.commitment
    loss = autoencoder_loss(moved, motion, codes)
    return {
        "vertice": moved + template,
        "embedding_loss": quant_loss,
        "quant_loss": quant_loss,
        "perplexity": codes.perplexity,
        "codes": codes.indices,
        "loss": loss,
        "rec_l1": loss - quant_loss,
    }


def encode(golden: Golden, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    model, given = build_autoencoder(golden, dtype), case.arguments(dtype)
    latent = model.encode(given["vertice"] - given["template"][:, None])
    codes = model.quantise(latent)
    decoded = model.decode_codes(codes.indices)
    close(decoded, model.decode(codes.latent), 1e-5, "codes and their straight-through vectors")
    split = (model.config.groups, model.config.code_dim)
    vectors = codes.latent.unflatten(-1, split).flatten(1, 2).mT  # (B, code_dim, T' * groups), as the authors keep it
    return {"encoder": latent, "quant": vectors, "codes": codes.indices, "decoded": decoded}


# -- stage 2


def style(model: CodeTalker, case: GoldenCase, given: dict[str, Tensor]) -> Tensor:
    weights = given["one_hot"]
    if "one_hot2" in given:
        share = float(re.search(r"([\d.]+)\s*\*\s*one_hot\b", case.body["description"]).group(1))  # type: ignore[union-attr]
        weights = share * weights + (1 - share) * given["one_hot2"]
    return model.style_embedding(weights)


def predict(golden: Golden, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    model, given = build_talker(golden, dtype), case.arguments(dtype)
    code = style(model, case, given)
    rolled = model.roll(given["hidden_states"], code, refresh=0)
    motion = model.generate(given["hidden_states"], code, refresh=0)
    fed_back = model.autoencoder.decoder.vertice_map_reverse(rolled.fed_back)
    return {"vertice": motion + given["template"][:, None], "codes": rolled.codes[0], "fed_back": fed_back[:, :-1]}


def teach(golden: Golden, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    model, given = build_talker(golden, dtype), case.arguments(dtype)
    template, sizes = given["template"][:, None], golden.sizes
    motion = given["vertice"] - template
    taught = model.teach(given["hidden_states"], motion, style(model, case, given), reference=True)
    moved, coded = talker_loss(taught, motion)
    split = (-1, model.config.autoencoder.code_dim)
    return {
        "loss": sizes["motion_weight"] * moved + sizes["reg_weight"] * coded,
        "loss_motion": moved,
        "loss_reg": coded,
        "vertice_out": taught.motion + template,
        "features": taught.latent.unflatten(-1, split).flatten(1, 2),
        "features_target": taught.target.unflatten(-1, split).flatten(1, 2),
        "target_frames": torch.tensor(taught.motion.shape[1]),
    }


def masks(golden: Golden, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    sizes = golden.sizes
    frames, steps = case.body["outputs"]["memory_mask"]["shape"]
    return {
        "temporal_bias": temporal_bias(frames, sizes["period"], sizes["decoder_heads"]).to(dtype),
        "memory_mask": memory_mask(frames, steps, STEPS_PER_FRAME[golden.dataset]),
    }


RUN_ONE = {"forward": reconstruct, "encode": encode}
RUN_TWO = {"predict": predict, "forward": teach, "masks": masks}


@pytest.mark.parametrize("case", cases("codetalker", lambda g: stage_one(g) or stage_two(g)))
@both_precisions
def test_case(case: GoldenCase, dtype: torch.dtype) -> None:
    run = RUN_ONE if stage_one(case.golden) else RUN_TWO
    assert case.mode in run, f"{case}: mode {case.mode!r} is not covered"
    case.compare(run[case.mode](case.golden, case, dtype), dtype)


@pytest.mark.parametrize("golden", models("codetalker", lambda g: any(k.startswith("gradient_l2_") for k in g.head)))
def test_gradients(golden: Golden) -> None:
    """Where a fixture lists the gradient norms of a case's loss, ours are the same."""
    for name in [key.removeprefix("gradient_l2_") for key in golden.head if key.startswith("gradient_l2_")]:
        case, norms = GoldenCase(golden, name, golden.head["cases"][name]), golden.gradients(name)
        given = case.arguments(torch.float64)
        motion = given["vertice"] - given["template"][:, None]
        if stage_one(golden):
            model: nn.Module = build_autoencoder(golden, torch.float64)
            moved, codes = model(motion)
            loss = autoencoder_loss(moved, motion, codes)
        else:
            model = build_talker(golden, torch.float64)
            model.autoencoder.requires_grad_(any(norms.get(f"autoencoder.{k}") for k in model.autoencoder.state_dict()))
            taught = model.teach(given["hidden_states"], motion, style(model, case, given), reference=True)
            terms = talker_loss(taught, motion)
            loss = golden.sizes["motion_weight"] * terms[0] + golden.sizes["reg_weight"] * terms[1]
        loss.backward()
        close_gradients({k: v.grad for k, v in model.named_parameters()}, norms)


@pytest.mark.parametrize("name", ["stage1_vocaset", "stage1_biwi", "stage2_vocaset", "stage2_biwi"])
def test_released_sizes_have_our_keys(name: str) -> None:
    """Names and shapes of the released files, built without memory: nothing missing, nothing left over."""
    path = ROOT / "keys" / f"codetalker_{name}.json"
    if not path.is_file():
        pytest.skip(f"no key list {path}; set PARLANTE_PARITY")
    listing = json.loads(path.read_text())
    tables = set(listing["buffers"])
    theirs = {
        k: tuple(v) for k, v in listing["shapes"].items() if k not in tables and not k.startswith("audio_encoder.")
    }
    vocaset = name.endswith("vocaset")
    stage1 = MotionAutoencoderConfig(
        motion_dim=15069 if vocaset else 70110,
        groups=16 if vocaset else 8,
        code_dim=64 if vocaset else 128,
        output_bias=vocaset,
        latent_maps=not vocaset,
    )
    with torch.device("meta"):
        if name.startswith("stage1"):
            model: nn.Module = MotionAutoencoder(stage1)
        else:
            model = CodeTalker(
                CodeTalkerConfig(
                    motion_dim=stage1.motion_dim,
                    period=30 if vocaset else 25,
                    subjects=8 if vocaset else 6,
                    layers=6 if vocaset else 12,
                    steps_per_frame=1 if vocaset else 2,
                    autoencoder=stage1,
                )
            )
    ours = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.startswith("autoencoder.")}
    assert ours == theirs


def test_every_listed_case_is_here() -> None:
    here = {(p.values[0].golden.path.stem, p.values[0].name) for p in cases("codetalker") if p.values[0] is not None}
    frontends = {"audio_frontend"}  # test_parity_speech.py
    assert {pair for pair in listed("codetalker") if pair[0] not in frontends} <= here
