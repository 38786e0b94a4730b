"""What autoregressive decoding costs: the published loop against caches and a folded feedback, same random weights.

python benchmarks/decoding.py [--quick] [--threads 2]

The published loop decodes the whole prefix to vertices again for every frame, so it is measured up to T = 600 only,
where the released code ends too (`--quick`: shorter still). Times are processor seconds over all threads; the
last line is JSON.
"""

import argparse
import json
import math
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from parlante.models.blocks.causal import periodic_positions
from parlante.models.blocks.feedback import FeedbackModel
from parlante.models.faceformer import FaceFormer, FaceFormerConfig
from parlante.models.talkingstyle import TalkingStyle, TalkingStyleConfig

SIZES: dict[str, dict[str, Any]] = {
    "vocaset": {"motion_dim": 15069, "width": 64, "period": 30, "steps_per_frame": 1, "subjects": 8},
    "biwi": {"motion_dim": 70110, "width": 128, "period": 25, "steps_per_frame": 2, "subjects": 6},
}
FPS = {"vocaset": 30.0, "biwi": 25.0}
WANTED = {"vocaset": 50.0, "biwi": 60.0}


def build(family: str, size: str) -> FeedbackModel:
    """A model of the released size with random weights everywhere."""
    torch.manual_seed(0)
    sizes = SIZES[size]
    model: FeedbackModel = (
        FaceFormer(FaceFormerConfig(**sizes)) if family == "faceformer" else TalkingStyle(TalkingStyleConfig(**sizes))
    )
    torch.nn.init.normal_(model.decode.weight, std=0.02)
    return model.eval()


@torch.no_grad()
def plain(model: FeedbackModel, features: Tensor, code: Tensor) -> Tensor:
    """The published loop, written again: decode the prefix, encode its last frame, append."""
    memory = model.audio_feature_map(features)
    tokens, steps = code[:, None], model.config.steps_per_frame
    motion = tokens
    for t in range(memory.shape[1] // steps):
        positions = periodic_positions(0, t + 1, model.config.width, model.config.period)
        motion = model.decode(model.transformer_decoder(tokens + positions, memory[:, : (t + 1) * steps]))
        tokens = torch.cat([tokens, model.encode(motion[:, -1:]) + code[:, None]], 1)
    return motion


def seconds(work: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Processor seconds, wall seconds, result."""
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - start, time.perf_counter() - wall, result


def peak_mb() -> float:
    """Most memory the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(family: str, size: str, lengths: list[int], plain_frames: int) -> dict[str, Any]:
    """Ours at every length, the published loop at `plain_frames` (0: not at all)."""
    model = build(family, size)
    steps = model.config.steps_per_frame
    speech = torch.randn(1, max(lengths) * steps, model.config.audio_dim)
    with torch.no_grad():
        code = model.style_code(torch.eye(model.config.subjects)[:1])
        model.generate(speech[:, : 2 * steps], code)  # compiles
    ours: dict[int, float] = {}
    row: dict[str, Any] = {"family": family, "size": size, "cpu_s": ours}
    for frames in lengths:
        ours[frames], wall, motion = seconds(lambda n=frames: model.generate(speech[:, : n * steps], code))  # type: ignore[misc]
        speed = frames / FPS[size] / wall
        print(f"{family} {size} T={frames}: {ours[frames]:.3f} s CPU, {wall:.3f} s wall, {speed:.0f} x real time,"
              f" peak {peak_mb():.0f} MB", flush=True)  # fmt: skip
        del motion
    row["real_time_factor_at_longest"] = speed
    row["faster_than_real_time"] = speed > 1
    row["exponent"] = round(math.log(ours[lengths[-1]] / ours[lengths[0]]) / math.log(lengths[-1] / lengths[0]), 2)
    if plain_frames:
        cut = speech[:, : plain_frames * steps]
        slow, _, wanted = seconds(lambda: plain(model, cut, code))
        fast, _, motion = seconds(lambda: model.generate(cut, code))
        error = ((motion - wanted).abs().max() / wanted.abs().max()).item()
        row |= {"plain_frames": plain_frames, "plain_cpu_s": slow, "ratio": slow / fast, "relative_difference": error}
        print(f"{family} {size} T={plain_frames}: published loop {slow:.1f} s CPU, ratio {slow / fast:.0f}"
              f" (goal at T=600: {WANTED[size]:.0f}), largest relative difference {error:.1e}", flush=True)  # fmt: skip
    row["peak_mb"] = round(peak_mb())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within a minute: VOCASET size against the published loop")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for size in SIZES:
        for family in ("faceformer", "talkingstyle"):
            if args.quick:
                plain_frames = 100 if size == "vocaset" else 30
                rows.append(measure(family, size, [60, 600], plain_frames))
            else:
                rows.append(measure(family, size, [60, 200, 600, 2000, 6000], 600))
    print(json.dumps({"benchmark": "decoding", "quick": args.quick, "threads": args.threads, "rows": rows}))


if __name__ == "__main__":
    main()
