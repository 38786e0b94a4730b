"""Curves from vertices: 10,000 frames of SynthTalk on the 52 shapes, against a bounded solver called frame by frame.

python benchmarks/curves.py --corpus corpora/synthtalk
"""

import argparse
import time

import numpy as np
from scipy.optimize import lsq_linear

from parlante.data.datasets.synthtalk import SynthTalk
from parlante.geometry.blendshape_solver import BlendshapeSolver
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES

NOISE_M = 1e-4
PIECE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, help="folder written by parlante synth")
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--baseline-frames", type=int, default=40)
    options = parser.parse_args()

    corpus = SynthTalk(options.corpus, "test_seen")
    head = load_head()
    identity = corpus[0].face
    shapes = head.shapes(identity)
    flat = shapes.reshape(len(shapes), -1)
    curves = np.concatenate([corpus[k].weights for k in range(len(corpus))])
    truth = np.resize(curves, (options.frames, len(ARKIT_NAMES)))

    solver = BlendshapeSolver(shapes)
    solver.solve(np.zeros((2, *shapes.shape[1:])))  # compiles
    for noise in (0.0, NOISE_M):
        solver.reset()
        rng = np.random.default_rng(0)
        cpu, wrong, distance, worst = 0.0, [], [], 0.0
        for start in range(0, len(truth), PIECE):
            rows = truth[start : start + PIECE]
            clean = (rows @ flat).reshape(len(rows), *shapes.shape[1:])
            offsets = clean + noise * rng.standard_normal(clean.shape, np.float32)
            begun = time.process_time()
            solved = solver.solve(offsets)
            cpu += time.process_time() - begun
            wrong.append(np.abs(solved - rows))
            away = np.linalg.norm((solved @ flat).reshape(clean.shape) - clean, axis=-1)
            distance.append(away.mean())
            worst = max(worst, float(away.max()))
        print(
            f"noise {1e3 * noise:.1f} mm: {len(truth)} frames in {cpu:.2f} CPU s; re-posed vertices off by mean "
            f"{1e3 * np.mean(distance):.4f} mm, worst {1e3 * worst:.3f} mm; weights off by mean "
            f"{np.concatenate(wrong).mean():.5f}, 99 % {np.quantile(np.concatenate(wrong), 0.99):.4f}"
        )
    ours = cpu / len(truth)

    matrix = flat.T.astype(np.float64)
    gram, frames = matrix.T @ matrix, np.linspace(0, len(truth) - 1, options.baseline_frames).astype(int)
    factor = np.linalg.cholesky(gram + 1e-12 * np.eye(len(gram)) * np.trace(gram)).T
    begun = time.process_time()
    for frame in frames:  # the same problem at its smallest: 52 x 52 after one projection
        goal = np.linalg.solve(factor.T, matrix.T @ (matrix @ truth[frame].astype(np.float64)))
        lsq_linear(factor, goal, (0, 1))
    small = (time.process_time() - begun) / len(frames)
    begun = time.process_time()
    few = frames[:3]
    for frame in few:
        lsq_linear(matrix, matrix @ truth[frame].astype(np.float64), (0, 1))
    whole = (time.process_time() - begun) / len(few)
    print(
        f"ours {1e3 * ours:.3f} CPU ms a frame; scipy lsq_linear {1e3 * small:.2f} on the reduced problem "
        f"({small / ours:.0f} times ours), {1e3 * whole:.0f} on all vertices ({whole / ours:.0f} times ours)"
    )


if __name__ == "__main__":
    main()
