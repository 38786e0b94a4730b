"""A TexTalk4D of some kilobytes in the published layout: a curved sheet that moves, a picture that changes."""

import wave
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, COLUMNS = 9, 11
SIZE = 16
"""Side of the pictures."""


def sheet(person: int) -> np.ndarray:
    """(V, 3) neutral vertices of a person, in the dataset's units."""
    v, u = np.mgrid[0:ROWS, 0:COLUMNS] / [[[ROWS - 1]], [[COLUMNS - 1]]]
    return np.stack([u - 0.5, v - 0.5, (0.3 + 0.05 * person) * np.cos(2 * (u - 0.5))], -1).reshape(-1, 3)


def offsets(person: int, frame: int) -> np.ndarray:
    """(V, 3) of a frame from 0; the first stands still."""
    place = sheet(person)
    swing = 0.05 * np.sin(0.3 * frame)
    return swing * np.stack([place[:, 1], np.cos(3 * place[:, 0]), place[:, 0]], -1)


def obj(vertices: np.ndarray, ending: str = "\n") -> str:
    """The sheet as an OBJ: quads, and two triangles."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [
        f"vt {0.05 + 0.9 * u / (COLUMNS - 1):.6f} {0.05 + 0.9 * v / (ROWS - 1):.6f}"
        for v in range(ROWS)
        for u in range(COLUMNS)
    ]
    for row in range(ROWS - 1):
        for column in range(COLUMNS - 1):
            a = row * COLUMNS + column + 1
            corners = (a, a + 1, a + 1 + COLUMNS, a + COLUMNS)
            faces = [corners] if (row, column) != (0, 0) else [corners[:3], (corners[0], *corners[2:])]
            lines += ["f " + " ".join(f"{k}/{k}" for k in face) for face in faces]
    return ending.join([*lines, ""])


def skin(person: int, frame: int) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8."""
    base = np.random.default_rng(person).integers(60, 200, (SIZE, SIZE, 3))
    return np.clip(np.rint(base * (1 + 0.15 * np.sin(0.3 * frame))), 0, 255).astype(np.uint8)


def write_wav(path: Path, samples: int, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = (8000 * np.sin(np.arange(samples) * 0.05)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())


def write_person(root: Path, name: str, person: int, frames: int, *, textures: bool = True) -> Path:
    """One identity's folder, whole."""
    folder = root / name
    for number in range(1, frames + 1):
        mesh = folder / "Models" / f"{number:06d}" / "face_aligned.obj"
        mesh.parent.mkdir(parents=True)
        mesh.write_text(obj(sheet(person) + offsets(person, number - 1)))
        if textures:
            picture = folder / "Textures_512" / f"{number:06d}" / "face.png"
            picture.parent.mkdir(parents=True)
            Image.fromarray(skin(person, number - 1)).save(picture)
    write_wav(folder / "Records" / "enhanced_vocal.wav", -(-frames * 16000 // 30))
    return folder


def pack(source: Path, target: Path, **options: object) -> Path:
    """`source` as `parlante prepare textalk4d` packs it."""
    import pytest

    pytest.importorskip("zarr")
    from parlante.data.prepare import write_store
    from parlante.data.registry import dataset

    write_store(dataset("textalk4d").read(source, options=options), target, options=options)
    return target


def write_miniature(root: Path, frames: int = 12, names: tuple[str, ...] = ("ID001", "ID002", "ID005")) -> Path:
    """The published layout with a few identities."""
    for person, name in enumerate(names):
        write_person(root, name, person, frames)
    return root
