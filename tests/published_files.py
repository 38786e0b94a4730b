"""Small checkpoints in the authors' layout, made on the spot: what `parlante convert` is given."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parlante.audio.encoders.weight_norm import to_old
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig

VERTICES = 7
HEADS = 2
SETTINGS = {
    "faceformer": {"speech.heads": HEADS},
    "talkingstyle": {"speech.heads": HEADS},
    "ptalker": {"speech.heads": HEADS, "emotion.heads": HEADS},
    "codetalker": {"speech.heads": HEADS, "autoencoder.heads": HEADS},
    "facediffuser": {"speech.heads": HEADS},
}
"""What a file of this size does not tell; of the published size it does."""
RULES = {
    "aligned": {"kind": "aligned", "fps": 30.0, "steps_per_frame": 1},
    "pairs": {"kind": "pairs", "fps": 50.0, "steps_per_frame": 2},
}
FPS = {"aligned": 30.0, "pairs": 25.0}


def network(*, large: bool) -> dict[str, Any]:
    """A tiny speech network: group norm and norm last (base), or layer norm and norm first (large)."""
    return {
        "model_type": "wav2vec2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "intermediate_size": 12, "conv_dim": [4] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer" if large else "group", "conv_bias": large, "do_stable_layer_norm": large,
        "mask_time_prob": 0.05,
    }  # fmt: skip


def tiny_talker(model: str, rule: str = "aligned") -> MeshNetwork:
    """A talker of seven vertices with random weights, two speakers."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "motion_dim": 3 * VERTICES, "audio_dim": 8, "width": 8, "period": round(FPS[rule]), "subjects": 2,
        "steps_per_frame": RULES[rule]["steps_per_frame"],
    }  # fmt: skip
    large = model in ("talkingstyle", "ptalker")
    speech = {"encoder": "network", "network": network(large=large), "rate": RULES[rule]}
    emotion = None
    if model == "ptalker":
        sizes |= {"emotion_dim": 8, "audio_style_hidden": 6, "auxiliary_classes": 6, "dead_layers": True}
        emotion = {**speech, "rate": {"kind": "aligned", "fps": 60.0}}
    if model == "codetalker":
        stage = {"motion_dim": 3 * VERTICES, "width": 8, "layers": 1, "heads": HEADS, "hidden": 12, "groups": 2}
        sizes |= {"layers": 2, "autoencoder": stage | {"code_dim": 4, "codes": 16}}
    rate = None
    if model == "facediffuser":
        del sizes["period"]
        sizes |= {"steps": 6, "steps_per_frame": 2}
        speech["rate"] = {"kind": "none"}
        rate = RULES["pairs"] if rule == "pairs" else {"kind": "aligned", "fps": 60.0, "steps_per_frame": 2}
    config = MeshNetworkConfig(model=model, family=sizes, speech=speech, emotion=emotion, fps=FPS[rule], rate=rate)
    talker = MeshNetwork(config).eval().requires_grad_(False)
    for parameter in talker.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return talker


def published_state(talker: MeshNetwork, *, old_names: bool = True) -> dict[str, Tensor]:
    """The tensors as the authors' code saves them: positional tables included, either spelling of weight norms."""
    state = {name: value.clone() for name, value in talker.tensors().items()}
    if talker.config.model == "facediffuser":
        return to_old(state) if old_names else state
    width, period = talker.config.family.width, talker.config.family.period
    rows = (600 // period + 1) * period
    state["PPE.pe"] = periodic_positions(0, rows, width, period)[None]
    if talker.config.model == "ptalker":
        for side in ("content", "style"):
            state[f"{side}_motion.PE.pe"] = periodic_positions(0, rows, 2 * width, period)[None]
    return to_old(state) if old_names else state


def publish(talker: MeshNetwork, folder: Path, *, old_names: bool = True) -> list[Path]:
    """Write the file, or CodeTalker's two, in the authors' containers."""
    state = published_state(talker, old_names=old_names)
    if talker.config.model != "codetalker":
        torch.save(state, folder / "model.pth")
        return [folder / "model.pth"]
    prefix = "autoencoder."
    first = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    table = periodic_positions(0, 50, talker.config.family.autoencoder.width, 50)[:, None]
    first |= {f"{side}.{side}_pos_embedding.pe": table for side in ("encoder", "decoder")}
    second = {name: value for name, value in state.items() if not name.startswith(prefix)}
    paths = [folder / "stage1.pth.tar", folder / "stage2.pth.tar"]
    for path, stage in zip(paths, (first, second)):
        torch.save({"state_dict": stage}, path)
    return paths
