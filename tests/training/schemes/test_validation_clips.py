"""Which clips a training is judged on: never training clips, and unseen speakers in every training style."""

import logging
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from parlante.core import InputError
from parlante.data.splits import BIWI_SEEN, MEAD_TRAIN, MEAD_VAL, VOCASET_TRAIN, VOCASET_VAL
from parlante.training import find_stage
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore, prepare
from parlante.training.schemes.autoregressive import sizes
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig, lip_error

FRAMES = 20
CORPORA = {
    "vocaset": (5023, [*VOCASET_TRAIN[:2], VOCASET_VAL[0]], ("sentence21", "sentence22"), 60, VOCASET_VAL[:1]),
    "biwi": (23370, list(BIWI_SEEN[:2]), ("e01", "e33"), 25, BIWI_SEEN[:2]),
    "mead": (5023, [*MEAD_TRAIN[:2], MEAD_VAL[0]], ("neutral_level_1_001", "sad_level_1_002"), 30, MEAD_VAL[:1]),
}
"""Vertices, speakers, sentences, frames per second on disk, and the speakers of validation clips."""


def write(root: Path, vertices: int, speakers: Sequence[str], sentences: Sequence[str], fps: int) -> Path:
    """A corpus in the layout of FaceFormer's data folders."""
    rng = np.random.default_rng(0)
    (root / "vertices_npy").mkdir(parents=True)
    (root / "wav").mkdir()
    faces = {name: rng.normal(0, 0.05, (vertices, 3)) for name in speakers}
    shapes = rng.normal(0, 0.002, (3, vertices, 3))
    count = FRAMES * (2 if fps == 60 else 1)
    for number, (name, sentence) in enumerate((name, sentence) for name in speakers for sentence in sentences):
        size = 1 + 0.3 * number  # so that no two mean faces are the same
        moved = faces[name] + np.tensordot(rng.normal(size / 3, size, (count, 3)), shapes, 1)
        np.save(root / f"vertices_npy/{name}_{sentence}.npy", moved.reshape(count, -1).astype(np.float32))
        with wave.open(str(root / f"wav/{name}_{sentence}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(rng.integers(-9000, 9000, count * 16000 // fps).astype("<i2").tobytes())
    np.savez(root / "templates.npz", **faces)
    return root


def scheme(store: MotionStore, **loop: int) -> MotionScheme:
    """A small FaceFormer that moves visibly."""
    from parlante.models.registry import build, families

    own = MotionSchemeConfig(batch=2, frames=12, frame_offsets=(0,))
    torch.manual_seed(0)
    model = build("faceformer", sizes(families()["faceformer"], store, own, None) | {"width": 16, "heads": 2})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    settings = LoopConfig(max_steps=1, accelerator="cpu", threads=1, **loop)
    return MotionScheme("faceformer", model, store, settings, own)


@pytest.mark.parametrize("name", CORPORA)
def test_validation_speakers_of_published_corpora_are_judged(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vertices, speakers, sentences, fps, judged = CORPORA[name]
    root = write(tmp_path / name, vertices, speakers, sentences, fps)
    store = prepare(MotionDataConfig(corpus=str(root), cache=str(tmp_path / "cache"), num_augmentations=0, rows=3))
    made = scheme(store)
    clips = made.held_out()
    assert {clip.split for clip in clips} == {"val"} and {clip.subject for clip in clips} == set(judged)
    with caplog.at_level(logging.INFO, logger="parlante.training"):
        fit(made, tmp_path / "run")
    assert f"validation on {len(clips)} clips: {', '.join(clip.key for clip in clips)}" in caplog.text


def test_unseen_speakers_are_spoken_in_every_training_style(tmp_path: Path) -> None:
    """The figure equals a slow loop over conditions, as FaceFormer's validation goes."""
    vertices, speakers, sentences, fps, _ = CORPORA["vocaset"]
    root = write(tmp_path / "vocaset", vertices, speakers, sentences, fps)
    store = prepare(MotionDataConfig(corpus=str(root), cache=str(tmp_path / "cache"), num_augmentations=0, rows=3))
    made = scheme(store)
    made.network.eval()
    assert store.subjects() == tuple(sorted(VOCASET_TRAIN[:2]))
    errors, still = [], []
    for clip in made.held_out():
        at = np.arange(clip.start, clip.start + clip.frames)
        features = torch.from_numpy(store.features_at(at, np.zeros_like(at), (0,)))[None]
        for number, style in enumerate(store.subjects()):
            one_hot = torch.eye(2)[[number]]
            with torch.no_grad():
                motion = made.network.generate(features, made.network.style_embedding(one_hot))[0]
            errors.append(lip_error(motion, made.truth(clip), made.lips))
            still.append(lip_error(made.mean_motion(style), made.truth(clip), made.lips))
    figures = made.validate()
    assert figures["lip_mm"] == pytest.approx(float(torch.cat(errors).mean()), rel=1e-4)
    assert figures["lip_mm_mean_face"] == pytest.approx(float(torch.cat(still).mean()), rel=1e-4)
    made.sample(tmp_path / "sample")


def test_no_validation_clips_is_an_error_before_anything_is_prepared(tmp_path: Path) -> None:
    vertices, speakers, sentences, fps, _ = CORPORA["mead"]
    root = write(tmp_path / "mead", vertices, speakers[:1], sentences, fps)
    data = {"corpus": str(root), "cache": str(tmp_path / "cache"), "num_augmentations": 0}
    stage = find_stage("faceformer")
    with pytest.raises(InputError, match=r"no validation clips \(split val\).*give some of its clips the split val"):
        stage.run(stage.read({"stage": "faceformer", "data": data}), tmp_path / "run")
    assert not (tmp_path / "cache").exists()
    store = prepare(MotionDataConfig(**data, rows=3))
    with pytest.raises(InputError, match="no validation clips"):
        scheme(store)
    assert {clip.split for clip in scheme(store, one_clip=True).held_out()} == {"train"}
