"""One autoencoder, and so one codebook, for motion maps and wrinkle maps alike: the ablation of TexTalker's two.

Its export serves as `data.motion` and as `data.wrinkle` of a diffusion recipe.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from parlante.data.open import open_corpus
from parlante.training.engine.corpora import ANY
from parlante.training.engine.scheme import validation_clips
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.maps import MapBatches, activity_map, corpus_faces, split_weights
from parlante.training.features.scanned_maps import ScannedMaps
from parlante.training.schemes.vqgan import Maps, Material, held_out_maps, tell_unused, training_on, vqgan_sections

KINDS = ("motion", "wrinkle")


class BothMaps:
    """Batches of which one half are motion maps and the other wrinkle maps."""

    def __init__(self, parts: Sequence[Maps]) -> None:
        self.parts = parts

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps."""
        return torch.cat([part.batch(step, *stream) for part in self.parts])


def stage() -> Stage:
    """The stage `joint_vqgan`."""
    about = "Ablation of TexTalker (CVPR 2025): one autoencoder of motion and wrinkle maps."
    train = training_on("joint", _prepare)
    return Stage(name="joint_vqgan", about=about, sections=vqgan_sections(), train=train, corpora=ANY)


def _prepare(recipe: Recipe) -> Material:
    return (_synthetic if open_corpus(recipe["data"].corpus).has_weights else _scanned)(recipe)


def _scanned(recipe: Recipe) -> Material:
    """A corpus of scans, half of each batch a kind; every texel counts alike."""
    data, loop, side = recipe["data"], recipe["loop"], recipe["model"].img_size
    tell_unused(data)
    half = max(1, data.batch // 2)
    parts = [ScannedMaps(data.corpus, kind, side, half, loop.seed, one_clip=loop.one_clip) for kind in KINDS]
    kept = [maps for part in parts if (maps := part.held_out(24)) is not None]
    return Material(BothMaps(parts), torch.cat(kept) if kept else None, None, parts[0].stats)


def _synthetic(recipe: Recipe) -> Material:
    """A SynthTalk corpus, half of each batch a kind."""
    data, loop, side = recipe["data"], recipe["loop"], recipe["model"].img_size
    half = replace(data, batch=max(1, data.batch // 2), speech_share=1.0 if loop.one_clip else data.speech_share)
    corpus, faces = corpus_faces(data.corpus, sizes=(side, side), margin=data.stats_margin)
    if not loop.one_clip:
        validation_clips(corpus.clips)

    def maps(*splits: str) -> list[MapBatches]:
        clips = split_weights(corpus, *splits) if not loop.one_clip else split_weights(corpus, "train")[:1]
        return [MapBatches(faces, clips[-40:] if "val" in splits else clips, k, half, loop.seed) for k in KINDS]

    parts = maps("train")
    held_out = held_out_maps(BothMaps(maps("val")), data.batch)
    weights = []
    for kind, part in zip(KINDS, parts, strict=True):
        weight = faces.focus_map(kind, data.focus) * (1 + data.activity * activity_map(part))
        weights.append(weight / weight.mean())
    return Material(BothMaps(parts), held_out, sum(weights[1:], start=weights[0]) / len(weights), faces.stats)
