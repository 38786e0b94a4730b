"""A talker in one folder: sound in, vertices out, the same after saving, for every family."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")

from published_files import VERTICES, tiny_talker

from parlante.core import InputError, Style
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig
from parlante.models.registry import motion_families
from parlante.models.templates import Templates

each_family = pytest.mark.parametrize("model", motion_families())


def sound(batch: int, samples: int) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(3))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def face() -> torch.Tensor:
    return torch.randn(VERTICES, 3, generator=torch.Generator().manual_seed(4))


@each_family
@pytest.mark.parametrize("rule", ["aligned", "pairs"])
def test_a_saved_talker_says_the_same(tmp_path: Path, model: str, rule: str) -> None:
    talker = tiny_talker(model, rule)
    said = talker.generate(sound(1, 8000), face(), "subject-2", generator=draws())
    assert said.shape == (1, talker.frames(8000), VERTICES, 3) and (said - face()).any()
    again = MeshNetwork.from_pretrained(talker.save(tmp_path / "talker"))
    assert again.config == talker.config and again.fps == talker.fps
    before, after = talker.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    # some processors round a product by where its numbers lie in memory
    torch.testing.assert_close(
        again.generate(sound(1, 8000), face(), "subject-2", generator=draws()), said, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    "model", [model for model in motion_families() if model != "facediffuser"]
)  # each draws its own noise
def test_a_batch_says_what_each_clip_says_alone(model: str) -> None:
    talker = tiny_talker(model).double()
    audio, samples = sound(3, 9000).double(), [9000, 4000, 6500]
    faces = torch.stack([face(), 2 * face(), -face()]).double()
    styles = ["subject-1", {"subject-1": 0.3, "subject-2": 0.7}, talker.style("subject-2")]
    together = talker.generate(audio, faces, styles, lengths=samples)
    for i, count in enumerate(samples):
        alone = talker.generate(audio[i : i + 1, :count], faces[i], styles[i])
        torch.testing.assert_close(together[i, : alone.shape[1]], alone[0])
        torch.testing.assert_close(together[i, alone.shape[1] :], faces[i].expand_as(together[i, alone.shape[1] :]))


@pytest.mark.parametrize("rule", ["aligned", "pairs"])
def test_a_batch_hears_what_each_clip_hears_alone(rule: str) -> None:
    """FaceDiffuser changes the rate after its encoder, clip by clip."""
    talker = tiny_talker("facediffuser", rule).double()
    audio, samples = sound(3, 9000).double(), [9000, 4000, 6500]
    together, frames = talker.encode_audio(audio, samples)
    assert frames is not None and frames.tolist() == [talker.frames(n) for n in samples]
    for i, count in enumerate(samples):
        alone, _ = talker.encode_audio(audio[i : i + 1, :count])
        assert alone.shape[1] == 2 * talker.frames(count)
        torch.testing.assert_close(together[i, : alone.shape[1]], alone[0])
    said = talker.generate(audio, face().double(), "subject-1", lengths=samples)
    assert torch.equal(said[1, frames[1] :], face().double().expand_as(said[1, frames[1] :]))


def test_facediffuser_counts_frames_as_published_on_request() -> None:
    aligned, pairs = tiny_talker("facediffuser"), tiny_talker("facediffuser", "pairs")
    assert aligned.frames(16000) == int(49 / 50 * 60) // 2 and aligned.frames(16000, reference=True) == 29
    assert pairs.frames(16000) == 24 and pairs.frames(16000, reference=True) == 24
    said = aligned.generate(sound(1, 16000), face(), "subject-1", reference=True, steps=2)
    assert said.shape[1] == 29


@each_family
def test_features_and_pieces_give_the_frames_of_sound(model: str) -> None:
    talker = tiny_talker(model, "pairs").double()
    features, _ = talker.encode_audio(sound(1, 8000).double())
    whole = talker.generate(features, face(), "subject-1", generator=draws())
    said = talker.generate(sound(1, 8000), face(), "subject-1", voice=False, generator=draws())
    torch.testing.assert_close(said, whole)
    if model == "codetalker":  # what it streams is not what it decodes at the end
        return
    own = {"generator": draws()} if model == "facediffuser" else {}
    session = talker.session(face(), "subject-1", **own)
    pieces = [session.push(features[:, i : i + 6]) for i in range(0, features.shape[1] // 2 * 2, 6)]
    torch.testing.assert_close(torch.cat(pieces), whole[0])


@each_family
def test_styles_mix_and_go_beyond(model: str) -> None:
    talker = tiny_talker(model)
    a, b = talker.style("subject-1"), talker.style("subject-2")
    torch.testing.assert_close(talker.mix("subject-1", "subject-2", 0.0), a)
    torch.testing.assert_close(talker.mix("subject-1", "subject-2", 1.5), 1.5 * b - 0.5 * a)
    torch.testing.assert_close(talker.style({"subject-2": 1.0}), b)
    assert not torch.equal(talker.style({"subject-1": 1.5, "subject-2": -0.5}), a)
    said = talker.generate(sound(1, 4000), face(), talker.mix("subject-1", "subject-2", 2.0))
    assert said.isfinite().all()


def test_a_style_of_another_model_is_refused() -> None:
    talker = tiny_talker("faceformer")
    code = talker.style("subject-1").numpy()
    kept = talker.style(Style(code, code[:0], "me", model="faceformer"))
    assert torch.equal(kept, talker.style("subject-1"))
    with pytest.raises(InputError, match="is of a ptalker, this model is a faceformer"):
        talker.style(Style(code, code[:0], "me", model="ptalker"))


def test_ptalker_hears_a_voice_and_reads_a_clip() -> None:
    talker = tiny_talker("ptalker")
    audio = sound(1, 8000)
    unseen = talker.generate(audio, face())
    assert not torch.allclose(unseen, talker.generate(audio, face(), voice=False))
    code = talker.style_of_motion(unseen[0], face())
    assert not torch.allclose(talker.generate(audio, face(), code), unseen)
    assert not torch.allclose(talker.generate(audio, face(), "subject-1", reference=True), unseen)


def test_coefficients_of_a_basis_become_vertices(tmp_path: Path) -> None:
    rows = torch.linalg.qr(torch.randn(3 * VERTICES, 4)).Q.T.reshape(4, VERTICES, 3).contiguous()
    mean = 0.1 * torch.ones(VERTICES, 3)
    config = MeshNetworkConfig(
        model="faceformer",
        family={"motion_dim": 4, "audio_dim": 56, "width": 8, "subjects": 2},
        speech={"encoder": "phonetic", "fps": 30.0},
        fps=30.0,
        basis=4,
    )
    talker = MeshNetwork(config, basis=rows, mean=mean).eval()
    talker.family.vertice_map_r.reset_parameters()
    again = MeshNetwork.from_pretrained(talker.save(tmp_path / "small"))
    audio = sound(2, 8000)
    said = again.generate(audio, face(), "subject-1", lengths=[8000, 4000])
    torch.testing.assert_close(said, talker.generate(audio, face(), "subject-1", lengths=[8000, 4000]))
    coefficients = again.encode(said[0] - face())
    torch.testing.assert_close(again.decode(coefficients), said[0] - face(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(said[1, 7:], face().expand(8, VERTICES, 3))


def test_templates_come_back(tmp_path: Path) -> None:
    talker = tiny_talker("faceformer")
    talker.templates = Templates({"F2": face().numpy()}, torch.tensor([[0, 1, 2]], dtype=torch.int32).numpy())
    again = MeshNetwork.from_pretrained(talker.save(tmp_path / "talker")).templates
    assert list(again.neutrals) == ["F2"] and (again.neutrals["F2"] == face().numpy()).all()
    assert again.triangles.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((sound(1, 4000), torch.zeros(5, 3), "subject-1"), r"shape \(5, 3\).*moves 7 vertices"),
        ((sound(1, 4000), face(), "nobody"), "no speaker named nobody; known: subject-1, subject-2"),
        ((sound(1, 4000), face(), None), "name whose style"),
        ((sound(1, 4000), face(), torch.zeros(9)), r"a style embedding of this model is \(8,\), got \(9,\)"),
        ((sound(2, 4000), face(), ["subject-1"]), "1 styles for 2 clips"),
        ((sound(1, 4000)[0], face(), "subject-1"), "speech must be audio"),
        ((torch.zeros(1, 4, 5), face(), "subject-1"), "features are 5 wide, this model takes 8"),
        ((sound(1, 100), face(), "subject-1"), "too short"),
    ],
)
def test_what_does_not_fit_is_said(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_talker("faceformer").generate(*arguments)  # type: ignore[arg-type]


def test_a_folder_with_other_weights_is_refused(tmp_path: Path) -> None:
    talker = tiny_talker("talkingstyle")
    folder = talker.save(tmp_path / "talker")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"width": 8', '"width": 12'))
    with pytest.raises(InputError, match=r"of another shape \(\d+\): .*wanted"):
        MeshNetwork.from_pretrained(folder)
    (folder / "config.json").write_text(text.replace('"width": 8', '"breadth": 8'))
    with pytest.raises(InputError, match=r"config\.json cannot be used"):
        MeshNetwork.from_pretrained(folder)


@each_family
def test_pieces_that_do_not_fit_are_refused(model: str) -> None:
    talker = tiny_talker(model, "pairs")
    session = talker.session(face(), "subject-1")
    for features in (torch.zeros(1, 4, 5), torch.zeros(2, 4, 8), torch.zeros(4, 8), torch.zeros(1, 3, 8)):
        with pytest.raises(InputError, match=r"whole frames of one clip|wide|speech must be"):
            session.push(features)
    with pytest.raises(InputError, match="no finite numbers"):
        session.push(torch.full((1, 4, 8), torch.nan))
    with pytest.raises(InputError, match="the face has shape"):
        talker.session(face()[:5], "subject-1")


@each_family
def test_lengths_and_sound_that_cannot_be_are_refused(model: str) -> None:
    talker = tiny_talker(model)
    for lengths in ([9000], [9000, 9001], [9000, -1]):
        with pytest.raises(InputError, match=r"lengths .* wanted one each, at most 9000"):
            talker.generate(sound(2, 9000), face(), "subject-1", lengths=lengths)
    with pytest.raises(InputError, match="no finite numbers"):
        talker.generate(sound(1, 9000) * torch.inf, face(), "subject-1")


def test_a_reference_clip_of_another_mesh_is_refused() -> None:
    talker = tiny_talker("ptalker")
    for clip in (torch.zeros(9, 5, 3), torch.zeros(0, VERTICES, 3), torch.zeros(VERTICES, 3)):
        with pytest.raises(InputError, match="a clip of this face"):
            talker.style_of_motion(clip, face())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: {"neutrals": arrays["neutrals"] * np.nan}, "finite"),
        (lambda arrays: {"triangles": -arrays["triangles"] - 1}, "triangles name corners"),
        (lambda arrays: None, "not a zip file"),
    ],
)
def test_damaged_faces_of_a_folder_are_refused(tmp_path: Path, change, message: str) -> None:
    talker = tiny_talker("faceformer")
    talker.templates = Templates({"F2": face().numpy()}, np.array([[0, 1, 2]], np.int32))
    file = talker.save(tmp_path / "talker") / "topology.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    changed = change(arrays)
    file.write_bytes(b"PK") if changed is None else np.savez(file, **(arrays | changed))
    with pytest.raises(InputError, match=message):
        MeshNetwork.from_pretrained(tmp_path / "talker")


def test_impossible_heads_of_a_stored_network_are_one_error(tmp_path: Path) -> None:
    folder = tiny_talker("faceformer").save(tmp_path / "talker")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"num_attention_heads": 2', '"num_attention_heads": 0'))
    with pytest.raises(InputError, match="cannot build a wav2vec2 speech network"):
        MeshNetwork.from_pretrained(folder)


def test_reference_decoding_is_that_of_the_authors_code() -> None:
    """CodeTalker's cached past is an approximation; `reference` decodes all of the past anew."""
    talker = tiny_talker("codetalker").double()
    features, code = torch.randn(1, 40, 8).double(), talker.style("subject-1")[None]
    said = talker.generate(features, face().double(), "subject-1", reference=True)
    wanted = talker.family.generate(features, code, refresh=0.0).unflatten(-1, (-1, 3)) + face().double()
    torch.testing.assert_close(said, wanted)
