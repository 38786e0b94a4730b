"""What autoregressive decoding costs: the published loops against caches and folded feedback, same random weights.

python benchmarks/decoding.py [--quick] [--threads 2] [--family NAME ...] [--size NAME ...] [--lengths T ...]

The published loops decode the whole prefix to vertices again for every frame (PTalker's encodes it as a style, too), so
they are measured at T = 600 only, where the released code ends: as a whole, or (`--quick`, and CodeTalker always) from
a few of its frames, `estimated` by the midpoint rule. CodeTalker runs at its default, with a cached past
(docs/models/codetalker.md); the difference printed is that of `refresh=0`. Growth is how many times the
seconds some times the frames take, and the exponent: 1 is linear. Times are processor seconds over all threads; speech
encoders are left out. The last line is JSON.
"""

import argparse
import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from parlante.models.codetalker.autoencoder import MotionAutoencoderConfig
from parlante.models.codetalker.model import CodeTalker, CodeTalkerConfig
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.faceformer.model import FaceFormer, FaceFormerConfig
from parlante.models.ptalker.model import PTalker, PTalkerConfig
from parlante.models.talkingstyle.model import TalkingStyle, TalkingStyleConfig

VOCASET: dict[str, Any] = {"motion_dim": 15069, "period": 30, "steps_per_frame": 1, "subjects": 8}
BIWI: dict[str, Any] = {"motion_dim": 70110, "period": 25, "steps_per_frame": 2, "subjects": 6}
SIZES = {"vocaset": VOCASET, "biwi": BIWI}
FPS = {"vocaset": 30.0, "biwi": 25.0}


def codetalker(size: str) -> CodeTalker:
    """Both stages at the released sizes."""
    sizes, biwi = SIZES[size], size == "biwi"
    more: dict[str, Any] = {"groups": 8, "code_dim": 128} if biwi else {"groups": 16, "code_dim": 64}
    stage = MotionAutoencoderConfig(motion_dim=sizes["motion_dim"], output_bias=not biwi, latent_maps=biwi, **more)
    model = CodeTalker(CodeTalkerConfig(**sizes, layers=12 if biwi else 6, autoencoder=stage))
    nn.init.normal_(model.feat_map.weight, std=0.03)
    nn.init.normal_(model.autoencoder.quantize.embedding.weight)
    return model


def ptalker(size: str) -> PTalker:
    """Width 128 at either size: the only one that the published code can run."""
    model = PTalker(PTalkerConfig(**SIZES[size], width=128))
    nn.init.normal_(model.vertice_decoder.weight, std=0.02)
    return model


def feedback(size: str, kind: type[FaceFormer] | type[TalkingStyle], config: Any) -> FaceFormer | TalkingStyle:
    """Width 64 or 128, as released."""
    model = kind(config(**SIZES[size], width=64 if size == "vocaset" else 128))
    nn.init.normal_(model.decode.weight, std=0.02)
    return model


Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A turn of a published loop: tokens of the prefix (1, t + 1, D) and memory (1, S, D) -> its motion, the next token."""


@dataclass
class Bench:
    """One model and how it is asked."""

    model: Any
    code: Tensor
    step: Step
    ours: Callable[[Tensor], Tensor]
    """Features (1, S, A) -> motion (1, T, M)."""
    same: Callable[[Tensor], Tensor] | None
    """Ours in the mode whose numbers are those of the published loop. None: another function."""

    @torch.no_grad()
    def plain(self, features: Tensor) -> Tensor:
        """The published loop, written again: decode the prefix, encode its last frame, append."""
        memory, tokens, motion = self.model.audio_feature_map(features), self.code[:, None], self.code[:, None]
        for _ in range(memory.shape[1] // self.model.config.steps_per_frame):
            motion, token = self.step(tokens, memory)
            tokens = torch.cat([tokens, token], 1)
        return motion

    @torch.no_grad()
    def estimate(self, features: Tensor, turns: int) -> float:
        """Processor seconds of `plain`, from `turns` of its turns, evenly spread."""
        memory, spent = self.model.audio_feature_map(features), 0.0
        frames = memory.shape[1] // self.model.config.steps_per_frame
        tokens = torch.randn(1, frames, self.model.config.width)
        for turn in range(turns):
            prefix = tokens[:, : round((turn + 0.5) * frames / turns + 0.5)]
            spent += seconds(lambda x=prefix: self.step(x, memory))[0]  # type: ignore[misc]
        return spent * frames / turns


@torch.no_grad()
def build(family: str, size: str) -> Bench:
    """A model of the released size with random weights everywhere."""
    torch.manual_seed(0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "faceformer": lambda: feedback(size, FaceFormer, FaceFormerConfig),
        "talkingstyle": lambda: feedback(size, TalkingStyle, TalkingStyleConfig),
        "ptalker": lambda: ptalker(size),
        "codetalker": lambda: codetalker(size),
    }
    model: Any = makers[family]().eval()
    code = model.style_embedding(torch.eye(SIZES[size]["subjects"])[:1])

    def ours(features: Tensor) -> Tensor:
        return model.generate(features, code)

    if family == "codetalker":
        return Bench(model, code, step_codes(model, code), ours, lambda x: model.generate(x, code, refresh=0))
    if family == "ptalker":  # ours at its default; its loop with style fed back is not offered cheaper
        return Bench(model, code, step_style(model, code), ours, None)
    return Bench(model, code, step_feedback(model, code), ours, ours)


def hidden(model: Any, tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's inputs and outputs for all tokens, (1, t + 1, D) each."""
    frames, config = tokens.shape[1], model.config
    inputs = tokens + periodic_positions(0, frames, config.width, config.period)
    return inputs, model.transformer_decoder(inputs, memory[:, : frames * config.steps_per_frame])


def step_feedback(model: Any, code: Tensor) -> Step:
    """FaceFormer's and TalkingStyle's turn."""

    def step(tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        motion = model.decode(hidden(model, tokens, memory)[1])
        return motion, model.encode(motion[:, -1:]) + code[:, None]

    return step


def step_style(model: PTalker, code: Tensor) -> Step:
    """PTalker's turn without a voice: each frame also gets the motion style of the whole prefix."""

    def step(tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        inputs, y = hidden(model, tokens, memory)
        motion = model.vertice_decoder(y)
        new = model.vertice_encoder(motion[:, -1:]) + code[:, None]
        return motion, new + model.style_motion(inputs)[0][:, None] if tokens.shape[1] > 1 else new

    return step


def step_codes(model: CodeTalker, code: Tensor) -> Step:
    """CodeTalker's turn: the codes of the prefix anew, their decoding anew."""

    def step(tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        codes = model.autoencoder.quantise(model.feat_map(hidden(model, tokens, memory)[1])).latent
        alone = tokens.shape[1] == 1
        motion = model.autoencoder.decode(codes.repeat(1, 2, 1) if alone else codes)
        return motion, model.vertice_map(motion[:, :1] if alone else motion[:, -1:]) + code[:, None]

    return step


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Processor seconds, wall seconds, result."""
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - start, time.perf_counter() - wall, result


def peak_mb() -> float:
    """Most memory the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(times: dict[int, float], first: int) -> dict[str, float]:
    """From length `first` to the longest: how many times the frames, how many times the seconds, and the exponent."""
    last = max(times)
    if first not in times or last <= first:
        return {}
    frames, cost = last / first, times[last] / times[first]
    return {"frames": round(frames, 2), "seconds": round(cost, 2), "exponent": round(math.log(cost, frames), 3)}


@dataclass
class Plan:
    """What is measured of a model."""

    lengths: list[int]
    plain_frames: int
    turns: int
    """Turns of the published loop to estimate it from; 0: run it."""


def plan(family: str, size: str, quick: bool) -> Plan:
    """CodeTalker has a hundred times the weights of the others."""
    if family == "codetalker":
        return Plan([600], 600, 2) if quick else Plan([60, 200, 600, 1200, 2000, 6000], 600, 6)
    if quick:
        return Plan([600, 6000], 600, 4) if size == "vocaset" else Plan([600], 600, 2)
    return Plan([60, 200, 600, 1200, 2000, 6000], 600, 0)


def measure(family: str, size: str, wanted: Plan) -> dict[str, Any]:
    """Ours at every length, and how many times that the published loop takes."""
    bench, name = build(family, size), f"{family} {size}"
    steps, width = SIZES[size]["steps_per_frame"], bench.model.config.audio_dim
    speech = torch.randn(1, max(*wanted.lengths, wanted.plain_frames) * steps, width)
    bench.ours(speech[:, : 48 * steps])  # compiles
    times: dict[int, float] = {}
    row: dict[str, Any] = {"family": family, "size": size, "cpu_s": times}
    for frames in wanted.lengths:
        cut = speech[:, : frames * steps]
        times[frames], wall, motion = seconds(lambda x=cut: bench.ours(x))  # type: ignore[misc]
        speed, alone = frames / FPS[size] / wall, frames / FPS[size] / times[frames]
        print(f"{name} T={frames}: {times[frames]:.3f} s CPU, {1e3 * times[frames] / frames:.2f} ms a frame,"
              f" {alone:.1f} x real time ({speed:.1f} by the clock), peak {peak_mb():.0f} MB", flush=True)  # fmt: skip
        row |= {"x_real_time_cpu": round(alone, 2), "x_real_time_wall": round(speed, 2)}
        del motion
    for first in sorted({min(times), 600, 1200} & set(times)):
        row[f"growth_from_{first}"] = found = growth(times, first)
        if found:
            print(f"{name}: {found['frames']} times {first} frames take {found['seconds']} times the seconds,"
                  f" power {found['exponent']}", flush=True)  # fmt: skip
    if wanted.plain_frames:
        fast = times[wanted.plain_frames]
        row |= compare(bench, speech[:, : wanted.plain_frames * steps], wanted, fast)
        how = "estimated" if row["plain_estimated"] else "measured"
        print(f"{name} T={wanted.plain_frames}: published loop {row['plain_cpu_s']:.1f} s CPU ({how}), ratio"
              f" {row['ratio']:.1f}", flush=True)  # fmt: skip
        if "relative_difference" in row:
            print(f"{name}: largest relative difference {row['relative_difference']:.1e}", flush=True)
    row["peak_mb"] = round(peak_mb())
    return row


def compare(bench: Bench, features: Tensor, wanted: Plan, fast: float) -> dict[str, Any]:
    """The published loop against ours, which took `fast` s; do they say the same, over 12 frames if estimated?"""
    if wanted.turns:
        slow = bench.estimate(features, wanted.turns)
        features = features[:, : min(12, wanted.plain_frames) * bench.model.config.steps_per_frame]
        published = bench.plain(features) if bench.same else None
    else:
        slow, _, published = seconds(lambda: bench.plain(features))
    found = {"plain_frames": wanted.plain_frames, "plain_cpu_s": slow, "plain_estimated": wanted.turns > 0}
    if bench.same and published is not None:
        gap = (bench.same(features) - published).abs().max() / published.abs().max()
        found["relative_difference"] = gap.item()
    return {**found, "ratio": slow / fast}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within a minute: few lengths, no BIWI CodeTalker")
    parser.add_argument("--threads", type=int, default=2)
    families = ["faceformer", "talkingstyle", "ptalker", "codetalker"]
    parser.add_argument("--family", nargs="*", choices=families, default=families)
    parser.add_argument("--size", nargs="*", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--lengths", nargs="*", type=int, help="frames instead of the usual ones")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for family in args.family:
        for size in args.size:
            if args.quick and (family, size) == ("codetalker", "biwi"):
                continue  # takes long to fill with random numbers
            wanted = Plan(args.lengths, 0, 0) if args.lengths else plan(family, size, args.quick)
            rows.append(measure(family, size, wanted))
    print(json.dumps({"benchmark": "decoding", "quick": args.quick, "threads": args.threads, "rows": rows}))


if __name__ == "__main__":
    main()
