"""`parlante render` from a saved animation to each kind of output."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from parlante.cli import main
from parlante.core import Animation
from parlante.export import save
from parlante.head import ARKIT_NAMES, load_head

FRAMES = 16


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = load_head()
    name = head.identity_names[0]
    weights = np.zeros((FRAMES, 52), np.float32)
    weights[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 0.6, FRAMES)
    neutral = head.neutral(name)
    animation = Animation(
        topology=head.topology,
        fps=30.0,
        neutral=neutral,
        vertices=neutral + np.einsum("tk,kvc->tvc", weights, head.shapes(name)),
        audio=np.sin(np.arange(FRAMES * 16000 // 30) * 0.1).astype(np.float32),
        sample_rate=16000,
        head_pose=0.05 * np.ones((FRAMES, 6), np.float32),
        albedo=np.full((64, 64, 3), (190, 150, 130), np.uint8),
    )
    path = tmp_path_factory.mktemp("render") / "talk.npz"
    save(animation, path)
    return path


def test_video_of_a_range(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.mp4"
    assert main(["render", str(talk), "-o", str(out), "--size", "64", "--frames", "4:12", "-q"]) == 0
    with av.open(str(out)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 8
    with av.open(str(out)) as file:
        assert file.streams.audio[0].duration == round(12 / 30 * 16000) - round(4 / 30 * 16000)


def test_sheet_and_single_picture(talk: Path, tmp_path: Path) -> None:
    sheet, one = tmp_path / "sheet.png", tmp_path / "one.png"
    assert main(["render", str(talk), "-o", str(sheet), "--size", "64", "-q"]) == 0
    assert main(["render", str(talk), "-o", str(one), "--size", "64", "--frames", "3:4", "--view", "20", "-q"]) == 0
    assert Image.open(one).size == (64, 64)
    width, height = Image.open(sheet).size
    assert width * height > 11 * 64 * 64


def test_folder(talk: Path, tmp_path: Path) -> None:
    assert main(["render", str(talk), "-o", f"{tmp_path}/frames/", "--size", "64", "--frames", "5:8", "-q"]) == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["000005.png", "000006.png", "000007.png"]


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "a.avi"],
        ["-o", "a.mp4", "--size", "65"],
        ["-o", "a.mp4", "--frames", "9"],
        ["-o", "a.mp4", "--frames", "9:9"],
    ],
)
def test_bad_requests_end_with_two(
    talk: Path, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render", str(talk), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
