"""A head of 200 vertices and a corpus of seconds, written in the real format."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from parlante.core import Identity, Topology


class TinyHead:
    """A flat grid with random smooth shapes."""

    def __init__(self, side: int = 14) -> None:
        u, v = np.meshgrid(np.linspace(0.05, 0.95, side), np.linspace(0.05, 0.95, side))
        uv = np.stack([u.ravel(), v.ravel()], -1).astype(np.float32)
        quad = np.arange(side * side).reshape(side, side)
        a, b, c, d = (q.ravel() for q in (quad[:-1, :-1], quad[:-1, 1:], quad[1:, 1:], quad[1:, :-1]))
        triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).astype(np.int32)
        lips = np.flatnonzero((np.abs(uv[:, 0] - 0.5) < 0.2) & (np.abs(uv[:, 1] - 0.3) < 0.1)).astype(np.int32)
        regions = {"lips": lips}
        marks = {"upper_lip_inner": int(lips[0]), "lower_lip_inner": int(lips[-1])}
        self.topology = Topology("tiny", len(uv), triangles, uv, triangles, regions, marks)
        self.neutral = np.concatenate([uv * 0.2, np.zeros((len(uv), 1), np.float32)], -1)
        rng = np.random.default_rng(0)
        centre, size = rng.uniform(0, 1, (52, 1, 2)), rng.uniform(0.1, 0.3, (52, 1))
        bump = np.exp(-(((uv - centre) ** 2).sum(-1)) / size**2)
        self._shapes = (bump[..., None] * rng.normal(0, 0.005, (52, 1, 3))).astype(np.float32)
        self.identity_names = ("ann", "bob", "cat")

    def identity(self, name: str) -> Identity:
        return Identity(name, self.topology, self.neutral)

    def shapes(self, name: str) -> np.ndarray:
        return self._shapes * (1 + 0.1 * self.identity_names.index(name))


class TinySkin:
    """Darkens the skin where it moves."""

    def __init__(self, head: TinyHead, name: str, size: int, depth: float) -> None:
        from parlante.geometry.uv import bake_table

        self.table, self.depth = bake_table(head.topology, size), depth

    def wrinkle(self, offsets: np.ndarray) -> np.ndarray:
        ratio = 1 - self.depth * 20 * np.linalg.norm(offsets, axis=-1, keepdims=True).repeat(3, -1)
        return np.tanh(self.table.bake_array(ratio.clip(0)) / 2)


def write_corpus(root: Path) -> Path:
    rng = np.random.default_rng(1)
    subjects, clips = [], []
    for name in TinyHead().identity_names:
        depth = float(rng.uniform(0.5, 1.5))
        subjects.append(
            {"name": name, "identity": name, "voice": "v", "manner": {"wrinkle_depth": depth}, "seen": True}
        )
        (root / "clips" / name).mkdir(parents=True)
        for number in range(4):
            frames = int(rng.integers(50, 90))
            beat = np.sin(np.arange(frames)[:, None] * rng.uniform(0.1, 0.6, 52) + rng.uniform(0, 6, 52))
            curves = (0.5 * np.maximum(beat, 0)).astype(np.float32)
            samples = frames * 16000 // 30
            audio = 3000 * rng.standard_normal(samples) * curves[:, 25].repeat(samples // frames + 1)[:samples]
            split = ("train", "train", "val", "test_seen")[number] if name != "cat" else "test_unseen"
            key = f"{name}/{number:03d}"
            np.savez(
                root / "clips" / f"{key}.npz",
                audio=audio.astype(np.int16),
                curves=curves,
                head_pose=np.zeros((frames, 6), np.float32),
                phone_symbols=np.zeros(1, np.int64),
                phone_times=np.array([[0, frames / 30]]),
            )
            row = {"key": key, "subject": name, "split": split, "text": "", "frames": frames, "samples": samples}
            clips.append(row)
    index = {"format": 1, "fps": 30, "sample_rate": 16000, "phones": ["sil"], "subjects": subjects, "clips": clips}
    (root / "index.json").write_text(json.dumps(index))
    return root


def arguments(recipe: str | None, out: Path, *changes: str, resume: Path | None = None) -> SimpleNamespace:
    """What the command line would give `parlante train`."""
    root = Path(__file__).parents[2]
    path = root / "recipes" / "textalker" / f"{recipe}.yaml" if recipe else None
    rest = {"keys": None, "describe": None, "run": None, "devices": None, "num_nodes": None, "overfit_one_clip": False}
    rest = {"train_subjects": (), "val_subjects": (), "test_subjects": (), **rest}
    return SimpleNamespace(recipe=path, set=list(changes), resume=resume, out=out, **rest)
