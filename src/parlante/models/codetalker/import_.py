"""CodeTalker's released files: stage 1 (the codebook of motions) and stage 2 (speech to codes), given together."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.models.importing import keys
from parlante.models.importing.containers import read_tensors
from parlante.models.importing.keys import Shapes, Sizes, Tensors, decoder_sizes
from parlante.models.importing.motion_import import MotionImporter, kind_of, no_published_file

STAGE_1, STAGE_2 = "codetalker, stage 1", "codetalker, stage 2"


def infer(tensors: Tensors) -> Sizes:
    """Sizes of stage 2, apart from its autoencoder's."""
    t = Shapes(tensors)
    return decoder_sizes(t, "vertice_map", "vertice_map") | {
        "motion_dim": t.size(("vertice_map.weight", 1), missing=3),
        "subjects": t.size(("learnable_style_emb.weight", 0)),
    }


def infer_autoencoder(tensors: Tensors) -> Sizes:
    """Sizes of stage 1. Not in the file: heads (published: 8).

    Nor does it tell no halving of the frame rate from one; the published models have none.
    """
    t = Shapes(tensors)
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


def read_stages(files: Sequence[Path | str], source: str) -> tuple[dict[str, Tensor], Sizes]:
    """(tensors of both stages under stage 2's names, the autoencoder's sizes). Raises InputError for any other pair."""
    if not 1 <= len(files) <= 2:
        raise InputError(f"a codetalker is two files, stage 1 and stage 2, got {len(files)}: {source}")
    stages: dict[str, dict[str, Tensor]] = {}
    for path in files:
        tensors = read_tensors(path)
        kind = kind_of(tensors)
        if kind not in (STAGE_1, STAGE_2):
            raise no_published_file("codetalker", tensors, str(path), ["neither stage 1 nor stage 2"])
        if kind in stages:
            raise InputError(f"{source}: both files are {kind}; give one of each stage")
        stages[kind] = tensors
    second = stages.get(STAGE_2, {})
    inner, outer = keys.split(second, "autoencoder.")
    first = stages.get(STAGE_1) or inner
    if not first or not second:
        have, lack = ("1", "2") if first else ("2", "1")
        raise InputError(
            f"{source} is stage {have} of CodeTalker, which is useless without stage {lack}: give both files, for "
            "example vocaset_stage1.pth.tar vocaset_stage2.pth.tar"
        )
    if inner and any(name not in inner or not torch.equal(inner[name], value) for name, value in first.items()):
        raise InputError(f"{source}: the second stage brings another autoencoder than the first; give the pair")
    _, first = keys.take_tables(first, source)
    sizes = infer_autoencoder(first)
    return outer | {f"autoencoder.{name}": value for name, value in first.items()}, {"autoencoder": sizes}


IMPORTER = MotionImporter(
    family="codetalker",
    infer=infer,
    signatures={STAGE_2: "learnable_style_emb.weight", STAGE_1: "quantize.embedding.weight"},
    read=read_stages,
)
