"""What the authors' tensors tell: sizes of each family, from names and shapes.

Names and shapes as the public code of FaceFormer, TalkingStyle, PTalker and CodeTalker saves them. Inference never
fails: a size that no tensor tells is made up, and the comparison with the model built from the sizes lists everything
that is missing, unexpected or of another shape.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.mesh_network import EMOTION, SPEECH

Tensors = Mapping[str, Tensor]
Sizes = dict[str, Any]
__all__ = ["EMOTION", "INFER", "SPEECH", "TABLES", "codetalker_stage1", "looks_like", "split", "take_tables"]

TABLES = frozenset(
    {"PPE.pe", "content_motion.PE.pe", "style_motion.PE.pe"}
    | {f"{side}.{side}_pos_embedding.pe" for side in ("encoder", "decoder")}
)
"""Positional tables: computed here for any length, so never loaded."""


def split(tensors: Tensors, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(tensors under `prefix`, without it; all others)."""
    inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return inner, {name: value for name, value in tensors.items() if not name.startswith(prefix)}


def period_of(table: Tensor) -> int:
    """The smallest shift under which a positional table (1, P, D) repeats; P if it does not."""
    rows = table.reshape(-1, table.shape[-1])
    same = (rows == rows[0]).all(-1).nonzero()[:, 0].tolist()
    for shift in same[1:]:
        if torch.equal(rows[shift:], rows[:-shift]):
            return int(shift)
    return len(rows)


def take_tables(tensors: Tensors, source: str) -> tuple[int | None, dict[str, Tensor]]:
    """(period of `PPE.pe` or none, the tensors without positional tables).

    Raises InputError if a table is not the published formula, because dropping it would change the model.
    """
    period: int | None = None
    for name in TABLES & tensors.keys():
        table = tensors[name]
        if table.ndim != 3 or not table.numel():
            raise InputError(f"{source}: {name} is {tuple(table.shape)}, wanted a table of three axes")
        rows = table.reshape(-1, table.shape[-1])
        periodic = name.endswith("PE.pe")
        found = period_of(table)
        wanted = periodic_positions(0, len(rows), table.shape[-1], found)
        if not torch.allclose(rows if periodic else rows[:1], wanted if periodic else wanted[:1], atol=2e-3):
            raise InputError(f"{source}: {name} is not the published positional table; this variant is not known")
        if name == "PPE.pe":
            period = found
    return period, {name: value for name, value in tensors.items() if name not in TABLES}


class _Shapes:
    """Sizes read off tensors, the first place that has one; `untold` where none does."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def size(self, *places: tuple[str, int], untold: int = 1) -> int:
        for name, axis in places:
            tensor = self._tensors.get(name)
            if tensor is not None and axis < tensor.ndim and tensor.shape[axis]:
                return int(tensor.shape[axis])
        return untold

    def count(self, pattern: str) -> int:
        """One more than the largest number that stands for {} in any name."""
        rule = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d{1,4})") + r"\.")
        return max((int(hit[1]) + 1 for name in self._tensors if (hit := rule.match(name))), default=1)

    def has(self, name: str) -> bool:
        return name in self._tensors


def _decoder(t: _Shapes, encode: str, decode: str) -> Sizes:
    """What the three families with a vertex loop share."""
    return {
        "width": t.size(("transformer_decoder.layers.0.norm1.weight", 0), (f"{encode}.bias", 0), untold=8),
        "audio_dim": t.size(("audio_feature_map.weight", 1), (f"{SPEECH}encoder.layer_norm.weight", 0)),
        "motion_dim": t.size((f"{encode}.weight", 1), (f"{decode}.bias", 0), (f"{decode}.weight", 0), untold=3),
        "layers": t.count("transformer_decoder.layers.{}"),
    }


def faceformer(tensors: Tensors) -> Sizes:
    """Sizes of a FaceFormer."""
    t = _Shapes(tensors)
    return _decoder(t, "vertice_map", "vertice_map_r") | {"subjects": t.size(("obj_vector.weight", 1))}


def talkingstyle(tensors: Tensors) -> Sizes:
    """Sizes of a TalkingStyle."""
    t = _Shapes(tensors)
    return _decoder(t, "vertice_encoder", "vertice_decoder") | {
        "subjects": t.size(("style_encoder.obj_vector.weight", 1), ("style_encoder.my_obj_vector.weight", 0))
    }


def ptalker(tensors: Tensors) -> Sizes:
    """Sizes of a PTalker, with the layers that its files hold and never use."""
    t = _Shapes(tensors)
    return _decoder(t, "vertice_encoder", "vertice_decoder") | {
        "subjects": t.size(
            ("onehot_style_encoder.obj_vector.weight", 1), ("onehot_style_encoder.my_obj_vector.weight", 0)
        ),
        "emotion_dim": t.size(("AudioStyle.fc1.weight", 1), ("AudioStyle.fc3.weight", 1)),
        "audio_style_hidden": t.size(("AudioStyle.fc1.bias", 0), ("AudioStyle.fc2.weight", 1)),
        "hidden": t.size(("transformer_decoder.layers.0.linear1.bias", 0)),
        "motion_convolutions": t.count("style_motion.conv_layers.{}"),
        "motion_layers": t.count("style_motion.transformer_encoder.layers.{}"),
        "motion_hidden": t.size(("style_motion.transformer_encoder.layers.0.linear1.bias", 0)),
        "auxiliary_classes": t.size(("auxiliary_style_classifier.fc.bias", 0)),
        "dead_layers": t.has("style_motion.motion_map.weight"),
    }


def codetalker_stage1(tensors: Tensors) -> Sizes:
    """Sizes of CodeTalker's motion autoencoder. Not told by the file: heads (published: 8).

    Nor does it tell no halving of the frame rate from one; the published models have none.
    """
    t = _Shapes(tensors)
    width = t.size(("encoder.encoder_linear_embedding.net.bias", 0), ("encoder.vertice_mapping.0.bias", 0))
    code_dim = t.size(("quantize.embedding.weight", 1))
    latent_maps = t.has("encoder.encoder_linear_embedding_post.net.weight")
    latent = t.size(("encoder.encoder_linear_embedding_post.net.bias", 0)) if latent_maps else width
    stages = t.count("encoder.squasher.{}")
    return {
        "motion_dim": t.size(("encoder.vertice_mapping.0.weight", 1), ("decoder.vertice_map_reverse.weight", 0)),
        "width": width,
        "layers": t.count("encoder.encoder_transformer.net.{}") // 2,
        "hidden": t.size(("encoder.encoder_transformer.net.1.fn.fn.l1.bias", 0)),
        "groups": max(latent // code_dim, 1),
        "code_dim": code_dim,
        "codes": t.size(("quantize.embedding.weight", 0)),
        "halvings": stages if stages > 1 else 0,
        "norm_affine": t.has("encoder.squasher.0.2.weight"),
        "output_bias": t.has("decoder.vertice_map_reverse.bias"),
        "latent_maps": latent_maps,
    }


def codetalker_stage2(tensors: Tensors) -> Sizes:
    """Sizes of CodeTalker's second stage, apart from its autoencoder's."""
    t = _Shapes(tensors)
    sizes = _decoder(t, "vertice_map", "vertice_map")
    return sizes | {
        "motion_dim": t.size(("vertice_map.weight", 1), untold=3),
        "subjects": t.size(("learnable_style_emb.weight", 0)),
    }


INFER: dict[str, Callable[[Tensors], Sizes]] = {
    "faceformer": faceformer,
    "talkingstyle": talkingstyle,
    "ptalker": ptalker,
    "codetalker": codetalker_stage2,
}

_SIGNATURES = {  # a name that only this kind of file has
    "ptalker": "start_token",
    "talkingstyle": "style_encoder.obj_vector.weight",
    "faceformer": "vertice_map_r.weight",
    "codetalker, stage 2": "learnable_style_emb.weight",
    "codetalker, stage 1": "quantize.embedding.weight",
}


def looks_like(tensors: Iterable[str]) -> str | None:
    """Which published file has names such as these, if any."""
    names = set(tensors)
    return next((kind for kind, name in _SIGNATURES.items() if name in names), None)
