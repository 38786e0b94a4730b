"""Latents and pivots of a corpus: what is in the files is what the autoencoders say of each frame's maps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import SIZE, obj, offsets, pack, sheet, skin, write_miniature, write_wav
from safetensors.torch import load_file
from toy_textalker import write_textalker

from parlante.cli import main
from parlante.core import InputError
from parlante.core.style import load_style
from parlante.data.open import open_corpus
from parlante.geometry.uv import MotionStats, bake_table
from parlante.geometry.uv.ratio import wrinkle_from_frames
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.features.corpus_maps import MapModels, ScannedCorpus
from parlante.training.features.encoding import encode_corpus, pivots
from parlante.training.features.encoding_options import EncodingOptions
from parlante.training.features.scanned_maps import motion_stats

TINY = VQGANConfig(
    img_size=SIZE, nf=8, ch_mult=(1, 2), res_blocks=1, attn_resolutions=(), codebook_size=16, emb_dim=4, norm_groups=4
)
FRAMES = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("textalk4d")
    return pack(write_miniature(root / "source", FRAMES), root / "prepared", shortest=3, held_out=1)


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of autoencoders as files."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("pair")
    for kind in ("motion", "wrinkle"):
        VQAutoEncoder(TINY).save(root / kind, stats=motion_stats(open_corpus(corpus)).to_dict())
    return root


def test_latents_are_those_of_each_frame(corpus: Path, folder: Path, tmp_path: Path) -> None:
    models = MapModels.load(folder)
    found = encode_corpus(ScannedCorpus(open_corpus(corpus), SIZE), models, tmp_path / "out")
    assert found.clips == 4 and found.reused == 0 and found.pivots == {"ID001": 11, "ID002": 11, "ID005": 5}
    assert found.map_error < 0.5 and found.motion_error > 0 and found.wrinkle_error > 0
    data = open_corpus(corpus)
    latents = load_file(tmp_path / "out" / "latents" / "ID005-000007.safetensors")
    assert latents["motion"].shape == latents["wrinkle"].shape == (6, 4, 8, 8)
    moved = 0.1 * offsets(2, 8)[None].astype(np.float32)
    baked = bake_table(data.topology, SIZE).bake(torch.from_numpy(models.stats.normalise(moved)))
    wrinkle = wrinkle_from_frames(skin(2, 8) / 255.0, skin(2, 0) / 255.0, 1e-5).astype(np.float32)
    with torch.inference_mode():
        torch.testing.assert_close(latents["motion"][2:3], models.motion.encode(baked), atol=1e-4, rtol=1e-4)
        expected = models.wrinkle.encode(torch.from_numpy(wrinkle).permute(2, 0, 1)[None])
    torch.testing.assert_close(latents["wrinkle"][2:3], expected, atol=1e-4, rtol=1e-4)


def test_pivots_are_styles_of_the_training_frames(corpus: Path, folder: Path, tmp_path: Path) -> None:
    maps, models = ScannedCorpus(open_corpus(corpus), SIZE), MapModels.load(folder)
    encode_corpus(maps, models, tmp_path / "out")
    style = load_style(tmp_path / "out" / "pivots" / "ID005.style")
    assert (style.name, style.model, style.checkpoint) == ("ID005", "textalker", "")
    half = load_file(tmp_path / "out" / "latents" / "ID005-000001.safetensors")
    for kind in ("motion", "wrinkle"):  # frame 0 is the neutral one
        np.testing.assert_allclose(getattr(style, kind), half[kind][1:].mean(0).numpy(), atol=1e-5)
    encode_corpus(maps, models, tmp_path / "published", EncodingOptions(held_out_too=True, half=True))
    rest = load_file(tmp_path / "out" / "latents" / "ID005-000007.safetensors")
    whole = torch.cat([half["motion"][1:], rest["motion"]]).mean(0).numpy()
    other = load_style(tmp_path / "published" / "pivots" / "ID005.style")
    np.testing.assert_allclose(other.motion, whole, atol=2e-3)
    assert load_file(tmp_path / "published" / "latents" / "ID005-000007.safetensors")["motion"].dtype == torch.float16


def test_pivots_of_a_short_clip(corpus: Path, folder: Path, tmp_path: Path) -> None:
    data, models = open_corpus(corpus), MapModels.load(folder)
    maps = ScannedCorpus(data, SIZE)
    encode_corpus(maps, models, tmp_path / "out", EncodingOptions(seconds=0.1))
    frames = np.arange(1, 4)
    style = pivots(maps.offsets(0, frames), maps.wrinkle(0, frames), data.topology, models, "new")
    known = load_style(tmp_path / "out" / "pivots" / "ID001.style")
    np.testing.assert_allclose(style.motion, known.motion, atol=1e-5)
    np.testing.assert_allclose(style.wrinkle, known.wrinkle, atol=1e-5)
    still = pivots(maps.offsets(0, frames), None, data.topology, models, "no skin")
    assert np.isfinite(still.wrinkle).all() and (still.motion == style.motion).all()


def test_a_second_run_keeps_what_is_done(corpus: Path, folder: Path, tmp_path: Path) -> None:
    maps, models = ScannedCorpus(open_corpus(corpus), SIZE), MapModels.load(folder)
    first = encode_corpus(maps, models, tmp_path / "out")
    before = load_style(tmp_path / "out" / "pivots" / "ID001.style")
    (tmp_path / "out" / "latents" / "ID001-000001.safetensors").write_bytes(b"cut")
    again = encode_corpus(maps, models, tmp_path / "out")
    assert again.reused == 3 and again.pivots == first.pivots
    after = load_style(tmp_path / "out" / "pivots" / "ID001.style")
    assert (after.motion == before.motion).all() and (after.wrinkle == before.wrinkle).all()
    with pytest.raises(InputError, match="encoded with another stride"):
        encode_corpus(maps, models, tmp_path / "out", EncodingOptions(stride=2))
    wider = replace(models, stats=MotionStats.fit(np.ones((1, 2, 3)) * [[[-1.0], [1.0]]], 0.1))
    with pytest.raises(InputError, match="encoded with another stats"):
        encode_corpus(maps, wider, tmp_path / "out")


def test_published_maps_have_an_empty_background(corpus: Path, folder: Path, tmp_path: Path) -> None:
    maps, models = ScannedCorpus(open_corpus(corpus), SIZE), MapModels.load(folder)
    ours = encode_corpus(maps, models, tmp_path / "ours")
    theirs = encode_corpus(maps, replace(models, published=True), tmp_path / "theirs")
    assert theirs.map_error > ours.map_error
    one, other = (load_file(f.folder / "latents" / "ID001-000001.safetensors")["motion"] for f in (ours, theirs))
    assert (one - other).abs().max() > 1e-3


def test_the_autoencoders_of_a_converted_talker(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Released weights encode a corpus with maps by the published rule, and speak with the pivots that come of it."""
    write_textalker(tmp_path)
    files = [str(tmp_path / name) for name in ("textalker.pth", "motion_vae.pth", "tex_vae.pth")]
    stats = ["--stats", str(tmp_path / "stat_seq_diff_global.json")]
    assert main(["convert", "textalker", *files, "-o", str(tmp_path / "talker"), *stats]) == 0
    models = MapModels.load(tmp_path / "talker")
    assert models.published and np.allclose(models.stats.maximum, 0.01)
    assert main(["encode", str(corpus), "--model", str(tmp_path / "talker"), "-o", str(tmp_path / "out"), "-q"]) == 0
    style, line = tmp_path / "out" / "pivots" / "ID001.style", tmp_path / "line.wav"
    write_wav(line, 8000)
    words = ["--model", str(tmp_path / "talker"), "--identity", str(tmp_path / "test_id"), "--style", str(style)]
    assert main(["animate", str(line), *words, "-q", "-o", str(tmp_path / "talk.npz")]) == 0, capsys.readouterr().err


def test_a_style_for_a_face_at_rest(
    corpus: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known persons in a folder of latents, a new face and its skin as files; the result is a style file."""
    from PIL import Image

    encode_corpus(ScannedCorpus(open_corpus(corpus), SIZE), MapModels.load(folder), tmp_path / "out")
    (tmp_path / "face.obj").write_text(obj(3 * sheet(1) + 7))
    Image.fromarray(skin(1, 0)).save(tmp_path / "face.png")
    face, made = [str(tmp_path / "face.obj"), str(tmp_path / "face.png")], tmp_path / "new.style"
    known = ["--from", str(tmp_path / "out")]
    assert main(["style", "predict", *face, *known, "-o", str(made)]) == 0
    assert "most alike are ID002" in capsys.readouterr().out
    style = load_style(made)
    assert style.name == "new" and style.motion.shape == style.wrinkle.shape == (4, 8, 8)
    for arguments, told in (
        ([face[0], *known], "no texture"),
        ([face[0], face[0], *known], "as a picture"),
        ([*face, "--from", str(corpus)], "holds no known faces"),
        ([face[0].replace("face", "none"), *known], "no such file"),
    ):
        assert main(["style", "predict", *arguments, "-o", str(tmp_path / "other.style")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "other.style").exists()


def test_the_command(corpus: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["encode", str(corpus), "--model", str(folder), "-o", out, "--stride", "4"]) == 0
    shown = capsys.readouterr().out
    assert "4 clips" in shown and "pivots of 3 persons" in shown and "mm" in shown
    assert len(json.loads((tmp_path / "out" / "index.json").read_text())["clips"]) == 4
    for arguments, told in (
        ([str(tmp_path), "--model", str(folder), "-o", out], "holds no corpus"),
        ([str(corpus), "--model", str(corpus), "-o", out], "is no checkpoint"),
        ([str(corpus), "--model", str(folder), "-o", str(corpus)], "is no folder of latents"),
        ([str(corpus), "--model", str(folder), "-o", out, "--stride", "0"], "stride must be 1 or more, got 0"),
        (
            [str(corpus), "--model", str(folder), "-o", out, "--device", "abacus"],
            "no device 'abacus'; choose one of cpu",
        ),
    ):
        assert main(["encode", *arguments]) == 2
        assert told in capsys.readouterr().err
