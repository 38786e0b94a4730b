"""Frames per second of both renderers on the embedded head, anti-aliased, with a new wrinkle map and pose every frame.

    python benchmarks/render.py [--seconds 3] [--json render.json]

Prints a Markdown table. `CPU ms` is processor time per frame over all threads; fps falls on a busy machine.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from parlante.core import InputError
from parlante.head import ARKIT_NAMES, load_head
from parlante.render import Renderer


def measure(backend: str, size: int, wrinkled: bool, seconds: float) -> dict[str, object] | None:
    """One row of the table, or none where this backend does not run."""
    head = load_head()
    name = head.identity_names[0]
    neutral, shapes = head.neutral(name), head.shapes(name)
    rng = np.random.default_rng(0)
    albedo = rng.integers(90, 200, (1024, 1024, 3), dtype=np.uint8)
    wrinkles = rng.integers(108, 128, (8, 256, 256, 3), dtype=np.uint8)
    jaw = shapes[ARKIT_NAMES.index("jawOpen")]
    try:
        renderer = Renderer(head.topology, neutral, size=size, albedo=albedo, backend=backend)  # type: ignore[arg-type]
    except InputError:
        return None
    with renderer:
        frames, cpu, start, best = -3, 0.0, 0.0, float("inf")
        while frames < 5 or time.perf_counter() - start < seconds:
            if frames == 0:
                cpu, start = time.process_time(), time.perf_counter()
            before = time.perf_counter()
            phase = 0.2 * frames
            renderer.draw(
                neutral + np.float32(0.3 + 0.3 * np.sin(phase)) * jaw,
                wrinkle=wrinkles[frames % 8] if wrinkled else None,
                head_pose=[0.05 * np.sin(phase), 0.1 * np.cos(phase), 0, 0, 0, 0],
            )
            best = min(best, time.perf_counter() - before)
            frames += 1
        wall, busy = time.perf_counter() - start, time.process_time() - cpu
    return {
        "renderer": renderer.backend,
        "size": size,
        "wrinkles": wrinkled,
        "fps": round(frames / wall, 1),
        "best_fps": round(1 / best, 1),
        "cpu_ms": round(1000 * busy / frames, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row (default 3)")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    rows = [
        row
        for backend in ("gl", "soft")
        for size in (512, 1024)
        for wrinkled in (False, True)
        if (row := measure(backend, size, wrinkled, options.seconds)) is not None
    ]
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}\n")
    print("| renderer | size | wrinkles | fps | best fps | CPU ms |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "load": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
