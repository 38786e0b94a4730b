"""Pages whose commands and Python run, in their order, in a folder of small files: what a reader would type first."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="training needs parlante[train]")
pytest.importorskip("zarr", reason="clip stores need parlante[train]")
pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")

import transformers
from documented import ROOT, commands_in
from miniature import SIZE, write_miniature, write_wav
from toy_files import (
    FLAME,
    HIDDEN,
    face,
    motion,
    write_biwi,
    write_mead,
    write_multiface,
    write_predictions,
    write_published,
    write_recordings,
    write_templates,
    write_vocaset,
)
from toy_textalker import write_textalker

from parlante.cli import main
from parlante.core import Animation
from parlante.data.meshes import bare_topology
from parlante.export import save

TRAINING = [
    "loop.max_steps=2", "loop.warmup=1", "loop.threads=1", "scheme.batch=1", "scheme.check_clips=1",
    "data.num_augmentations=0", "data.rows=4", "data.cache=cache",
]  # fmt: skip
ADDED = {
    "animate": "--size 64 -q",
    "evaluate": "--clips 1 --textures 0 --no-video --show 0 --no-baselines",
    "prepare": "-q",
    "train": " ".join(f"--set {change}" for change in TRAINING),
}
"""What is added to commands so that they end within seconds; nothing else differs from the page."""
PUBLISHED = re.compile(r"recipes/\w+/(vocaset|biwi|mead|own)")
IN_VERTICES = {
    "": ["loop.max_steps=1", "loop.threads=1", "loop.accelerator=cpu", "model.width=16", "model.layers=1"],
    "_stage1": ["model.heads=2", "model.hidden=16", "model.groups=2", "model.code_dim=8", "model.codes=16"],
    "ptalker": ["model.motion_layers=1", "model.motion_convolutions=1"],
    "facediffuser": ["model.steps=3", "data.frozen_layers=1"],
}
"""The same for recipes of the published sizes, by a word in the command."""
TEXTALKER = {
    "train recipes/textalker/": ["loop.accelerator=cpu", "loop.threads=1", "loop.max_steps=2", "loop.warmup=1"],
    "_vqgan_paper": [f"model.img_size={SIZE}", "model.nf=8", "model.ch_mult=[1,2]", "model.res_blocks=1",
                     "model.attn_resolutions=[]", "model.norm_groups=4", "model.codebook_size=16", "model.emb_dim=4",
                     "data.batch=2", "loss.discriminator_width=8", "loss.discriminator_layers=1",
                     "loss.autocast=false"],
    "diffusion_paper": ["model.width=16", "model.layers=1", "model.frames=8", "model.previous=3", "model.steps=20",
                        "inference.steps=2", "inference.overlap=2", "scheme.batch=2", "scheme.check_items=2"],
}  # fmt: skip
"""The same for TexTalker."""

GUIDES = ("docs/guides/researcher.md", "docs/guides/engineer.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands are typed: a recording, and the recipes."""
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "line.wav", 8000)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return tmp_path


@pytest.fixture
def published(folder: Path) -> Path:
    """Datasets and released files."""
    write_vocaset(folder / "VOCASET")
    write_biwi(folder / "BIWI")
    write_mead(folder / "MEAD-3D", folder / "MEAD")
    write_multiface(folder / "multiface")
    write_recordings(folder / "recordings")
    write_miniature(folder / "TexTalkData", frames=70, names=("ID001", "ID002", "ID003"))
    write_templates(folder)
    write_published(folder)
    write_textalker(folder)
    write_predictions(folder / "result")
    rest = face(FLAME)
    clip = Animation(
        topology=bare_topology("flame", FLAME), fps=30.0, neutral=rest, vertices=motion(FLAME, 40, 0, 1),
        audio=0.1 * motion(100, 213, 0, 1)[:, :, 0].ravel(), sample_rate=16000,
    )  # fmt: skip
    save(clip, "clip.npz")
    sizes = transformers.Wav2Vec2Config(
        hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    for name in (
        "facebook/wav2vec2-base-960h",
        "facebook/hubert-large-ls960-ft",
        "facebook/hubert-base-ls960",
        "wav2emo",
        "TencentGameMate/chinese-hubert-base",
    ):
        transformers.Wav2Vec2Model(sizes).save_pretrained(folder / name)
    return folder


def run(page: str, added: dict[str, str], leave: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> int:
    """Run the commands of a page, in its order; how many there were. `leave`: beginnings of those that are left out."""
    ran = 0
    for shown in commands_in(ROOT / "docs" / page):
        line = " ".join(shown.words)
        if line.startswith(leave) or not shown.whole:
            continue
        more = shlex.split(added.get(shown.words[0], ""))
        if "recipes/textalker/" in line:
            changes = [change for word, them in TEXTALKER.items() if word in line for change in them]
            more = ["--devices", "1", *(part for change in changes for part in ("--set", change))]
        if line.startswith("encode corpora/textalk4d"):  # as the page says: the exports of the two trainings
            for kind in ("motion", "wrinkle"):
                shutil.copytree(f"runs/{kind}_vqgan-001/export", f"autoencoders/{kind}")
        if PUBLISHED.search(line):
            changes = [change for word, them in IN_VERTICES.items() if word in line for change in them]
            changes += [] if "_stage1" in line else ["test.clips=[]"]
            more = [part for change in changes for part in ("--set", change)]
        code = main([*shown.words, *more])
        assert code == 0, f"{shown.place}: parlante {line}\n{capsys.readouterr().err}"
        ran += 1
    return ran


def test_coming_from(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("guides/coming-from.md", ADDED, (), capsys) >= 46


def test_first_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added = {"animate": "--size 64 -q", "export": "-q", "render": "-q"}
    assert run("start/first-result.md", added, (), capsys) == 8
    assert (folder / "line.mp4").is_file() and (folder / "line.csv").is_file()


def test_first_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added = {**ADDED, "synth": "--seed 1", "check": "--jobs 1"}
    assert run("start/first-training.md", added, (), capsys) == 6
    assert (folder / "report" / "report.html").is_file()


@pytest.mark.parametrize("page", ["README.md", "docs/start/first-result.md", *GUIDES])
def test_python(page: str, folder: Path) -> None:
    """The Python of a page runs, each block by itself."""
    (folder / "assets").mkdir()
    shutil.copy(folder / "line.wav", folder / "assets" / "demo.wav")
    found = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    for block in found:
        exec(compile(block, page, "exec"), {})
