"""Speech networks that are trained along: what moves, what stays, what is exported, and exact resumption."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import RECIPES, PowerCut, power_cut, same
from tiny import arguments
from torch import nn

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.cli.train import run as train
from parlante.core import InputError
from parlante.models.codetalker.autoencoder import MotionAutoencoderConfig
from parlante.models.mesh_network import MeshNetwork
from parlante.models.registry import build
from parlante.training import find_stage
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore, prepare
from parlante.training.schemes.codetalker import CodeTalkerScheme
from parlante.training.schemes.facediffuser import FaceDiffuserScheme
from parlante.training.schemes.joint_speech import JointSpeechModel, speech_to_train
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig
from parlante.training.schemes.ptalker import PTalkerScheme

SCHEMES = {"ptalker": PTalkerScheme, "facediffuser": FaceDiffuserScheme, "codetalker": CodeTalkerScheme}
LOOP = LoopConfig(max_steps=3, threads=1, accelerator="cpu", warmup=1, ema=0.5, log_every=1, validate_every=2)


@pytest.fixture
def store(corpus: Path, hubert: Path, tmp_path: Path) -> MotionStore:
    data = {"corpus": str(corpus), "cache": str(tmp_path / "cache"), "encoder": str(hubert), "rows": 3}
    return prepare(MotionDataConfig(**data, num_augmentations=1, finetune=True))


@pytest.fixture
def scheme(store: MotionStore) -> Callable[..., MotionScheme]:
    """Makes a scheme of a family that moves visibly before it is trained."""

    def make(family: str, steps: int = 1, loop: LoopConfig = LOOP, **own: Any) -> MotionScheme:
        speech = speech_to_train(store, steps)
        assert speech is not None
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"motion_dim": 3, "audio_dim": 16, "subjects": 2, "steps_per_frame": steps, "width": 16}
        if family != "facediffuser":
            sizes |= {"period": 25, "heads": 2}
        if family == "ptalker":
            sizes |= {"emotion_dim": 16, "audio_style_hidden": 8}
        if family == "codetalker":
            first = MotionAutoencoderConfig(
                motion_dim=3, width=16, layers=1, heads=2, hidden=16, groups=2, code_dim=8, codes=16
            )
            sizes |= {"autoencoder": asdict(first)}
        model = build(family, sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        settings = MotionSchemeConfig(**{"batch": 2, "frames": 24, "frame_offsets": (0,), **own})
        return SCHEMES.get(family, MotionScheme)(family, model, store, loop, settings, speech)

    return make


CASES = [("faceformer", 1), ("faceformer", 2), ("talkingstyle", 1), ("ptalker", 2), ("facediffuser", 2),
         ("codetalker", 1)]  # fmt: skip


@pytest.mark.parametrize(("family", "steps"), CASES)
def test_the_transformer_learns_and_the_export_hears_with_it(
    family: str,
    steps: int,
    scheme: Callable[..., MotionScheme],
    store: MotionStore,
    hubert: Path,
    tmp_path: Path,
) -> None:
    trained = scheme(family, steps)
    fit(trained, tmp_path / "run")
    speech = trained.network.speech.eval()
    kind = "pairs" if steps == 2 else "aligned"
    assert (speech.config.rate.kind, speech.config.frozen) == (kind, "convolutions")
    public = SpeechEncoder.from_hub(hubert).state_dict()
    for name, value in speech.state_dict().items():
        assert torch.equal(value, public[name]) == name.startswith("feature_extractor."), name

    clip = trained.held_out()[0]
    identity, audio = store.source.shown(clip)
    trained.export(tmp_path / "export", {})
    talker = MeshNetwork.from_pretrained(tmp_path / "export")
    assert all(torch.equal(value, speech.state_dict()[k]) for k, value in talker.audio_encoder.state_dict().items())
    neutral, sound = torch.from_numpy(identity.neutral), torch.from_numpy(audio)[None]
    extra = {"generator": torch.Generator().manual_seed(0)} if family == "facediffuser" else {}
    said = (talker.generate(sound, neutral, clip.subject, **extra)[0] - neutral).numpy()
    with torch.no_grad():
        heard = speech(sound)
        codes = trained.codes(torch.tensor([trained.names.index(clip.subject)]), heard)
        extra = {"generator": torch.Generator().manual_seed(0)} if family == "facediffuser" else {}
        made = store.basis.decode(trained.family.generate(heard, codes, **extra)[0].numpy())
    assert np.ptp(made, 0).max() > 1e-5
    np.testing.assert_allclose(said, made, atol=1e-5 * np.abs(made).max())
    assert trained.generate([clip])[0].shape == (clip.frames, 3)


@pytest.mark.parametrize("family", ["faceformer", "ptalker", "facediffuser", "codetalker"])
def test_gradients_reach_the_transformer_and_not_the_convolutions(
    family: str, scheme: Callable[..., MotionScheme]
) -> None:
    made = scheme(family)
    made.network.speech.settings.layerdrop = 0.0
    made.losses(made.batch(0))["loss"].backward()
    for name, parameter in made.network.speech.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.any())
        assert moved != name.startswith("feature_extractor."), name


def test_padding_does_not_count(scheme: Callable[..., MotionScheme]) -> None:
    """A clip hears and costs in a padded batch what it does alone."""
    made = scheme("faceformer", scheduled_sampling=0.0, noise=0.0, whole=True, batch=4)
    made.eval()
    batch = made.batch(0)
    assert batch.lengths is not None and batch.samples is not None and len({*batch.lengths.tolist()}) > 1
    short = int(batch.lengths.argmin())
    alone = made.encoded(batch._replace(
        motion=batch.motion[short : short + 1, : batch.lengths[short]],
        features=batch.features[short : short + 1, : batch.samples[short]],
        subjects=batch.subjects[short : short + 1],
        lengths=batch.lengths[short : short + 1],
        samples=batch.samples[short : short + 1],
    ))  # fmt: skip
    together = made.encoded(batch)
    torch.testing.assert_close(together.features[short, : alone.features.shape[1]], alone.features[0])
    spoilt = torch.where(torch.arange(batch.motion.shape[1])[None, :, None] < batch.lengths[:, None, None], 0.0, 1e3)
    one, other = made.losses(batch), made.losses(batch._replace(motion=batch.motion + spoilt))
    torch.testing.assert_close(one["loss"], other["loss"])


def test_stretches_of_audio_and_motion_are_the_same_moments(store: MotionStore) -> None:
    clip = next(clip for clip in store.clips if clip.split == "train")
    audio = store.source.shown(clip)[1]
    at = clip.start + np.arange(10, 20)
    np.testing.assert_array_equal(store.audio_at(at, 0), audio[6400:12800])
    start, size = clip.audio[1]
    assert store.audio is not None and abs(size / clip.audio[0][1] - 1) < 0.15
    recoloured = store.audio_at(at, 1)
    first = round(10 / clip.frames * size)
    np.testing.assert_array_equal(recoloured, store.audio[start + first : start + first + len(recoloured)])
    assert abs(len(recoloured) - 10 / clip.frames * size) <= 1
    assert len(store.audio_at(clip.start + np.arange(clip.frames), 0)) == len(audio)


def test_the_lips_error_is_named_after_its_unit(scheme: Callable[..., MotionScheme], store: MotionStore) -> None:
    """Millimetres only where the meshes are in metres; one's own recordings say nothing of their unit."""
    made = scheme("faceformer").eval()
    in_units = made.validate()
    store.source.unit = "m"
    in_millimetres = made.validate()
    assert "lip_mm" not in in_units and "lip_error" not in in_millimetres
    assert in_millimetres["lip_mm"] == pytest.approx(1000 * in_units["lip_error"], rel=1e-5)


def test_a_learning_rate_of_its_own(scheme: Callable[..., MotionScheme], tmp_path: Path) -> None:
    made = scheme("faceformer", loop=replace(LOOP, schedule="constant", lr=1e-3, max_steps=2), speech_lr=1e-5)
    fit(made, tmp_path)
    groups = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1e-5])


@pytest.fixture
def recipe(corpus: Path, hubert: Path, tmp_path: Path) -> Callable[..., Path]:
    """`parlante train` of a FaceFormer, a moment long."""

    def run(name: str, *changes: str) -> Path:
        data = {"corpus": corpus, "cache": tmp_path / "cache", "rows": 3, "encoder": hubert, "finetune": "true"}
        options = [f"data.{key}={value}" for key, value in data.items()]
        options += ["model.width=16", "scheme.batch=2", "scheme.frames=24", "loop.max_steps=6", "loop.save_every=2"]
        options += ["loop.log_every=1", "loop.validate_every=3", "loop.accelerator=cpu", *changes]
        told = arguments(None, tmp_path, *options)
        told.recipe, told.run = RECIPES / "faceformer" / "small.yaml", tmp_path / name
        assert train(told) == 0
        return tmp_path / name

    return run


def test_a_run_that_was_cut_off_ends_in_the_same_bits(recipe: Callable[..., Path], tmp_path: Path) -> None:
    whole = recipe("whole")
    with pytest.raises(PowerCut), power_cut(3):
        recipe("cut")
    assert train(arguments(None, tmp_path, resume=tmp_path / "cut")) == 0
    assert same(whole, tmp_path / "cut")
    one, other = (MeshNetwork.from_pretrained(run / "export") for run in (whole, tmp_path / "cut"))
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())
    average = torch.load(whole / "last.ckpt", weights_only=True)["scheme"]["ema"]
    assert all(torch.equal(v, average[f"speech.{k}"]) for k, v in one.audio_encoder.state_dict().items())


def test_whole_clips_in_mixed_precision(recipe: Callable[..., Path]) -> None:
    run = recipe("run", "loop.precision=bf16", "loop.max_steps=2", "loop.accumulate=2", "scheme.whole=true")
    assert MeshNetwork.from_pretrained(run / "export").audio_encoder.dim == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.encoder=''"], r"phonetic encoder is none.*data\.encoder=facebook/wav2vec2-base-960h"),
        (["data.finetune=false", "scheme.speech_lr=1e-5"], r"add data\.finetune=true"),
        (["data.finetune=false", "model.steps_per_frame=2"], r"one step a frame, got model\.steps_per_frame=2"),
        (["scheme.speech_lr=0"], "speech_lr must be a number above 0 or none, got 0"),
    ],
)
def test_what_makes_no_sense_is_told(changes: list[str], message: str, recipe: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=message):
        recipe("run", *changes)


def test_the_embedded_head_and_a_codebook_take_no_speech_network(tiny_corpus: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match=r"SynthTalk, which the phonetic encoder reads"):
        prepare(MotionDataConfig(corpus=str(tiny_corpus), encoder="any", finetune=True))
    first = find_stage("codetalker_autoencoder")
    told = {"data": {"corpus": str(corpus), "encoder": "any", "finetune": True}}
    with pytest.raises(InputError, match="stage 1 reads no audio"):
        first.run(first.read(told), corpus)


def test_a_listener_is_a_family_and_its_ear() -> None:
    """Names of a checkpoint: what belongs to whom."""
    speech = SpeechEncoder.from_config({"model_type": "wav2vec2", "hidden_size": 8, "num_hidden_layers": 1,
                                        "num_attention_heads": 2, "intermediate_size": 8, "conv_dim": [4] * 7,
                                        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2})  # fmt: skip
    names = JointSpeechModel(nn.Linear(8, 2), speech).state_dict().keys()
    assert {name.split(".")[0] for name in names} == {"family", "speech"}
