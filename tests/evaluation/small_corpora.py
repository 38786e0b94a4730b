"""Corpora of kilobytes: SynthTalk on the embedded head, and a folder of arrays in the published layout."""

import json
import wave
from pathlib import Path

import numpy as np

from parlante.head.arkit import INDEX

PEOPLE = ("abena", "hugo")


def write_synthtalk(root: Path, frames: int = 16) -> Path:
    """Two speakers whose jaws move at their own rates: three clips to train on, two more; a third is unseen."""
    rng = np.random.default_rng(3)
    subjects, clips = [], []
    for place, name in enumerate((*PEOPLE, "zola")):
        manner = {"wrinkle_depth": 0.8 + 0.2 * place}
        subjects.append({"name": name, "identity": name, "voice": "v", "manner": manner, "seen": name in PEOPLE})
        (root / "clips" / name).mkdir(parents=True)
        for number in range(5):
            time = np.arange(frames) / 30
            curves = np.zeros((frames, 52), np.float32)
            curves[:, INDEX["jawOpen"]] = (0.25 + 0.1 * place) * (1 + np.sin(2 * np.pi * (2 + place) * time + number))
            curves[:, INDEX["browInnerUp"]] = 0.4 * np.abs(np.sin(3 * time + number))
            samples = frames * 16000 // 30
            loud = np.interp(np.arange(samples) / 16000, time, curves[:, INDEX["jawOpen"]])
            key = f"{name}/{number:03d}"
            np.savez(
                root / "clips" / f"{key}.npz",
                audio=(9000 * loud * rng.standard_normal(samples)).clip(-30000, 30000).astype(np.int16),
                curves=curves,
                head_pose=np.zeros((frames, 6), np.float32),
                phone_symbols=np.array([0, 1, 2]),
                phone_times=np.array([[0, 0.2], [0.2, 0.3], [0.3, frames / 30]]),
            )
            split = "test_unseen" if name not in PEOPLE else "train" if number < 3 else "test_seen"
            row = {"key": key, "subject": name, "split": split, "text": "", "frames": frames, "samples": samples}
            clips.append(row)
    index = {"format": 1, "fps": 30, "sample_rate": 16000, "phones": ["sil", "p", "aa"]}
    (root / "index.json").write_text(json.dumps(index | {"subjects": subjects, "clips": clips}))
    return root


def write_layout(root: Path, subjects: tuple[str, ...], count: int, fps: int, clips: int, frames: int = 12) -> Path:
    """`vertices_npy/`, `wav/`, `templates.npz`; sentences are e37, e38, ..."""
    rng = np.random.default_rng(5)
    (root / "vertices_npy").mkdir(parents=True)
    (root / "wav").mkdir()
    templates = {}
    for name in subjects:
        templates[name] = rng.normal(0, 0.05, (count, 3)).astype(np.float32)
        for number in range(clips):
            motion = templates[name] + rng.normal(0, 1e-3, (frames + number, count, 3))
            np.save(
                root / "vertices_npy" / f"{name}_e{37 + number}.npy", motion.astype(np.float32).reshape(len(motion), -1)
            )
            samples = len(motion) * 16000 // fps
            with wave.open(str(root / "wav" / f"{name}_e{37 + number}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(16000)
                file.writeframes((4000 * rng.standard_normal(samples)).astype("<i2").tobytes())
    np.savez(root / "templates.npz", **templates)
    return root


def write_predictions(folder: Path, data: Path, noise: float, suffixes: tuple[str, ...] = ("",)) -> Path:
    """Predictions of every clip of a published layout: the truth and noise."""
    rng = np.random.default_rng(9)
    folder.mkdir()
    for path in sorted((data / "vertices_npy").glob("*.npy")):
        truth = np.load(path)
        for suffix in suffixes:
            np.save(folder / f"{path.stem}{suffix}.npy", truth + rng.normal(0, noise, truth.shape).astype(np.float32))
    return folder
