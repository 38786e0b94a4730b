"""One autoencoder, and so one codebook, for motion maps and wrinkle maps alike: the ablation of TexTalker's two.

Its export serves as `data.motion` and as `data.wrinkle` of a diffusion recipe.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.processes import first_process
from parlante.training.engine.recipe import LoopConfig, section
from parlante.training.engine.run import fit
from parlante.training.features.maps import MapBatches, MapDataConfig, activity_map, corpus_faces, split_takes
from parlante.training.schemes.principal_start import principal_start
from parlante.training.schemes.vqgan import VQGANLossConfig, VQGANScheme

KINDS = ("motion", "wrinkle")


class BothMaps:
    """Batches of which one half are motion maps and the other wrinkle maps."""

    def __init__(self, parts: list[MapBatches]) -> None:
        self.parts = parts

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps."""
        return torch.cat([part.batch(step, *stream) for part in self.parts])


def main(config: dict[str, Any], run_dir: Path) -> None:
    """Train on a SynthTalk corpus and write `run_dir/export`."""
    if "corpus" not in (config.get("data") or {}):
        raise InputError("the recipe needs data.corpus: --set data.corpus=FOLDER written by `parlante synth`")
    sizes, loop = section(VQGANConfig, config, "model"), section(LoopConfig, config, "loop")
    loss, data = section(VQGANLossConfig, config, "loss"), section(MapDataConfig, config, "data")
    half = replace(data, batch=max(1, data.batch // 2), speech_share=1.0 if loop.one_clip else data.speech_share)
    corpus, faces = corpus_faces(data.corpus, sizes=(sizes.img_size, sizes.img_size), margin=data.stats_margin)

    def maps(*splits: str) -> list[MapBatches]:
        takes = split_takes(corpus, *splits) if not loop.one_clip else split_takes(corpus, "train")[:1]
        return [MapBatches(faces, takes[-40:] if "val" in splits else takes, k, half, loop.seed) for k in KINDS]

    parts, check = maps("train"), BothMaps(maps("val", "train"))
    batches = BothMaps(parts)
    held_out = torch.cat([check.batch(k, 1) for k in range(max(1, 48 // data.batch))])
    weights = []
    for kind, part in zip(KINDS, parts, strict=True):
        weight = faces.focus_map(kind, data.focus) * (1 + data.activity * activity_map(part))
        weights.append(weight / weight.mean())
    weight = sum(weights[1:], start=weights[0]) / len(weights)
    torch.manual_seed(loop.seed)
    model = VQAutoEncoder(sizes)
    if data.start_maps and not loop.one_clip and not (run_dir / "last.ckpt").is_file():
        first = torch.cat([batches.batch(k, 3) for k in range(max(1, data.start_maps // data.batch))])
        principal_start(model, first, weight)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scheme = VQGANScheme(model, loop, loss, batches, held_out, weight)
    fit(scheme, run_dir)
    if not first_process():
        return
    with torch.no_grad():
        figures = scheme.validate()
    model.save(run_dir / "export", kind="joint", stats=faces.stats.to_dict(), figures=figures, loss=asdict(loss))
