"""Full-size textures on disk: what is written reads back, in every form, whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parlante.animation.textures import textures
from parlante.cli import main
from parlante.core import Animation, InputError
from parlante.core.options import TextureMaps
from parlante.export import save
from parlante.export.png import PngWriter, adler32_combine, compress_stripe
from parlante.export.textures import DISPLACEMENT_RANGE_MM, metres_per_uv
from parlante.geometry.uv import Upsampler
from parlante.geometry.uv.upsample import relief
from parlante.render.shading import BUMP


@pytest.fixture
def file(animation: Animation, tmp_path: Path) -> Path:
    path = tmp_path / "talk.npz"
    save(animation, path)
    return path


@pytest.mark.parametrize("shape, kind", [((70, 50, 3), np.uint8), ((70, 51), np.uint8), ((33, 20), np.uint16)])
def test_striped_png_reads_back(tmp_path: Path, shape: tuple[int, ...], kind: type) -> None:
    pixels: Any = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind)
    with PngWriter(tmp_path / "a.png", (shape[0], shape[1]), 3 if len(shape) == 3 else 1, 8 * pixels.itemsize) as file:
        for start in range(0, len(pixels), 16):
            file.write(compress_stripe(pixels[start : start + 16]))
    with Image.open(tmp_path / "a.png") as picture:
        picture.verify()
    assert (np.asarray(Image.open(tmp_path / "a.png")) == pixels).all()


def test_check_sums_combine() -> None:
    import zlib

    data = bytes(range(256)) * 300
    for cut in (0, 1, 70000, len(data)):
        combined = adler32_combine(zlib.adler32(data[:cut]), zlib.adler32(data[cut:]), len(data) - cut)
        assert combined == zlib.adler32(data)


def test_folder(animation: Animation, file: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    maps = TextureMaps(normal=True, displacement=True, depth=2.0)
    done = lambda total: lambda: calls.append(total)  # noqa: E731
    textures(file, tmp_path / "out", size=200, frames=slice(3, 6), maps=maps, progress=done)
    assert calls == [3, 3, 3]
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        *(f"{kind}/00000{n}.png" for kind in ("colour", "displacement", "normal") for n in (3, 4, 5)),
        "textures.json",
    ]
    assert animation.albedo is not None and animation.wrinkle is not None
    large = np.asarray(Image.fromarray(animation.albedo).resize((200, 200), Image.Resampling.LANCZOS))
    up = Upsampler(large, (16, 16), animation.topology)
    assert (np.asarray(Image.open(tmp_path / "out/colour/000004.png")) == up.apply(animation.wrinkle[4])).all()
    height_mm = 1000 * 2 * BUMP * relief(up.frame(animation.wrinkle[4]).ratio(0, 200))
    stored = np.asarray(Image.open(tmp_path / "out/displacement/000004.png")).astype(float)
    np.testing.assert_allclose((stored - 32768) / 32767 * DISPLACEMENT_RANGE_MM, height_mm, atol=4e-5)
    normal = np.asarray(Image.open(tmp_path / "out/normal/000004.png")).astype(float)
    texel = 1000 * metres_per_uv(animation.topology, animation.neutral) / 200
    slope = -np.gradient(height_mm, axis=1)[1:-1, 1:-1] / texel
    unit = (normal / 127.5 - 1)[1:-1, 1:-1]
    np.testing.assert_allclose(unit[..., 0] / unit[..., 2], slope, atol=0.03 * (1 + slope.max() ** 2))
    facts = json.loads((tmp_path / "out/textures.json").read_text())
    assert facts["width"] == 200 and facts["texel_mm"][0] == pytest.approx(texel)


def test_unmoved_frames_are_the_albedo(animation: Animation, tmp_path: Path) -> None:
    rest = replace(animation, wrinkle=np.full_like(animation.wrinkle, 118))
    save(rest, tmp_path / "rest.npz")
    face = np.random.default_rng(5).integers(0, 256, (150, 90, 3), np.uint8)
    Image.fromarray(face).save(tmp_path / "face.png")
    command = ["texture", str(tmp_path / "rest.npz"), "--albedo", str(tmp_path / "face.png"), "-q"]
    assert main([*command, "-o", str(tmp_path / "out"), "--frames", "0:2", "--normal", "--displacement"]) == 0
    assert (np.asarray(Image.open(tmp_path / "out/colour/000001.png")) == face).all()
    assert (np.asarray(Image.open(tmp_path / "out/normal/000001.png")) == (128, 128, 255)).all()
    assert (np.asarray(Image.open(tmp_path / "out/displacement/000001.png")) == 32768).all()


def test_jpeg_video_and_resume(file: Path, tmp_path: Path) -> None:
    maps = TextureMaps(jpeg=True, jobs=2)
    textures(file, tmp_path / "jpeg", size=128, maps=maps)
    pictures = sorted((tmp_path / "jpeg/colour").iterdir())
    assert len(pictures) == 20 and Image.open(pictures[7]).size == (128, 128)
    pictures[3].unlink()
    before = pictures[4].stat().st_mtime_ns
    textures(file, tmp_path / "jpeg", size=128, maps=replace(maps, resume=True))
    assert pictures[3].exists() and pictures[4].stat().st_mtime_ns == before
    textures(file, tmp_path / "texture.mp4", size=128, frames=slice(0, 10))
    import av

    with av.open(str(tmp_path / "texture.mp4")) as video:
        assert video.streams.video[0].frames == 10 and len(video.streams.audio) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--size", "9000", "-o", "x"], "9000"),
        (["--size", "8192", "-o", "x.mp4"], "folder"),
        (["--albedo", "none.png", "-o", "x"], "no such file: none.png"),
        (["-o", "x.bmp"], "x.bmp"),
        (["-o", "x", "--frames", "30:40"], "30"),
        (["-o", "x", "--frames", "one"], "30:90"),
        (["-o", "x", "--depth", "nan"], "--depth: got 'nan', wanted a number"),
        (["-o", "full"], "--resume"),
        (["-o", "x.mp4", "--normal"], "folder"),
    ],
)
def test_what_cannot_be_written_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(file.parent)
    Path("full").mkdir()
    Path("full/a.txt").write_text("mine")
    assert main(["texture", "talk.npz", "-q", "--size", "64", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x").exists() and not Path("x.mp4").exists()


def test_an_animation_without_wrinkles(animation: Animation, tmp_path: Path) -> None:
    save(replace(animation, wrinkle=None), tmp_path / "bare.npz")
    with pytest.raises(InputError, match="parlante wrinkles"):
        textures(tmp_path / "bare.npz", tmp_path / "out")


def test_a_failure_leaves_no_half_picture(file: Path, tmp_path: Path) -> None:
    def stop(total: int) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        textures(file, tmp_path / "out", size=64, progress=lambda total: lambda: stop(total))
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).verify()
    assert not list((tmp_path / "out").rglob("*.part*"))
