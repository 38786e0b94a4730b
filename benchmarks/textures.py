"""Full-size textures: ten frames as PNG, beside the plain way (bilinear enlargement, product, Pillow's PNG).

python benchmarks/textures.py --size 8192
The albedo is the embedded head's, enlarged, with grain, because real skin does not compress well. Quality is measured
against skin dynamics drawn at 2,048: how near an enlarged 256 map comes to them where skin moves.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.animation.textures import textures
from parlante.core import Animation
from parlante.core.options import TextureMaps
from parlante.export import save
from parlante.geometry.uv import Upsampler, apply_ratio
from parlante.geometry.uv.ratio import encode, ratio_from_bytes, to_bytes
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.model import load_head
from parlante.head.skin import paint_albedo
from parlante.head.skin_dynamics import SkinDynamics
from parlante.metrics import psnr

POSE = {
    "mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "browInnerUp": 0.9, "cheekSquintLeft": 0.7, "cheekSquintRight": 0.7,
    "noseSneerLeft": 0.5, "mouthFunnel": 0.2,
}  # fmt: skip


def smile(frames: int) -> NDArray[np.float32]:
    """(T, 52) from half to full expression."""
    weights = np.zeros((frames, 52), np.float32)
    for name, value in POSE.items():
        weights[:, ARKIT_NAMES.index(name)] = value * np.linspace(0.5, 1, frames)
    return weights


def plain(albedo: NDArray[np.uint8], stored: NDArray[np.uint8], path: Path) -> None:
    """What one would write in five lines."""
    ratio = ratio_from_bytes(stored)
    size = albedo.shape[1::-1]
    planes = [
        np.asarray(Image.fromarray(ratio[..., c]).resize(size, Image.Resampling.BILINEAR), np.float32) for c in range(3)
    ]
    coloured = np.clip(np.rint(albedo * np.stack(planes, -1)), 0, 255).astype(np.uint8)
    Image.fromarray(coloured).save(path, compress_level=1)


def megabytes() -> float:
    """Peak resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="PNG and the plain way only, no quality")
    options = parser.parse_args()
    head = load_head()
    name = head.identity_names[0]
    identity = head.identity(name)
    weights = smile(options.frames)
    offsets = np.tensordot(weights, head.shapes(name), 1).astype(np.float32)
    stored = to_bytes(SkinDynamics(head, name).wrinkle(offsets))
    rng = np.random.default_rng(0)
    own = paint_albedo(head, name, 1024)
    albedo = np.array(Image.fromarray(own).resize((options.size, options.size), Image.Resampling.LANCZOS))
    for row in range(0, options.size, 256):
        grain = rng.normal(0, 3, (*albedo[row : row + 256].shape[:2], 1))
        albedo[row : row + 256] = np.clip(albedo[row : row + 256] + grain, 0, 255)
    silent = np.zeros(int(16000 * options.frames / 30), np.float32)
    take = Animation(head.topology, 30.0, identity.neutral, identity.neutral + offsets, silent, 16000, wrinkle=stored)
    with tempfile.TemporaryDirectory() as folder:
        save(take, Path(folder) / "talk.npz")
        warm = Upsampler(albedo[:100, :100].copy(), stored.shape[1:3], head.topology)
        warm.apply(stored[0])
        figures: dict[str, float] = {"size": options.size, "frames": options.frames, "idle_mb": megabytes()}
        others = (("jpeg", {"jpeg": True}), ("all_maps", {"normal": True, "displacement": True}))
        for label, maps in (("png", {}), *(() if options.quick else others)):
            count = options.frames if label == "png" else 2
            wall, cpu = time.perf_counter(), time.process_time()
            textures(
                Path(folder) / "talk.npz", Path(folder) / label, albedo=albedo, frames=slice(0, count),
                maps=TextureMaps(jobs=options.jobs, **maps),
            )  # fmt: skip
            seconds, spent = time.perf_counter() - wall, time.process_time() - cpu
            figures |= {f"{label}_wall_s": seconds, f"{label}_cpu_s": spent, f"{label}_peak_mb": megabytes()}
            peak = megabytes()
            print(f"{label}: {count} frames and the weights: {seconds:.1f} s, CPU {spent:.1f} s, peak {peak:,.0f} MB")
        cpu = time.process_time()
        Upsampler(albedo, stored.shape[1:3], head.topology)
        figures["weights_cpu_s"] = time.process_time() - cpu
        wall, cpu = time.perf_counter(), time.process_time()
        plain(albedo, stored[-1], Path(folder) / "plain.png")
        figures |= {"plain_frame_cpu_s": time.process_time() - cpu, "plain_frame_wall_s": time.perf_counter() - wall}
        figures["plain_peak_mb"] = megabytes()
        sizes = [
            (Path(folder) / p).stat().st_size / 1e6 for p in (f"png/colour/{options.frames - 1:06d}.png", "plain.png")
        ]
    figures["frame_cpu_s"] = (figures["png_cpu_s"] - figures["weights_cpu_s"]) / options.frames
    print(
        f"a frame, CPU s: ours {figures['frame_cpu_s']:.2f} ({sizes[0]:.0f} MB), plain "
        f"{figures['plain_frame_cpu_s']:.2f} ({sizes[1]:.0f} MB); weights, once, {figures['weights_cpu_s']:.2f}"
    )
    del albedo
    for who in () if options.quick else head.identity_names[:4]:
        bend = np.tensordot(weights[-1:], head.shapes(who), 1).astype(np.float32)
        true = SkinDynamics(head, who, 2048).maps(bend)[0]
        skin = np.asarray(Image.fromarray(paint_albedo(head, who, 1024)).resize((2048, 2048), Image.Resampling.LANCZOS))
        picture = np.clip(np.rint(skin * true), 0, 255).astype(np.uint8)
        moving = np.abs(np.log(true)).max(-1) > 0.02
        small = encode(SkinDynamics(head, who).maps(bend)[0])
        ours = psnr(Upsampler(skin, (256, 256), head.topology).apply(small), picture, moving)
        bilinear = psnr(apply_ratio(skin, small), picture, moving)
        figures |= {f"{who}_db": ours, f"{who}_bilinear_db": bilinear}
        print(f"{who}: PSNR of moving skin at 2,048: ours {ours:.2f} dB, bilinear {bilinear:.2f} dB")
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
