"""The published TexTalker from scans to a face that speaks, at toy size, by the commands of its page."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason="training needs parlante[train]")
pytest.importorskip("zarr", reason="clip stores need parlante[train]")
pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")

import torch
import transformers
from miniature import COLUMNS, ROWS, SIZE, obj, sheet, skin, write_miniature, write_wav
from PIL import Image
from safetensors.torch import save_file

from parlante import Talker
from parlante.cli import main
from parlante.core import InputError
from parlante.core.style import load_style
from parlante.export.npz import load

RECIPES = Path(__file__).parents[3] / "recipes" / "textalker"
MAPS = (
    f"model.img_size={SIZE}", "model.nf=8", "model.ch_mult=[1,2]", "model.res_blocks=1", "model.attn_resolutions=[]",
    "model.norm_groups=4", "model.codebook_size=16", "model.emb_dim=4", "data.batch=2", "loss.adversarial_from=1",
    "loss.discriminator_width=8", "loss.discriminator_layers=1", "loss.autocast=false", "loop.devices=1",
)  # fmt: skip
TOP = (
    "model.width=16", "model.layers=1", "model.frames=8", "model.previous=3", "model.steps=20", "inference.steps=2",
    "inference.overlap=2", "scheme.batch=2", "scheme.check_items=2",
)  # fmt: skip
LOOP = ("loop.accelerator=cpu", "loop.threads=1", "loop.max_steps=2", "loop.warmup=1")
PEOPLE = ("ID001", "ID002", "ID005")


def parlante(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def train(recipe: str, run: Path, *changes: str) -> None:
    parlante("train", RECIPES / f"{recipe}.yaml", "--run", run, *(w for c in (*changes, *LOOP) for w in ("--set", c)))


def write_hubert(folder: Path) -> Path:
    """A speech network of the published kind that encodes in no time."""
    sizes = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(sizes).save_pretrained(folder)
    return folder


def write_lpips(path: Path) -> Path:
    """Random weights of VGG16 and the five lines above it."""
    tensors, width, draws = {}, 3, torch.Generator().manual_seed(0)
    stages = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    for stage, (numbers, out) in enumerate(zip(stages, (64, 128, 256, 512, 512), strict=True)):
        for number in numbers:
            tensors[f"features.{number}.weight"] = torch.randn(out, width, 3, 3, generator=draws) / (3 * width**0.5)
            tensors[f"features.{number}.bias"], width = torch.zeros(out), out
        tensors[f"lin{stage}.model.1.weight"] = torch.rand(1, out, 1, 1, generator=draws)
    save_file(tensors, path)
    return path


def write_person(folder: Path, person: int, unit: float = 1.0) -> Path:
    """Somebody who took no part in training: a mesh, a picture, no pivots."""
    folder.mkdir()
    (folder / "face.obj").write_text(obj(unit * sheet(person)))
    Image.fromarray(skin(person, 0)).save(folder / "face.png")
    return folder


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every step up to the trained diffusion model: scans/, corpus/, autoencoders/, latents/, run/, line.wav."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("chain")
    write_miniature(root / "scans", 40, PEOPLE)
    parlante("prepare", "textalk4d", root / "scans", root / "corpus", "-q", "--shortest", 8, "--held-out", 1)
    data = f"data.corpus={root / 'corpus'}"
    for kind in ("motion", "wrinkle"):
        train(f"{kind}_vqgan_paper", root / "autoencoders" / kind, data, *MAPS)
    parlante("encode", root / "corpus", "--model", root / "autoencoders", "-o", root / "latents", "-q")
    write_hubert(root / "hubert")
    train("diffusion_paper", root / "run", *ingredients(root), *TOP)
    write_wav(root / "line.wav", 16000)
    return root


def ingredients(root: Path, **instead: str) -> list[str]:
    folders = {
        "corpus": "corpus",
        "encoded": "latents",
        "motion": "autoencoders/motion",
        "wrinkle": "autoencoders/wrinkle",
        "speech": "hubert",
    }
    return [f"data.{name}={root / folder}" for name, folder in (folders | instead).items()]


def test_a_person_of_the_corpus_speaks_by_name(chain: Path, tmp_path: Path) -> None:
    """The run folder is the model; nothing of corpus, latents or speech network is read any more."""
    out = [word for name in ("talk.npz", "talk.mp4", "meshes.obj/") for word in ("-o", f"{tmp_path}/{name}")]
    words = ["animate", chain / "line.wav", "--model", chain / "run", "-q", "--size", 64, *out]
    parlante(*words, "--identity", "ID002", "--style", "ID001", "--wrinkle-style", "ID005")
    made = load(tmp_path / "talk.npz")
    assert made.vertices.shape == (30, ROWS * COLUMNS, 3) and np.ptp(made.vertices, axis=0).max() > 0
    np.testing.assert_allclose(made.neutral, 0.1 * sheet(1), atol=1e-5)
    assert made.wrinkle is not None and made.wrinkle.shape == (30, SIZE, SIZE, 3)
    assert made.albedo is not None and (made.albedo == skin(1, 0)).all()
    assert made.provenance["motion_style"] == "ID001" and made.provenance["wrinkle_style"] == "ID005"
    assert (tmp_path / "talk.mp4").stat().st_size > 1000
    parlante("texture", tmp_path / "talk.npz", "--size", 64, "-o", tmp_path / "textures")
    assert len(list((tmp_path / "textures").rglob("*.png"))) == 30


def test_pivots_of_any_two_people(chain: Path, tmp_path: Path) -> None:
    """Motion follows one pivot and skin the other, however each is named."""
    talker = Talker.from_pretrained(chain / "run")
    folder = tmp_path / "somebody"
    folder.mkdir()
    style = load_style(chain / "latents" / "pivots" / "ID005.style")
    np.savez(folder / "pivots.npz", motion=style.motion, wrinkle=style.wrinkle)
    line, own = str(chain / "line.wav"), {"identity": "ID001", "seed": 3}
    named = talker(line, style="ID005", **own)
    for wish in (str(folder), str(chain / "latents" / "pivots" / "ID005.style")):
        np.testing.assert_allclose(talker(line, style=wish, **own).vertices, named.vertices, atol=1e-6)
    mixed = talker(line, motion_style="ID001", wrinkle_style=str(folder), **own)
    plain = talker(line, **own)
    np.testing.assert_array_equal(mixed.vertices, plain.vertices)
    np.testing.assert_array_equal(mixed.wrinkle, named.wrinkle)
    assert (mixed.wrinkle != plain.wrinkle).any() and (named.vertices != plain.vertices).any()
    both = talker(line, style=f"ID001:0.5,{folder}:0.5", **own)
    assert (both.vertices != plain.vertices).any()


@pytest.mark.parametrize("unit", [1.0, 0.1, 100.0])
def test_a_new_person_in_any_unit(chain: Path, tmp_path: Path, unit: float) -> None:
    """A head is about as large as those of the corpus, which are in metres."""
    made = Talker.from_pretrained(chain / "run")(
        str(chain / "line.wav"), identity=str(write_person(tmp_path / "ann", 1, unit))
    )
    np.testing.assert_allclose(made.neutral, 0.1 * sheet(1), atol=1e-5)
    assert made.provenance["pivots"] == "average of the corpus"


def test_a_folder_of_the_dataset_is_a_person(chain: Path) -> None:
    made = Talker.from_pretrained(chain / "run")(str(chain / "line.wav"), identity=str(chain / "scans" / "ID002"))
    named = Talker.from_pretrained(chain / "run" / "export")(str(chain / "line.wav"), identity="ID002")
    np.testing.assert_allclose(made.vertices, named.vertices, atol=1e-6)


def test_what_cannot_be_used_is_said(chain: Path, tmp_path: Path) -> None:
    talker = Talker.from_pretrained(chain / "run")
    other = write_person(tmp_path / "other", 0)
    (other / "face.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    for wish, told in (
        ({"identity": "ID003"}, "unknown identity 'ID003'.*ID002"),
        ({"identity": str(empty)}, r"has no face\.obj"),
        ({"identity": str(other)}, "has 3 vertices, the model moves meshes of 99"),
        ({"style": "ID003"}, "unknown style 'ID003'"),
        ({"style": str(empty)}, r"has no face\.obj"),
    ):
        with pytest.raises(InputError, match=told):
            talker(str(chain / "line.wav"), **wish)


def test_the_evaluation_measures_mesh_and_pictures(chain: Path, tmp_path: Path) -> None:
    numbers = np.arange(ROWS * COLUMNS).tolist()
    (tmp_path / "regions.json").write_text(json.dumps({"lips": numbers[20:40], "upper_face": numbers[60:]}))
    files = ["--regions", tmp_path / "regions.json", "--lpips", write_lpips(tmp_path / "lpips.safetensors")]
    words = ["evaluate", chain / "run", "--data", chain / "corpus", "--split", "test_seen", "--no-video", "--show", 0]
    parlante(*words, *files, "-o", tmp_path / "report")
    models = json.loads((tmp_path / "report" / "report.json").read_text())["models"]
    figures = models[str(chain / "run")]["figures"]
    for name in ("lve", "mve", "fdd", "psnr", "ssim", "lpips"):
        assert np.isfinite(figures[name]["value"]), name
    assert models[str(chain / "run")]["facts"]["style of ID005"] == "by name"
    assert 0 < figures["mve"]["value"] < 15, "mm; the scans' own unit would be ten times as much"


@pytest.mark.parametrize(
    "changes",
    [
        ("scheme.style_condition=one_hot", "scheme.outputs=motion"),
        ("scheme.outputs=wrinkle", "scheme.style_condition=pivots", "scheme.style_dims=[1,1]"),
    ],
)
def test_every_ablation_speaks(chain: Path, tmp_path: Path, changes: tuple[str, ...]) -> None:
    train("diffusion_paper", tmp_path / "run", *ingredients(chain), *TOP, *changes)
    made = Talker.from_pretrained(tmp_path / "run")(str(chain / "line.wav"), identity="ID001", seed=1)
    moves, colours = np.ptp(made.vertices, axis=0).max() > 0, np.ptp(made.wrinkle, axis=0).max() > 0
    assert (moves, colours) == ("scheme.outputs=motion" in changes, "scheme.outputs=wrinkle" in changes)


def test_one_codebook_for_both_kinds(chain: Path, tmp_path: Path) -> None:
    """The joint autoencoder learns from scans, and serves as either one of the two."""
    train("joint_vqgan", tmp_path / "joint", f"data.corpus={chain / 'corpus'}", *MAPS[:8], "model.patch=1")
    for kind in ("motion", "wrinkle"):
        (tmp_path / kind).symlink_to(tmp_path / "joint")
    parlante("encode", chain / "corpus", "--model", tmp_path, "-o", tmp_path / "latents", "-q")
    own = {"encoded": tmp_path / "latents", "motion": tmp_path / "joint", "wrinkle": tmp_path / "joint"}
    train("diffusion_paper", tmp_path / "run", *ingredients(chain, **{k: str(v) for k, v in own.items()}), *TOP)
    made = Talker.from_pretrained(tmp_path / "run")(str(chain / "line.wav"), identity="ID001")
    assert np.isfinite(made.vertices).all()


def test_the_small_autoencoders_learn_from_scans(chain: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Their start is computed from the scans, too, and what is for the embedded head alone is told."""
    sizes = ("model.img_size=8", "model.patch=2", "model.nf=8", "model.norm_groups=4", "model.codebook_size=16",
             "model.emb_dim=4", "data.batch=2", "data.start_maps=8", "loop.workers=0")  # fmt: skip
    for kind in ("motion", "wrinkle"):
        with caplog.at_level("WARNING", "parlante"):
            train(f"{kind}_vqgan", tmp_path / kind, f"data.corpus={chain / 'corpus'}", *sizes)
    assert "a corpus of scans; data.activity not used" in caplog.text
    assert "a corpus of scans; data.speech_share, data.focus, data.activity not used" in caplog.text
    figures = [json.loads((tmp_path / kind / "figures.json").read_text()) for kind in ("motion", "wrinkle")]
    assert figures[0]["mm_z"] < 1 and figures[1]["psnr_z"] > 25, "the start alone: the sheet moves by up to 5 mm"


@pytest.mark.parametrize(
    ("recipe", "told"),
    [("textalker/diffusion", "recipes/textalker/diffusion_paper.yaml"), ("motion_basis", "a basis of their own")],
)
def test_a_recipe_names_its_sibling_for_scans(
    recipe: str, told: str, chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(RECIPES.parent / f"{recipe}.yaml"), "--run", str(tmp_path / "run")]
    words += ["--set", f"data.corpus={chain / 'corpus'}"]
    if "diffusion" in recipe:
        for kind in ("motion", "wrinkle"):
            words += ["--set", f"data.{kind}={chain}/autoencoders/{kind}"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "meshes of its own" in said and told in said and "takes SynthTalk" in said
    assert not (tmp_path / "run").exists()
