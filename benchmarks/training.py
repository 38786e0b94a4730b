"""Training speed of every family at the size of its small recipe: samples per second, cached and live speech features.

    python benchmarks/training.py [--quick] [--family NAME ...] [--batches 1,8,32] [--workers N]

Random motion and features in the shipped motion basis: speed does not depend on what they say. A sample is a stretch of
100 frames (small families), a map (autoencoders) or two windows of 90 frames (diffusion). Processor seconds of one
thread for whole steps of the real loop: batch, losses, backward, Adam, average, log; the median step counts. Live
features: the phonetic encoder hears every sample's sound again in each step, without augmentation; its cost is measured
on its own and added. Loader share: the time that passes between two steps, of the step; with `--workers` others
make the batches. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from parlante.audio.encoders.phonetic import PhoneticEncoder
from parlante.data.contract import SubjectInfo
from parlante.geometry.uv import MotionStats
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig
from parlante.models.codetalker.model import CodeTalker, CodeTalkerConfig
from parlante.models.motion_basis import MotionBasis
from parlante.models.registry import build
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.logs import read_curve
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig, read_recipe
from parlante.training.engine.schema import section
from parlante.training.engine.scheme import Scheme
from parlante.training.features.cache import StoredClip
from parlante.training.features.latents import KINDS, LatentDataConfig, LatentStore
from parlante.training.features.maps import FaceMaps, MapBatches, MapDataConfig, random_curves
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore
from parlante.training.features.speech_features import GRID
from parlante.training.schemes.codetalker import CodeTalkerScheme
from parlante.training.schemes.codetalker_autoencoder import AutoencoderScheme, CodebookConfig
from parlante.training.schemes.facediffuser import FaceDiffuserScheme
from parlante.training.schemes.latent_diffusion import DiffusionScheme, DiffusionTrainingConfig
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig
from parlante.training.schemes.ptalker import PTalkerScheme
from parlante.training.schemes.vqgan import Material, VQGANLossConfig, VQGANScheme

RECIPES = Path(__file__).parents[1] / "recipes"
FAMILIES = ("faceformer", "talkingstyle", "ptalker", "facediffuser", "codetalker stage 1", "codetalker stage 2",
            "motion autoencoder", "wrinkle autoencoder", "latent diffusion")  # fmt: skip
SUBJECTS, CLIPS, FRAMES = 8, 4, 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="batch 1 and the recipe's, three timed steps each")
    parser.add_argument("--family", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--batches", default="", help="sizes to try, for example 1,8,32")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="loop.workers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = 3 if options.quick else 12
    tried = [int(each) for each in options.batches.split(",") if each]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; torch {torch.__version__}; one thread")
    live = hearing_seconds(100 / 30, 1 if options.quick else 5)
    print(f"hearing 100 frames of speech again: {1000 * live:.0f} ms a sample")
    print("| family | batch 1 | best batch | size | times | live features | best with live | loader share |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    results: dict[str, Any] = {}
    for family in options.family:
        own = recipe_batch(family)
        rows = []
        for batch in tried or ([1, own] if options.quick else [1, 4, own, 2 * own, 4 * own]):
            step, loader = timed(scheme_of(family, batch), steps, options.workers)
            rows.append((batch / step, batch, step, loader / step))
        one, best = rows[0], max(rows)
        heard = {"diffusion": 180, "autoencoder": 0, "stage 1": 0}
        share = next((n for key, n in heard.items() if key in family), 100) / 100
        again = ["-", "-"]
        if share:
            again = [f"{row[1] / (row[2] + row[1] * share * live):.1f}" for row in (one, best)]
        print(
            f"| {family} | {one[0]:.1f} | {best[0]:.1f} | {best[1]} | {best[0] / one[0]:.1f} | {again[0]} | {again[1]} "
            f"| {100 * best[3]:.1f} % |",
            flush=True,
        )
        results[family] = {"samples_per_second": {row[1]: row[0] for row in rows}, "loader_share": best[3]}
    print(json.dumps({"hearing_seconds": live, "families": results}))


def hearing_seconds(seconds: float, repeats: int) -> float:
    """Processor time of hearing one sample."""
    encoder = PhoneticEncoder.from_pretrained()
    sound = np.random.default_rng(0).normal(0, 0.1, round(16000 * seconds)).astype(np.float32)
    encoder.encode(sound)
    start = time.process_time()
    for _ in range(repeats):
        encoder.encode(sound)
    return (time.process_time() - start) / repeats


def timed(scheme: Scheme, steps: int, workers: int = 0) -> tuple[float, float]:
    """Median processor seconds of a step, and of getting a batch, in this process."""
    moments: list[float] = []
    after = scheme.after_step

    def marked(step: int, batch: Any) -> dict[str, float]:
        moments.append(time.process_time())
        return after(step, batch)

    scheme.after_step, scheme.validate = marked, dict  # type: ignore[method-assign]
    every = 10**9
    scheme.loop = replace(
        scheme.loop, max_steps=steps + 1, save_every=every, validate_every=every, log_every=1, threads=1,
        accelerator="cpu", max_minutes=None, workers=workers,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        fit(scheme, Path(folder))
        waiting = list(read_curve(folder, clock=True)["waiting"].values())
    step = statistics.median(np.diff(moments))
    return step, step * statistics.median(waiting[1:])


def _recipe(family: str) -> dict[str, Any]:
    places = {
        "codetalker stage 1": "codetalker/autoencoder",
        "codetalker stage 2": "codetalker/small",
        "motion autoencoder": "textalker/motion_vqgan",
        "wrinkle autoencoder": "textalker/wrinkle_vqgan",
        "latent diffusion": "textalker/diffusion",
    }
    return read_recipe(RECIPES / f"{places.get(family, f'{family}/small')}.yaml")


def recipe_batch(family: str) -> int:
    """The recipe's own batch."""
    config = _recipe(family)
    return int((config["data"] if "autoencoder" in family else config["scheme"])["batch"])


def scheme_of(family: str, batch: int) -> Scheme:
    """A family's scheme on random data."""
    torch.manual_seed(0)
    config = _recipe(family)
    loop = section(LoopConfig, config, "loop")
    if "autoencoder" in family:
        return _autoencoder(family.partition(" ")[0], config, loop, batch)
    if family == "latent diffusion":
        return _diffusion(config, loop, batch)
    store = _store()
    own = replace(section(MotionSchemeConfig, config, "scheme"), batch=batch)
    sizes = dict(config.get("model") or {})
    motion, audio = store.motion.shape[1], store.features.shape[-1] * len(own.frame_offsets)
    common = {"motion_dim": motion, "audio_dim": audio, "subjects": SUBJECTS, "steps_per_frame": 1}
    if family.startswith("codetalker"):
        first = _recipe("codetalker stage 1")["model"]
        autoencoder = MotionAutoencoder(MotionAutoencoderConfig(motion_dim=motion, **first))
        if family.endswith("1"):
            return AutoencoderScheme(autoencoder, store, loop, own, CodebookConfig())
        talker = CodeTalker(CodeTalkerConfig(**common, **sizes, period=30, autoencoder=autoencoder.config))
        return CodeTalkerScheme("codetalker", talker, store, loop, own)
    if family == "facediffuser":
        return FaceDiffuserScheme(family, build(family, common | {"unit": 1.0} | sizes), store, loop, own)
    if family == "ptalker":
        more = {"period": 30, "emotion_dim": audio}
        return PTalkerScheme(family, build(family, common | more | sizes), store, loop, own)
    return MotionScheme(family, build(family, common | {"period": 30} | sizes), store, loop, own)


def _clips() -> list[StoredClip]:
    return [StoredClip(str(k), f"s{k % SUBJECTS}", "train", k, FRAMES, k * FRAMES) for k in range(SUBJECTS * CLIPS)]


def _store() -> MotionStore:
    from parlante.head import load_head

    basis, rng = MotionBasis.load(), np.random.default_rng(0)
    count, width = SUBJECTS * CLIPS * FRAMES, PhoneticEncoder.from_pretrained().dim
    motion = rng.normal(size=(count, len(basis))).astype(np.float32)
    features = rng.normal(size=(3, GRID * count, width)).astype(np.float16)
    source: Any = SimpleNamespace(fps=30.0, network="", lip_vertices=load_head().topology.regions["lips"])
    return MotionStore(MotionDataConfig(corpus=""), source, basis, motion, features, _clips())


def _autoencoder(kind: str, config: dict[str, Any], loop: LoopConfig, batch: int) -> VQGANScheme:
    from parlante.head import load_head

    head, rng = load_head(), np.random.default_rng(0)
    names = head.identity_names[:4]
    people = {name: SubjectInfo(name=name, face=name, profile={"wrinkle_depth": 1.0}) for name in names}
    sizes = section(VQGANConfig, config, "model")
    side = {"motion": (sizes.img_size, 16), "wrinkle": (16, sizes.img_size)}[kind]
    stats = MotionStats((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
    faces = FaceMaps(head, people, motion_size=side[0], wrinkle_size=side[1], stats=stats)
    data = replace(section(MapDataConfig, {"data": {"corpus": "", **config["data"]}}, "data"), batch=batch)
    clips = [(name, random_curves(60, rng)) for name in names]
    model = VQAutoEncoder(sizes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps = MapBatches(faces, clips, kind, data, 0)
    loss = replace(section(VQGANLossConfig, config, "loss"), start_codes=False)
    return VQGANScheme(model, loop, loss, Material(maps, weight=faces.focus_map(kind, data.focus)), kind)


def _diffusion(config: dict[str, Any], loop: LoopConfig, batch: int) -> DiffusionScheme:
    talker, rng = TexTalker.from_pretrained(), np.random.default_rng(0)
    bases = {kind: getattr(talker, f"{kind}_basis") for kind in KINDS}
    count = SUBJECTS * CLIPS * FRAMES
    width = sum(len(basis.scale) for basis in bases.values())
    heard = talker.config.feature_dim * len(talker.config.frame_offsets)
    pivots = {kind: getattr(talker, f"{kind}_pivots")[:SUBJECTS] for kind in KINDS}
    clips = _clips()
    names = tuple(sorted({clip.subject for clip in clips}))[: len(pivots["motion"])]
    store = LatentStore(
        config=LatentDataConfig(corpus="", motion="", wrinkle=""),
        coordinates=rng.normal(size=(count, width)).astype(np.float16),
        features=rng.normal(size=(4, count, heard)).astype(np.float16),
        clips=[clip for clip in clips if clip.subject in names],
        subjects=names,
        pivots=pivots,
        bases=bases,
        lip_probe=torch.randn(len(bases["motion"].scale), 120),
        stats=MotionStats((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)),
    )
    talker.requires_grad_(False)
    talker.diffusion.requires_grad_(True).train()
    own = replace(section(DiffusionTrainingConfig, config, "scheme"), batch=batch)
    return DiffusionScheme(talker, store, loop, own)


if __name__ == "__main__":
    main()
