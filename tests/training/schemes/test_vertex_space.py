"""Training on vertices as published: recipes, losses against slow versions, order of clips, validation, export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from families import PowerCut, power_cut, same

from parlante.cli import main
from parlante.core import Identity, InputError
from parlante.models.codetalker.autoencoder import MotionAutoencoder
from parlante.models.mesh_network import MeshNetwork
from parlante.training import find_stage
from parlante.training.schemes import vertex_space

RECIPES = Path(__file__).parents[3] / "recipes"
PUBLISHED = sorted(path for name in ("vocaset", "biwi", "mead", "own") for path in RECIPES.glob(f"*/{name}*.yaml"))
SMALL = {
    "faceformer": ["model.width=16"],
    "talkingstyle": ["model.width=16", "model.layers=1", "loss.mouth=0"],
    "ptalker": ["model.width=16", "model.layers=1", "model.motion_layers=1", "model.motion_convolutions=1",
                "model.audio_style_hidden=8", "loss.mouth=0"],
    "facediffuser": ["model.width=16", "model.steps=10", "data.frozen_layers=1"],
    "codetalker": ["model.width=16", "model.layers=1"],
}  # fmt: skip
STAGE1 = ["model.width=16", "model.layers=1", "model.heads=2", "model.hidden=16", "model.groups=2", "model.code_dim=8",
          "model.codes=16"]  # fmt: skip


def train(recipe: str, run: Path, *changes: str) -> None:
    options = [part for change in ("loop.max_steps=2", "loop.accelerator=cpu", *changes) for part in ("--set", change)]
    assert main(["train", str(RECIPES / recipe), "--run", str(run), *options]) == 0


@pytest.fixture
def scheme(corpus: Path, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the scheme of a recipe that moves visibly, before it is trained."""

    def make(recipe: str, *changes: str) -> Any:
        made: list[Any] = []

        def keep(scheme: Any, run_dir: Path) -> Any:
            made.append(scheme)
            raise KeyboardInterrupt

        config = yaml.safe_load((RECIPES / recipe).read_text())
        for change in changes:
            place, _, value = change.partition("=")
            section, key = place.split(".")
            config.setdefault(section, {})[key] = yaml.safe_load(value)
        config["data"] = {"corpus": str(corpus), "encoder": str(hubert)} | config["data"] | {"encoder": str(hubert)}
        monkeypatch.setattr(vertex_space, "fit", keep)
        stage = find_stage(config["stage"])
        with pytest.raises(KeyboardInterrupt):
            stage.train(stage.read(config), tmp_path / "run")
        with torch.no_grad():
            for parameter in made[0].family.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        return made[0]

    return make


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_published_recipe_is_read(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    stage = find_stage(config["stage"])
    needed = {"corpus": "c", "autoencoder": "a", "voice_encoder": "v"}
    data = {name: needed[name] for name in stage.sections["data"].types() if name in needed}
    recipe = stage.read(config | {"data": {**config.get("data", {}), **data}})
    assert recipe["loop"].ema == recipe["loop"].clip == 0
    assert recipe["scheme"].batch == 1
    unpublished = {"own", "mead", "ptalker"} & {path.stem.partition("_")[0], path.parent.name}
    assert ("Ours, not published" in path.read_text()) == bool(unpublished)


@pytest.mark.parametrize("family", ["faceformer", "talkingstyle", "ptalker", "facediffuser"])
def test_a_recipe_trains_exports_and_speaks(family: str, corpus: Path, hubert: Path, tmp_path: Path) -> None:
    more = [f"data.voice_encoder={hubert}"] if family == "ptalker" else []
    data = [f"data.corpus={corpus}", f"data.encoder={hubert}", *more]
    train(f"{family}/own.yaml", tmp_path / "run", "test.clips=[]", *data, *SMALL[family])
    talker = MeshNetwork.from_pretrained(tmp_path / "run" / "export")
    assert talker.config.basis == 0
    assert talker.num_vertices == 30
    face = torch.from_numpy(talker.templates.neutrals["ann"])
    moved = talker.generate(torch.randn(1, 16000), face, "ann")
    assert moved.shape[2:] == (30, 3)
    assert moved.isfinite().all()


def test_a_run_that_was_cut_off_ends_in_the_same_bits(
    corpus: Path, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLANTE_DEBUG", "1")  # commands raise what cuts them off
    changes = [f"data.corpus={corpus}", f"data.encoder={hubert}", "test.clips=[]", "loop.max_steps=4",
               "loop.save_every=1", "loop.accumulate=2", "loop.precision=bf16", *SMALL["faceformer"]]  # fmt: skip
    train("faceformer/own.yaml", tmp_path / "whole", *changes)
    with pytest.raises(PowerCut), power_cut(3):
        train("faceformer/own.yaml", tmp_path / "cut", *changes)
    assert main(["train", "--resume", str(tmp_path / "cut")]) == 0
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_kept_checkpoints_are_exported_later(corpus: Path, hubert: Path, tmp_path: Path) -> None:
    changes = [f"data.corpus={corpus}", f"data.encoder={hubert}", "test.clips=[]", *SMALL["faceformer"]]
    train("faceformer/own.yaml", tmp_path / "two", *changes)
    train("faceformer/own.yaml", tmp_path / "four", *changes, "loop.max_steps=4", "loop.keep_every=2")
    assert sorted(path.name for path in (tmp_path / "four").glob("step-*")) == ["step-000002.ckpt", "step-000004.ckpt"]
    kept = f"loop.export_from={tmp_path / 'four' / 'step-000002.ckpt'}"
    train("faceformer/own.yaml", tmp_path / "kept", *changes, kept)
    one, other = (MeshNetwork.from_pretrained(tmp_path / name / "export").tensors() for name in ("two", "kept"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_codetalker_learns_codes_and_then_speech(corpus: Path, hubert: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train("codetalker/own_stage1.yaml", first, f"data.corpus={corpus}", *STAGE1)
    assert MotionAutoencoder.from_pretrained(first / "export").config.motion_dim == 90
    data = [f"data.corpus={corpus}", f"data.encoder={hubert}", f"data.autoencoder={first / 'export'}"]
    train("codetalker/own_stage2.yaml", tmp_path / "run", "test.clips=[]", *data, *SMALL["codetalker"])
    talker = MeshNetwork.from_pretrained(tmp_path / "run" / "export")
    stored = MotionAutoencoder.from_pretrained(first / "export").state_dict()
    assert all(torch.equal(stored[name], value) for name, value in talker.family.autoencoder.state_dict().items())


def test_the_loss_is_that_of_the_models_own_frames(scheme: Any) -> None:
    """Faceformer's, against frame after frame of a session; a batch's is the mean of its clips'."""
    made = scheme("faceformer/own.yaml", "model.width=16", "scheme.batch=3", "loop.accelerator=cpu").eval()
    batch = made.batch(0)
    alone = []
    for i in range(3):
        frames, samples = int(batch.lengths[i]), int(batch.samples[i])
        features = made.network.speech(batch.audio[i : i + 1, :samples], frames)
        style = made.family.obj_vector.weight[:, batch.subjects[i]][None]
        session = made.family.session(style)
        per_frame = made.family.config.steps_per_frame
        parts = [session.push(features[:, k : k + per_frame]) for k in range(0, features.shape[1], per_frame)]
        spoken = torch.cat(parts, 1)[0]
        alone.append((spoken - batch.motion[i, : len(spoken)]).square().mean())
    with torch.no_grad():
        assert float(made.losses(batch)["loss"]) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-5)


@pytest.mark.parametrize("family", ["ptalker", "facediffuser", "codetalker"])
def test_a_batch_is_the_mean_of_its_clips(
    family: str, scheme: Any, corpus: Path, hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unequal lengths, masked, each family's whole loss; without what draws at random and what compares clips."""
    changes = [*SMALL[family], "scheme.batch=3"]
    recipe = f"{family}/own.yaml"
    if family == "codetalker":
        train("codetalker/own_stage1.yaml", tmp_path / "first", f"data.corpus={corpus}", *STAGE1)
        recipe = "codetalker/own_stage2.yaml"
        changes.append(f"data.autoencoder={tmp_path / 'first' / 'export'}")
    if family == "ptalker":
        changes += [f"data.voice_encoder={hubert}", "loss.info_audio=0", "loss.info_motion=0"]
    made = scheme(recipe, *changes).eval()
    if family == "facediffuser":
        plain = made.family.forward
        quiet = {"step": torch.zeros(1, dtype=torch.long), "noise": torch.zeros(1, 1, 1)}
        monkeypatch.setattr(
            made.family, "forward", lambda *a, **k: plain(*a, **k, **quiet | {"step": quiet["step"].expand(len(a[0]))})
        )
    batch = made.batch(0)
    assert len({*batch.lengths.tolist()}) > 1
    with torch.no_grad():
        together = float(made.losses(batch)["loss"])
        alone = []
        for i, (frames, samples) in enumerate(zip(batch.lengths, batch.samples, strict=True)):
            one = vertex_space.VertexClips(*(part[i : i + 1] for part in batch))
            one = one._replace(motion=one.motion[:, :frames], audio=one.audio[:, :samples])
            alone.append(float(made.losses(one)["loss"]))
    assert together == pytest.approx(np.mean(alone), rel=1e-4)


def test_the_spatial_graph_is_the_mesh(scheme: Any, hubert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = [*SMALL["ptalker"], f"data.voice_encoder={hubert}", "scheme.spatial_graph=true"]
    with pytest.raises(InputError, match=r"knows no triangles, so scheme\.spatial_graph has no edges"):
        scheme("ptalker/own.yaml", *more)
    read = vertex_space.MeshMotion.__init__

    def with_triangles(self: Any, config: Any) -> None:
        read(self, config)
        triangles = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
        self.topology = replace(
            self.topology, triangles=triangles, uv=np.zeros((1, 2), np.float32), uv_triangles=0 * triangles
        )

    monkeypatch.setattr(vertex_space.MeshMotion, "__init__", with_triangles)
    made = scheme("ptalker/own.yaml", *more)
    edges = {tuple(pair) for pair in made.family.spatial.edges.tolist()}
    assert edges == {(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)}
    made.losses(made.batch(0))["loss"].backward()
    assert made.family.spatial.lift.weight.grad.abs().max() > 0


def test_the_mouth_counts_as_the_recipe_says(scheme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.array([4, 4, 7])
    monkeypatch.setattr(vertex_space, "mouth_vertices", lambda source, name: numbers)
    found = {}
    for kind, places in (("vertices", [12, 13, 14, 12, 13, 14, 21, 22, 23]), ("coordinates", [4, 4, 7])):
        small = ("model.width=16", "model.layers=1", f"loss.mouth_as={kind}")
        torch.manual_seed(0)
        made = scheme("talkingstyle/own.yaml", *small).eval()
        batch = made.encoded(made.batch(0))
        with torch.no_grad():
            values = made.terms(batch, train=True)
            guess = made.family.generate(batch.features, made.family.style_embedding(batch.style))
        error = (guess - batch.motion).square()
        assert float(values["mouth"]) == pytest.approx(float(error[..., places].mean()), rel=1e-5)
        total = 0.4 * float(error.mean()) + 0.6 * float(error[..., places].mean())
        assert float(values["loss"]) == pytest.approx(total, rel=1e-5)
        found[kind] = total
    assert found["vertices"] != found["coordinates"]


def test_an_epoch_sees_every_clip_once(scheme: Any) -> None:
    made = scheme("faceformer/own.yaml", "model.width=16")
    count = len(made.training_clips)
    keys = [
        [float(made.batch(step).motion.sum()) for step in range(epoch * count, (epoch + 1) * count)] for epoch in (0, 1)
    ]
    assert sorted(keys[0]) == sorted(keys[1])
    assert keys[0] != keys[1]
    assert made.loop.max_steps == 101 * count
    assert made.loop.validate_every == count
    in_order = scheme("talkingstyle/own.yaml", "model.width=16", "model.layers=1", "loss.mouth=0")
    assert float(in_order.batch(0).motion.sum()) == float(in_order.batch(count).motion.sum())


def test_a_face_that_does_not_move_is_noticed_and_a_sample_shows_it(
    scheme: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`loop.collapse` and `loop.sample_every` work here, too."""
    shown: list[Any] = []
    monkeypatch.setattr("parlante.training.engine.samples.side_by_side", lambda *given, **more: shown.append(given))
    made = scheme("faceformer/own.yaml", "model.width=16").eval()
    corner = np.array([[0, 1, 2]], np.int32)
    made.source.topology = replace(
        made.source.topology, triangles=corner, uv=np.zeros((3, 2), np.float32), uv_triangles=corner
    )
    with torch.no_grad():
        assert made.validate()["motion_spread"] > 0
        made.source.shown = lambda clip: (Identity("ann", made.source.topology, made.source.neutrals["ann"]), None)
        made.sample(tmp_path / "step-1")
        truth, moved = shown[0][2]
        assert truth.shape == moved.shape and truth.shape[1:] == (30, 3)
        made.family.vertice_map_r.weight.zero_()
        made.family.vertice_map_r.bias.zero_()
        assert made.validate()["motion_spread"] == pytest.approx(0.0, abs=1e-9)


def test_the_learning_rate_is_halved(scheme: Any) -> None:
    made = scheme("faceformer/own.yaml", "model.width=16", "loop.halve_every=2")
    count = len(made.training_clips)
    rates = []
    for made.steps_done in (0, 2 * count - 1, 2 * count, 4 * count):
        rates.append(made.rate())
    assert rates == [1.0, 1.0, 0.5, 0.25]


def test_unseen_speakers_are_validated_in_every_style(scheme: Any) -> None:
    made = scheme("faceformer/own.yaml", "model.width=16").eval()
    made.subjects = ("cara", "dan", "ann")[:2]  # nobody of the corpus: two styles, of strangers
    clip = made.held_out[0]
    expected = []
    batch = made.encoded(made.read([clip]))
    for style in range(2):
        weights = torch.eye(2)[style][None]
        guess = made.family(batch.features, batch.motion, made.family.style_embedding(weights), reference=True)
        expected.append(float((guess - batch.motion).detach().square().mean()))
    made.held_out = [clip]
    with torch.no_grad():
        figures = made.validate()
    assert figures["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert made.judged() == [clip.key]


def test_a_corpus_without_validation_clips_is_refused(scheme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usable = vertex_space.MeshMotion._usable

    def training_only(self: Any) -> Any:
        return [clip for clip in usable(self) if clip.split == "train"]

    monkeypatch.setattr(vertex_space.MeshMotion, "_usable", training_only)
    with pytest.raises(InputError, match="has no validation clips"):
        scheme("faceformer/own.yaml", "model.width=16")


def test_a_mouth_that_the_corpus_does_not_name_is_refused(scheme: Any) -> None:
    with pytest.raises(InputError, match="no vertex list lips or lip_talkingstyle or lve; it has none"):
        scheme("talkingstyle/own.yaml", "model.width=16")
