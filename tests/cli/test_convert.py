"""`parlante convert`: a published file becomes a folder that says the same, or one error and no folder."""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")

from published_files import SETTINGS, VERTICES, network, publish, published_state, tiny_talker
from safetensors.torch import load_file

from parlante.cli import main
from parlante.core import InputError
from parlante.core.plugins import resolve
from parlante.models.importing.contract import ImportOptions
from parlante.models.importing.motion_import import SETS, MotionImporter
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig
from parlante.models.registry import family, load_model, motion_families

each_family = pytest.mark.parametrize("model", motion_families())
RATE = ["--rate", "aligned", "--fps", "30"]


def convert(model: str, files: list[Path], out: Path, *more: str) -> int:
    settings = [word for key, value in SETTINGS[model].items() for word in ("--set", f"{key}={value}")]
    return main(["convert", model, *map(str, files), "-o", str(out), *settings, *more])


@each_family
@pytest.mark.parametrize("rule", ["aligned", "pairs"])
def test_a_converted_file_says_what_its_model_says(tmp_path: Path, model: str, rule: str) -> None:
    talker = tiny_talker(model, rule)
    files = publish(talker, tmp_path, old_names=rule == "aligned")
    rate = RATE if rule == "aligned" else ["--rate", "pairs", "--fps", "25"]
    assert convert(model, files[::-1], tmp_path / "made", *rate, "--subjects", "Ann,Bo") == 0
    made = MeshNetwork.from_pretrained(tmp_path / "made")
    assert made.config.subjects == ("Ann", "Bo") and made.config.family.width == talker.config.family.width
    audio, face = torch.randn(1, 6000), torch.randn(VERTICES, 3)
    same, draws = (torch.Generator().manual_seed(0) for _ in range(2))
    said = talker.generate(audio, face, "subject-2", generator=draws)
    close = {"rtol": 0.0, "atol": 1e-6}  # some processors round a product by where its numbers lie in memory
    torch.testing.assert_close(made.generate(audio, face, "Bo", generator=same), said, **close)
    stored = load_file(tmp_path / "made" / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in stored.values()) and "PPE.pe" not in stored
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["config.json", "model.safetensors"]


def test_templates_and_half_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = publish(tiny_talker("faceformer"), tmp_path)
    face = np.random.default_rng(0).normal(size=(VERTICES, 3))
    (tmp_path / "face.obj").write_text("\n".join(f"v {x} {y} {z}" for x, y, z in face) + "\nf 1 2 3 4\n")
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({"Ann": face + 1, "Bo": face - 1}, protocol=2))
    options = ["--topology", str(tmp_path / "face.obj"), "--topology", str(tmp_path / "templates.pkl"), "--half"]
    assert convert("faceformer", files, tmp_path / "made", *RATE, *options) == 0
    assert "faces at rest: template, Ann, Bo" in capsys.readouterr().out
    templates = MeshNetwork.from_pretrained(tmp_path / "made").templates
    np.testing.assert_allclose(templates.neutrals["Bo"], face - 1, rtol=1e-5)
    assert templates.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    with np.load(tmp_path / "made" / "topology.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {"names", "neutrals", "triangles", "uv", "uv_triangles"}


def test_a_template_file_of_several_people_names_them(tmp_path: Path) -> None:
    talker = tiny_talker("faceformer")
    talker.save(tmp_path / "model")
    face = np.random.default_rng(0).normal(size=(VERTICES, 3))
    path = tmp_path / "templates.pkl"
    path.write_bytes(pickle.dumps({"Ann": face + 1, "Bo": face - 1}, protocol=2))
    model = load_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"holds 2 people: Ann, Bo; name one, for example --identity .*pkl:Ann"):
        model.face(str(path))
    found = model.face(f"{path}:Bo")
    assert found.name == "Bo"
    np.testing.assert_allclose(found.neutral, face - 1, rtol=1e-5)
    with pytest.raises(InputError, match=r"'Cy'.*Ann, Bo"):
        model.face(f"{path}:Cy")
    path.write_bytes(pickle.dumps({"Ann": face}, protocol=2))
    assert model.face(str(path)).name == "Ann"


def test_a_mesh_that_two_sets_share_is_asked_about() -> None:
    """TalkingStyle published files of VOCASET and of 3D-MEAD, both on FLAME's mesh."""
    published, others = SETS[0], tuple(f"M{number:03}" for number in range(8))
    importer: MotionImporter = resolve(family("talkingstyle").importer)
    for subjects, wanted in ((None, None), (others, None), (("vocaset",), published), (published.subjects, published)):
        assert importer._chosen_set(published, ImportOptions(subjects=subjects)) is wanted
    assert importer._chosen_set(SETS[1], ImportOptions()) is SETS[1]
    assert resolve(family("faceformer").importer)._chosen_set(published, ImportOptions()) is published
    assert "3D-MEAD" in str(importer._which_set(published, 8, "mead.pth"))


# -- one clear error, nothing executed, nothing written


class Malice:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def _malicious(state: dict[str, Any], folder: Path) -> str:
    torch.save({"state_dict": state, "extra": Malice(folder / "executed")}, folder / "bad.pth")
    return "refused, nothing was executed"


def _malicious_stream(state: dict[str, Any], folder: Path) -> str:
    content = {"state_dict": state, "extra": Malice(folder / "executed")}
    torch.save(content, folder / "bad.pth", _use_new_zipfile_serialization=False)
    return "refused, nothing was executed"


def _pickled(state: dict[str, Any], folder: Path) -> str:
    (folder / "bad.pth").write_bytes(pickle.dumps(Malice(folder / "executed")))
    return "bad.pth"


def _truncated(state: dict[str, Any], folder: Path) -> str:
    torch.save(state, folder / "bad.pth")
    os.truncate(folder / "bad.pth", (folder / "bad.pth").stat().st_size // 2)
    return "damaged or cut short"


def _truncated_stream(state: dict[str, Any], folder: Path) -> str:
    torch.save(state, folder / "bad.pth", _use_new_zipfile_serialization=False)
    os.truncate(folder / "bad.pth", (folder / "bad.pth").stat().st_size - 5)
    return "damaged or cut short"


def _text(state: dict[str, Any], folder: Path) -> str:
    (folder / "bad.pth").write_text("<html>quota exceeded</html>")
    return "neither a torch nor a safetensors file"


def _shape(state: dict[str, Any], folder: Path) -> str:
    state["transformer_decoder.layers.0.linear1.weight"] = torch.zeros(8, 16)
    state["vertice_map_r.weight"] = torch.zeros(8, 21)
    torch.save(state, folder / "bad.pth")
    return (
        "of another shape (2): |vertice_map_r.weight (8, 21), wanted (21, 8)|"
        "transformer_decoder.layers.0.linear1.weight (8, 16), wanted (16, 8)"
    )


def _speech_shape(state: dict[str, Any], folder: Path) -> str:
    name = "audio_encoder.encoder.layers.0.attention.k_proj.weight"
    state[name] = torch.zeros(8, 9)
    torch.save(state, folder / "bad.pth")
    return f"of another shape (1): {name} (8, 9), wanted (8, 8)"


def _keys(state: dict[str, Any], folder: Path) -> str:
    del state["obj_vector.weight"], state["vertice_map.bias"]
    state["audio_encoder.lm_head.weight"] = state["extra"] = torch.zeros(3)
    torch.save(state, folder / "bad.pth")
    return "missing (2): |vertice_map.bias|obj_vector.weight|unexpected (2): |audio_encoder.lm_head.weight|extra"


def _speech_keys(state: dict[str, Any], folder: Path) -> str:
    del state["audio_encoder.encoder.layer_norm.weight"]
    del state["audio_encoder.feature_projection.projection.weight"], state["obj_vector.weight"]
    torch.save(state, folder / "bad.pth")
    return "feature_projection.projection.weight is missing|missing (1): obj_vector.weight"


def _other_family(state: dict[str, Any], folder: Path) -> str:
    torch.save(published_state(tiny_talker("talkingstyle")), folder / "bad.pth")
    return "it looks like talkingstyle|missing (|unexpected ("


def _table(state: dict[str, Any], folder: Path) -> str:
    state["PPE.pe"] = torch.randn(1, 630, 8)
    torch.save(state, folder / "bad.pth")
    return "PPE.pe is not the published positional table"


def _no_table(state: dict[str, Any], folder: Path) -> str:
    del state["PPE.pe"]
    torch.save(state, folder / "bad.pth")
    return "missing (1): PPE.pe"


def _both_spellings(state: dict[str, Any], folder: Path) -> str:
    stem = "audio_encoder.encoder.pos_conv_embed.conv."
    state[stem + "parametrizations.weight.original0"] = state[stem + "weight_g"]
    torch.save(state, folder / "bad.pth")
    return "under the old and the new name of a weight norm"


def _infinite(state: dict[str, Any], folder: Path) -> str:
    state["vertice_map_r.bias"][3] = torch.inf
    torch.save(state, folder / "bad.pth")
    return "vertice_map_r.bias holds numbers that are not finite"


def _speech_axes(state: dict[str, Any], folder: Path) -> str:
    state["audio_encoder.feature_projection.projection.weight"] = torch.tensor(1.0)
    torch.save(state, folder / "bad.pth")
    return "feature_projection.projection.weight is (), wanted 2 axes"


def _speech_empty(state: dict[str, Any], folder: Path) -> str:
    state["audio_encoder.encoder.pos_conv_embed.conv.weight_v"] = torch.zeros(0, 3)
    torch.save(state, folder / "bad.pth")
    return "(0, 3), wanted 3 axes"


def _folder(state: dict[str, Any], folder: Path) -> str:
    (folder / "bad.pth").mkdir()
    return "bad.pth is no file"


DAMAGE = [
    _malicious, _malicious_stream, _pickled, _truncated, _truncated_stream, _text, _shape, _speech_shape, _keys,
    _speech_keys, _other_family, _table, _no_table, _both_spellings, _infinite, _speech_axes, _speech_empty, _folder,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.strip("_"))
def test_a_bad_file_is_one_error_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any) -> None:
    wanted = damage(published_state(tiny_talker("faceformer")), tmp_path)
    assert convert("faceformer", [tmp_path / "bad.pth"], tmp_path / "made", *RATE) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("parlante convert: ")
    assert all(part in said.err for part in wanted.split("|")), said.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_nothing_is_left_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = publish(tiny_talker("faceformer"), tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    assert convert("faceformer", files, tmp_path / "made", *RATE) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_an_existing_folder_is_never_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = publish(tiny_talker("faceformer"), tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "notes.txt").write_text("mine")
    assert convert("faceformer", files, tmp_path / "made", *RATE) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "made" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("model", "options", "wanted"),
    [
        ("faceformer", [], "moves 7 vertices|--rate aligned or pairs and --fps"),
        ("faceformer", ["--rate", "aligned"], "--fps"),
        ("faceformer", ["--rate", "pairs", "--fps", "30"], "25 frames per second, got --fps 30"),
        ("faceformer", [*RATE, "--subjects", "A"], "subjects must be 2 different names, got A"),
        ("faceformer", [*RATE, "--set", "heads"], "--set wants a name and a whole number"),
        ("faceformer", [*RATE, "--set", "nose=3"], "nose"),
        ("faceformer", [*RATE, "--set", "heads=3"], "heads"),
        ("faceformer", [*RATE, "--set", "heads=0"], "heads must be at least 1, got 0"),
        ("faceformer", [*RATE, "--set", "heads=true"], "heads is a whole number"),
        ("faceformer", [*RATE, "--set", "speech.heads=0"], "8 wide with 0 heads"),
        ("faceformer", [*RATE, "--set", "emotion.heads=2"], "no setting 'emotion.heads'"),
        ("codetalker", [*RATE, "--set", "autoencoder.heads=0"], "8 and 0"),
        ("ptalker", [*RATE, "--set", "motion_heads=0"], "motion_heads must divide"),
        ("faceformer", [*RATE, "--set", "period=7"], "has a period of 30, got --set period=7"),
        ("faceformer", ["--rate", "aligned", "--fps", "inf"], "--fps: got 'inf', wanted a number"),
        ("faceformer", ["--rate", "aligned", "--fps", "0"], "--fps must be positive"),
        ("faceformer", [*RATE, "--subjects", "Ann,"], "subjects must be 2 different names"),
        ("faceformer", [*RATE, "--subjects", ""], "subjects must be 2 different names"),
        ("faceformer", [*RATE, "--stats", "stats.json"], "takes no --stats"),
        ("faceformer", [*RATE, "--topology", "absent.ply"], "no such file: absent.ply"),
        ("faceformer", [*RATE, "--topology", "face.stl"], "face.stl as a template"),
    ],
)
def test_options_that_do_not_fit_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, options: list[str], wanted: str
) -> None:
    files = publish(tiny_talker(model), tmp_path)
    assert convert(model, files, tmp_path / "made", *options) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in wanted.split("|")), error
    assert not (tmp_path / "made").exists()


def test_codetalker_wants_both_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = publish(tiny_talker("codetalker"), tmp_path)
    for files, wanted in (
        ([second], "is stage 2 of CodeTalker, which is useless without stage 1"),
        ([first], "is stage 1 of CodeTalker, which is useless without stage 2"),
        ([first, first], "both files are codetalker, stage 1"),
        ([first, second, second], "two files"),
    ):
        assert convert("codetalker", files, tmp_path / "made", *RATE) == 2
        assert wanted in capsys.readouterr().err
    assert convert("faceformer", [first, second], tmp_path / "made", *RATE) == 2
    assert "a faceformer is one file" in capsys.readouterr().err


def test_a_template_of_another_mesh_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = publish(tiny_talker("faceformer"), tmp_path)
    (tmp_path / "face.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert convert("faceformer", files, tmp_path / "made", *RATE, "--topology", str(tmp_path / "face.obj")) == 2
    assert "has 3 vertices, the checkpoint moves 7" in capsys.readouterr().err
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({"A": Malice(tmp_path / "executed")}))
    assert convert("faceformer", files, tmp_path / "made", *RATE, "--topology", str(tmp_path / "templates.pkl")) == 2
    assert "refused, nothing was executed" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists() and not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("mesh", "wanted"),
    [
        ({"triangles": np.array([[0, 1, -3]])}, "triangles name corners beyond the 7"),
        ({"triangles": np.array([[0, 1, 7]])}, "triangles name corners beyond the 7"),
        ({"triangles": np.array([[0, 1, 2, 3]])}, "wanted (F, 3)"),
        ({"triangles": np.array([0, 1, 2])}, "wanted (F, 3)"),
        ({"triangles": np.array([[0, 1, np.nan]])}, "triangles are no whole numbers"),
        ({"uv": np.zeros((2, 2)), "uv_triangles": np.array([[0, 1, 9]])}, "uv_triangles name corners beyond the 2"),
    ],
)
def test_a_template_whose_mesh_cannot_be_drawn_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mesh: dict[str, Any], wanted: str
) -> None:
    files = publish(tiny_talker("faceformer"), tmp_path)
    np.savez(tmp_path / "face.npz", neutral=np.zeros((VERTICES, 3), np.float32), **mesh)
    assert convert("faceformer", files, tmp_path / "made", *RATE, "--topology", str(tmp_path / "face.npz")) == 2
    assert wanted in capsys.readouterr().err and not (tmp_path / "made").exists()


def test_a_model_with_a_longer_table_looks_as_far_back_as_it_did(tmp_path: Path) -> None:
    """Its authors' advice for speech of more than 20 s: a longer bias and table. Published files keep the default."""
    from parlante.models.components.causal_decoder import SPAN, periodic_positions

    state = published_state(tiny_talker("faceformer"))
    for rows, span in ((630, SPAN), (930, 930)):
        torch.save(state | {"PPE.pe": periodic_positions(0, rows, 8, 30)[None]}, tmp_path / "long.pth")
        assert convert("faceformer", [tmp_path / "long.pth"], tmp_path / str(rows), *RATE) == 0
        assert MeshNetwork.from_pretrained(tmp_path / str(rows)).config.family.span == span


# -- FaceDiffuser: no positional table, and rigs under other names


def _rig(folder: Path) -> tuple[MeshNetwork, Path]:
    """A model of five rig controls, as the authors' rig classes name its tensors."""
    sizes = {
        "motion_dim": 5, "audio_dim": 8, "width": 8, "subjects": 0, "layers": 3, "steps": 6,
        "projected": False, "time": "sinusoid", "normalise": False,
    }  # fmt: skip
    speech = {"encoder": "network", "network": network(large=False), "rate": {"kind": "none"}}
    rate = {"kind": "aligned", "fps": 60.0, "steps_per_frame": 2}
    torch.manual_seed(0)
    config = MeshNetworkConfig(
        model="facediffuser", family=sizes, speech=speech, fps=30.0, rate=rate, controls=tuple("abcde")
    )
    talker = MeshNetwork(config).eval().requires_grad_(False)
    torch.nn.init.normal_(talker.family.final_layer.weight)
    renamed = {"gru.": "rnn.", "final_layer.": "out.", "time_mlp.": "embed_timestep.time_embed."}
    state = {}
    for name, value in published_state(talker).items():
        ours = next((prefix for prefix in renamed if name.startswith(prefix)), "")
        state[renamed.get(ours, "") + name.removeprefix(ours)] = value
    state["sequence_pos_encoder.pe"] = torch.zeros(1, 5, 8)
    torch.save(state, folder / "rig.pth")
    return talker, folder / "rig.pth"


def test_a_rig_model_becomes_controls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talker, file = _rig(tmp_path)
    options = ["--fps", "30", "--controls", "a,b,c,d,e", "--set", "steps=6"]
    assert convert("facediffuser", [file], tmp_path / "made", *options) == 0
    assert "5 rig controls at 30 fps" in capsys.readouterr().out
    made = MeshNetwork.from_pretrained(tmp_path / "made")
    assert made.config.family == talker.config.family and made.config.controls == tuple("abcde")
    assert made.num_vertices == 0
    audio = torch.randn(1, 6000)
    same, draws = (torch.Generator().manual_seed(0) for _ in range(2))
    controls, _ = made.coordinates(audio, generator=same)
    assert controls.shape == (1, made.frames(6000), 5)
    torch.testing.assert_close(controls, talker.coordinates(audio, generator=draws)[0], rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="5 rig controls, no vertices"):
        made.generate(audio, torch.zeros(VERTICES, 3))
    with pytest.raises(InputError, match="5 rig controls and no mesh"):
        load_model(tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "options", "wanted"),
    [
        ({}, [], "no such file tells its frame rate: give --fps"),
        ({}, ["--fps", "25", "--rate", "aligned"], "has the rate rule 'pairs', got --rate aligned"),
        ({}, ["--fps", "30", "--controls", "a,b"], "leave out --controls"),
        ({"gru.bias_hh_l0": None, "extra": torch.ones(2)}, [], "missing (1): gru.bias_hh_l0|unexpected (1): extra"),
        ({"final_layer.bias": torch.ones(3)}, ["--fps", "30"], "of another shape (1): final_layer.bias (3,)"),
    ],
)
def test_a_facediffuser_that_cannot_be_used_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], options: list[str], wanted: str
) -> None:
    state = published_state(tiny_talker("facediffuser")) | change
    torch.save({name: value for name, value in state.items() if value is not None}, tmp_path / "model.pth")
    assert convert("facediffuser", [tmp_path / "model.pth"], tmp_path / "made", *options) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in wanted.split("|")), error
    assert not (tmp_path / "made").exists()


def test_a_random_table_of_steps_is_no_published_textalker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
    from toy_textalker import write_textalker

    write_textalker(tmp_path)
    files = [str(tmp_path / name) for name in ("textalker.pth", "motion_vae.pth", "tex_vae.pth")]
    words = ["convert", "textalker", *files, "--stats", str(tmp_path / "stat_seq_diff_global.json"), "-o"]
    assert main([*words, str(tmp_path / "made")]) == 0
    state = torch.load(files[0], weights_only=True)
    state["params"]["denoising_net.TE.pe"] = torch.randn_like(state["params"]["denoising_net.TE.pe"])
    torch.save(state, files[0])
    assert main([*words, str(tmp_path / "other")]) == 2
    assert "denoising_net.TE.pe is no table of sines" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
