"""Reading windows from a clip store, beside memory-mapped `.npy` files of the same clips: python benchmarks/store.py

CPU seconds per window of 30 frames, as a ratio of the plain files'; the store's size as a share of theirs; and opening
an index of ten hours. Motion is smooth with 0.01 mm of noise, so sizes are those of real data only roughly.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from parlante.core import Clip
from parlante.data.contract import window
from parlante.data.meshes import bare_topology
from parlante.data.open import open_corpus
from parlante.data.store.writer import StoreWriter

FRAMES, WINDOW = 120, 30


def cpu_seconds(work: Callable[[int], object], count: int) -> float:
    """Of one call, the first one not counted."""
    work(0)
    start = time.process_time()
    for number in range(count):
        work(number)
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vertices", type=int, default=5023)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--windows", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root, plain = Path(folder) / "store", Path(folder) / "plain"
        plain.mkdir()
        topology = bare_topology("benchmark", options.vertices)
        writer = StoreWriter(root, dataset="benchmark", fps=30.0, unit="m", topology=topology)
        shape = rng.normal(0, 0.1, (options.vertices, 3)).astype(np.float32)
        for number in range(options.clips):
            sway = 0.01 * np.sin(np.arange(FRAMES) / 7)[:, None, None]
            noise = 1e-5 * rng.standard_normal((FRAMES, options.vertices, 3), np.float32)
            moving = (shape + sway + noise).astype(np.float32)
            audio = rng.normal(0, 0.1, 16000 * FRAMES // 30).astype(np.float32)
            writer.add(Clip(audio, 16000, moving, 30.0, "a", f"a_{number}"), "train")
            np.save(plain / f"{number}.npy", moving)
        writer.finish()
        corpus = open_corpus(root)
        starts = rng.integers(0, FRAMES - WINDOW, options.windows)

        def stored(number: int) -> object:
            return window(corpus[number % options.clips], int(starts[number]), WINDOW)

        def mapped(number: int) -> object:
            array = np.load(plain / f"{number % options.clips}.npy", mmap_mode="r")
            return np.array(array[starts[number] : starts[number] + WINDOW])

        slow, fast = cpu_seconds(stored, options.windows), cpu_seconds(mapped, options.windows)
        size = sum(p.stat().st_size for p in root.rglob("vertices/c/**/*") if p.is_file())
        share = size / sum(p.stat().st_size for p in plain.iterdir())
        index = json.loads((root / "store.json").read_text())
        index["clips"] = [{**index["clips"][0], "key": f"a_{k}"} for k in range(10 * 3600 * 30 // FRAMES)]
        (root / "store.json").write_text(json.dumps(index))
        opening = cpu_seconds(lambda _: open_corpus(root), 5)
        print(
            f"window of {WINDOW} frames of {options.vertices} vertices: {1e3 * slow:.1f} ms, {slow / fast:.1f} x .npy"
        )
        print(f"size: {share:.2f} of .npy")
        print(f"opening {len(index['clips'])} clips (10 hours): {opening:.3f} s, {opening / fast:.0f} windows of .npy")


if __name__ == "__main__":
    main()
