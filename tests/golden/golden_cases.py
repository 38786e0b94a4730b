"""Eight short animations through the command line, and all that they are made of.

Only the command line is used, and files that it wrote: what stands behind it may be rewritten. What is recorded of
them may change only in a commit that says why.
"""

import wave
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from parlante.cli import main

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "assets" / "demo.wav"
RATE = 16000
CENTIMETRES = 100.0
"""Per metre: the unit of the mesh that stands for somebody's own character."""


@dataclass(frozen=True)
class Case:
    """One animation: the arguments of `parlante animate`, where `{checkpoint}` and `{mesh}` stand for made files."""

    name: str
    arguments: str
    start: float = 0.0
    """Seconds of assets/demo.wav where the speech starts."""
    seconds: float = 1.2

    @property
    def needs_transformers(self) -> bool:
        """Converted checkpoints of the field hear through a speech network of that library."""
        return "{checkpoint}" in self.arguments


CASES = (
    Case("textalker-mixture-24", "--model textalker --identity amara --style mateo:0.7,giulia:0.3 --seed 3 --fps 24"),
    Case(
        "textalker-strengths-60",
        "--model textalker --identity chen --motion-style hana --wrinkle-style omar --motion-strength 1.3 "
        "--wrinkle-strength 1.6 --seed 11 --fps 60 --life blinks,gaze,head:0.5",
        start=6.1,
        seconds=1.0,
    ),
    Case("faceformer-named-30", "--model faceformer --identity chen --style ravi --seed 1", seconds=1.5),
    Case(
        "talkingstyle-exaggerated-60", "--model talkingstyle --identity amara --style moana:1.5 --fps 60", seconds=1.0
    ),
    Case("ptalker-mixture-24", "--model ptalker --identity chen --style hana:0.6,omar:0.4 --seed 2 --fps 24"),
    Case("facediffuser-named-30", "--model facediffuser --identity amara --style kofi --seed 5 --no-liveliness"),
    Case(
        "character-textalker-30",
        "--model textalker --character {mesh} --parts none --style giulia --seed 4",
        seconds=1.0,
    ),
    Case("converted-mixture-25", "--model {checkpoint} --style Ann:0.7,Bo:0.3 --fps 25"),
)
"""Few people: the skin of a new one takes a second to paint."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads of torch, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Workshop:
    """A folder where the cases are made; what several of them need is made once, when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, case: Case) -> Path:
        """Run the command of one case and return its .npz."""
        out = self.folder / f"{case.name}.npz"
        made = {}
        if "{mesh}" in case.arguments:
            made["{mesh}"] = str(self.mesh)
        if "{checkpoint}" in case.arguments:
            made["{checkpoint}"] = str(self.checkpoint)
        words = [made.get(word, word) for word in case.arguments.split()]
        command("animate", self.speech(case.start, case.seconds), *words, "-q", "-o", out)
        return out

    def speech(self, start: float, seconds: float) -> Path:
        """A stretch of the demo recording as a file of its own."""
        path = self.folder / f"speech-{start}-{seconds}.wav"
        with wave.open(str(DEMO)) as demo, wave.open(str(path), "wb") as cut:
            assert demo.getframerate() == RATE and demo.getsampwidth() == 2 and demo.getnchannels() == 1
            demo.setpos(round(start * RATE))
            cut.setparams(demo.getparams())
            cut.writeframes(demo.readframes(round(seconds * RATE)))
        return path

    @cached_property
    def mesh(self) -> Path:
        """Somebody's own mesh: the front of our head with other triangles, z up, in centimetres, .obj.

        The head is read from an animation, so that this needs nothing but the command line.
        """
        source = self.folder / "head.npz"
        who = ("--model", "faceformer", "--identity", "mateo", "--no-texture", "-q")
        command("animate", self.speech(0.0, 0.2), *who, "-o", source)
        with np.load(source, allow_pickle=False) as head:
            neutral, triangles = head["neutral"], head["triangles"]
            skin, neck = head["region_skin"], head["region_neck"]
        front = np.isin(triangles, skin).all(1) & ~np.isin(triangles, neck).any(1)
        front &= (neutral[triangles, 2] > 0.0).any(1)
        used = np.unique(triangles[front])
        vertices, kept = _split(neutral[used].astype(np.float64), np.searchsorted(used, triangles[front]))
        turned = CENTIMETRES * vertices[:, [2, 0, 1]] + (3.0, -2.0, 150.0)
        lines = ["v {:.6f} {:.6f} {:.6f}".format(*row) for row in turned]
        lines += ["f {} {} {}".format(*row) for row in kept + 1]
        path = self.folder / "mesh.obj"
        path.write_text("\n".join(lines) + "\n")
        return path

    @cached_property
    def checkpoint(self) -> Path:
        """A small FaceFormer in its authors' layout, converted: three speakers on a patch of 30 vertices."""
        vertices, triangles = _patch()
        lines = ["v {:.6f} {:.6f} {:.6f}".format(*row) for row in vertices]
        lines += ["f {} {} {}".format(*row) for row in triangles + 1]
        (self.folder / "patch.obj").write_text("\n".join(lines) + "\n")
        torch.save(published_faceformer(len(vertices)), self.folder / "published.pth")
        out = self.folder / "converted"
        options = ["--rate", "aligned", "--fps", "30", "--subjects", "Ann,Bo,Cleo", "--set", "speech.heads=2"]
        command("convert", "faceformer", self.folder / "published.pth", "-o", out, *options,
                "--topology", self.folder / "patch.obj")  # fmt: skip
        return out


def command(*words: str | Path) -> None:
    """Run a command in this process. Raises RuntimeError where it fails."""
    arguments = [str(word) for word in words]
    code = main(arguments)
    if code:
        raise RuntimeError(f"parlante {' '.join(arguments)} ended with {code}")


def _split(vertices: NDArray[np.float64], triangles: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """Every third triangle gets a vertex in its middle, and all vertices another order: the same surface."""
    cut, whole = triangles[::3], np.delete(triangles, np.s_[::3], axis=0)
    middle = len(vertices) + np.arange(len(cut))
    a, b, c = cut.T
    parts = [np.stack(corners, 1) for corners in ((a, b, middle), (b, c, middle), (c, a, middle))]
    vertices = np.concatenate([vertices, vertices[cut].mean(1)])
    order = np.argsort((np.arange(len(vertices)) * 7919) % 1000003, kind="stable")
    place = np.argsort(order, kind="stable")
    return vertices[order], place[np.concatenate([whole, *parts])]


def _patch() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A curved patch as large as a face: vertices (30, 3) in metres and triangles (40, 3)."""
    columns, rows = 5, 6
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.06, 0.06, columns), np.linspace(-0.08, 0.08, rows)))
    corners = [row * columns + column for row in range(rows - 1) for column in range(columns - 1)]
    a = np.array(corners)
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    )
    return np.stack([x, y, 0.1 - 4.0 * x**2 - 2.0 * y**2], 1), triangles


# -- a checkpoint of the field


def published_faceformer(vertices: int) -> dict[str, torch.Tensor]:
    """The tensors of a small FaceFormer as its authors' code saves them; a name alone decides its values."""
    width, hear, hidden, speakers, period = 8, 8, 16, 3, 30
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str, size: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size,), (size,)

    linear("audio_feature_map", width, hear)
    linear("vertice_map", width, 3 * vertices)
    linear("vertice_map_r", 3 * vertices, width)
    shapes["obj_vector.weight"] = (width, speakers)
    decoder = "transformer_decoder.layers.0"
    for attention in ("self_attn", "multihead_attn"):
        shapes[f"{decoder}.{attention}.in_proj_weight"] = (3 * width, width)
        shapes[f"{decoder}.{attention}.in_proj_bias"] = (3 * width,)
        linear(f"{decoder}.{attention}.out_proj", width, width)
    linear(f"{decoder}.linear1", hidden, width)
    linear(f"{decoder}.linear2", width, hidden)
    for number in (1, 2, 3):
        norm(f"{decoder}.norm{number}", width)
    _speech_network("audio_encoder", shapes, hear, linear, norm)
    state = {name: _drawn(name, shape, vertices) for name, shape in shapes.items()}
    frame = np.arange((600 // period + 1) * period) % period
    angle = frame[:, None] * np.exp(np.arange(0, width, 2) * -(np.log(10000.0) / width))
    state["PPE.pe"] = torch.tensor(np.stack([np.sin(angle), np.cos(angle)], -1).reshape(1, len(frame), width)).float()
    return state


def _speech_network(stem: str, shapes: dict[str, tuple[int, ...]], width: int, linear, norm) -> None:
    """Names and shapes of a wav2vec 2.0 of one layer."""
    shapes[f"{stem}.masked_spec_embed"] = (width,)
    for number, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
        shapes[f"{stem}.feature_extractor.conv_layers.{number}.conv.weight"] = (4, 4 if number else 1, kernel)
    norm(f"{stem}.feature_extractor.conv_layers.0.layer_norm", 4)
    norm(f"{stem}.feature_projection.layer_norm", 4)
    linear(f"{stem}.feature_projection.projection", width, 4)
    position = f"{stem}.encoder.pos_conv_embed.conv"
    shapes |= {f"{position}.bias": (width,), f"{position}.weight_g": (1, 1, 4), f"{position}.weight_v": (width, 4, 4)}
    norm(f"{stem}.encoder.layer_norm", width)
    layer = f"{stem}.encoder.layers.0"
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        linear(f"{layer}.attention.{name}", width, width)
    norm(f"{layer}.layer_norm", width)
    linear(f"{layer}.feed_forward.intermediate_dense", 12, width)
    linear(f"{layer}.feed_forward.output_dense", width, 12)
    norm(f"{layer}.final_layer_norm", width)


def _drawn(name: str, shape: tuple[int, ...], vertices: int) -> torch.Tensor:
    """Weights that let signals through: norms near 1, motion of some mm that is fed back as numbers near 1."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen for ever
    values = draw.standard_normal(shape)
    if len(shape) > 1:
        values /= np.sqrt(np.prod(shape[1:]))
    if name.startswith("vertice_map."):
        values *= 100.0 if len(shape) > 1 else 0.1
    elif name.startswith("vertice_map_r."):
        values *= 0.004
    elif "norm" in name and name.endswith("weight"):
        values = 1.0 + 0.2 * values
    elif len(shape) == 1:
        values *= 0.2
    elif name.endswith("weight_g"):
        values = 1.0 + np.abs(values)
    return torch.tensor(values, dtype=torch.float32)
