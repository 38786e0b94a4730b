"""Training on meshes of one's own: the basis fits them, and what is exported says what was trained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from parlante.core import InputError
from parlante.models.mesh_network import MeshNetwork
from parlante.models.registry import build
from parlante.training.engine.recipe import LoopConfig
from parlante.training.features.mesh_motion import MeshMotion
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import prepare
from parlante.training.schemes.autoregressive import around_frames
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig
from parlante.training.schemes.ptalker import PTalkerScheme

COUNT, FPS = 30, 25


def test_the_basis_keeps_the_motion_and_no_more_rows_than_there_is(corpus: Path, tmp_path: Path) -> None:
    motion = MeshMotion(MotionDataConfig(corpus=str(corpus), rows=64))
    basis = motion.basis(tmp_path)
    # single precision leaves rows of rounding errors at the end, the three shapes come first
    assert 3 <= len(basis) <= 64 and basis.num_vertices == COUNT
    moved = motion.offsets(motion.clips[0])
    coordinates = basis.encode(moved)
    np.testing.assert_allclose(basis.decode(coordinates), moved, atol=2e-5)
    coordinates[:, 3:] = 0
    np.testing.assert_allclose(basis.decode(coordinates), moved, atol=2e-5)


def test_only_training_and_validation_clips_are_read(corpus: Path, tmp_path: Path) -> None:
    store = prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), num_augmentations=1, rows=3))
    assert {clip.split for clip in store.clips} == {"train", "val"} and store.fps == FPS
    assert store.subjects() == ("ann", "bob") and len(store.basis) == 3
    assert store.features.shape[:2] == (2, 2 * len(store.motion))
    again = prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), num_augmentations=1, rows=3))
    np.testing.assert_array_equal(again.basis.rows, store.basis.rows)
    assert len(list((tmp_path / "cache").glob("motion-*[!k]"))) == 1, "one folder for one corpus"
    other = np.load(corpus / "vertices_npy/ann_00.npy")
    np.save(corpus / "vertices_npy/ann_00.npy", other[:-1])
    prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), num_augmentations=1, rows=3))
    assert len(list((tmp_path / "cache").glob("motion-*[!k]"))) == 2, "changed data are prepared anew"


@pytest.mark.parametrize(("family", "network"), [("faceformer", False), ("ptalker", False), ("ptalker", True)])
def test_the_export_says_what_the_training_said(
    corpus: Path, tmp_path: Path, hubert: Path, family: str, network: bool
) -> None:
    for folder, suffix in (("vertices_npy", "npy"), ("wav", "wav")):  # two who are in no training clip
        for name in ("cy", "dan"):
            shutil.copy(corpus / folder / f"ann_00.{suffix}", corpus / folder / f"{name}_00.{suffix}")
    faces = dict(np.load(corpus / "templates.npz"))
    np.savez(corpus / "templates.npz", **faces, cy=faces["ann"] + 1)
    lists = {split: [f"{n}_{k:02}" for n in ("ann", "bob")] for split, k in (("val", 2), ("test_seen", 3))}
    (corpus / "splits.json").write_text(json.dumps({"train": ["ann", "bob"], "test_unseen": ["cy", "dan"]} | lists))
    store = prepare(
        MotionDataConfig(
            corpus=str(corpus),
            cache=str(tmp_path / "cache"),
            num_augmentations=0,
            rows=3,
            encoder=str(hubert) if network else "",
        )
    )
    own = around_frames(MotionSchemeConfig(frame_offsets=(-1, 0, 1)), store)
    assert own.frame_offsets == ((0,) if network else (-1, 0, 1))
    torch.manual_seed(0)
    width = store.features.shape[-1] * len(own.frame_offsets)
    sizes = {
        "motion_dim": 3, "audio_dim": width, "subjects": 2, "steps_per_frame": 1, "period": FPS, "width": 16, "heads": 2
    }  # fmt: skip
    extra = {"emotion_dim": width, "audio_style_hidden": 8} if family == "ptalker" else {}
    model = build(family, sizes | extra).eval()
    with torch.no_grad():  # so that an untrained model moves visibly
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    kind = PTalkerScheme if family == "ptalker" else MotionScheme
    scheme = kind(family, model, store, LoopConfig(max_steps=1), own)
    clip = scheme.held_out()[0]
    identity, audio = store.source.shown(clip)
    scheme.export(tmp_path / "export", {})
    talker = MeshNetwork.from_pretrained(tmp_path / "export")
    assert talker.fps == FPS and talker.config.subjects == ("ann", "bob") and talker.num_vertices == COUNT
    neutral = torch.from_numpy(identity.neutral)
    code = talker.add_voice_style(talker.style(clip.subject), torch.from_numpy(audio)[None])
    heard, _ = talker.encode_audio(torch.from_numpy(audio)[None])
    said = (talker.generate(heard, neutral, code)[0] - neutral).numpy()
    codes = MotionScheme.codes(scheme, torch.tensor([store.subjects().index(clip.subject)]), heard)
    if family == "ptalker":
        codes = codes + model.AudioStyle(heard)
    trained = store.basis.decode(scheme.generate([clip], codes)[0].detach().numpy())[: len(said)]
    assert set(talker.templates.neutrals) == {"ann", "bob", "cy"}, "test speakers are animated too"
    assert next(iter(talker.templates.neutrals)) == "ann"
    assert np.ptp(trained, 0).max() > 1e-5
    np.testing.assert_allclose(said, trained, atol=0.03 * np.abs(trained).max())  # features in half precision


def test_hearings_by_a_network_differ_and_fit_the_frames(corpus: Path, tmp_path: Path, hubert: Path) -> None:
    cache = str(tmp_path / "cache")
    store = prepare(MotionDataConfig(corpus=str(corpus), cache=cache, num_augmentations=1, rows=3, encoder=str(hubert)))
    assert store.features.shape == (2, 2 * len(store.motion), 16)
    trained = np.concatenate([np.arange(c.start, c.start + c.frames) for c in store.clips if c.split == "train"])
    clean, coloured = (
        store.features_at(trained[None], np.zeros((1, len(trained)), int), (0,)),
        store.features[1, 2 * trained],
    )
    assert np.abs(clean[0] - coloured).max() > 0.01 and np.ptp(coloured, 0).min() > 0
    prepare(MotionDataConfig(corpus=str(corpus), cache=cache, num_augmentations=1, rows=3))
    assert len(list((tmp_path / "cache").glob("motion-*[!k]"))) == 2, "one folder for each encoder"
    with pytest.raises(InputError, match=r"cannot load a speech network from folder .*cache: .*config\.json"):
        prepare(MotionDataConfig(corpus=str(corpus), cache=cache, num_augmentations=0, encoder=cache))


def test_a_basis_has_rows(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows must be at least 1, got 0"):
        prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), rows=0))


def test_still_faces_and_lost_templates_are_told(corpus: Path, tmp_path: Path) -> None:
    for path in (corpus / "vertices_npy").glob("*.npy"):
        array = np.load(path)
        np.save(path, np.repeat(array[:1], len(array), 0))
    with pytest.raises(InputError, match="do not move; see parlante check"):
        prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), num_augmentations=0))
    np.savez(corpus / "templates.npz", cat=np.zeros((COUNT, 3)))
    with pytest.raises(InputError, match="no training clips of subjects with a face at rest"):
        prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path / "cache"), num_augmentations=0))
