"""What autoregressive decoding costs: the published loops against caches and folded feedback, same random weights.

python benchmarks/decoding.py [--quick] [--threads 2] [--family NAME ...]

The published loops decode the whole prefix to vertices again for every frame (PTalker's encodes it as a style, too), so
they are measured up to T = 600 only, where the released code ends (`--quick`: shorter still). `growth` is the exponent
of time between two lengths: 1 is linear. Times are processor seconds over all threads; speech encoders are left out.
The last line is JSON.
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

from parlante.models.blocks.causal import periodic_positions
from parlante.models.codetalker.autoencoder import MotionAutoencoderConfig
from parlante.models.codetalker.talker import CodeTalker, CodeTalkerConfig
from parlante.models.faceformer import FaceFormer, FaceFormerConfig
from parlante.models.ptalker.talker import PTalker, PTalkerConfig
from parlante.models.talkingstyle import TalkingStyle, TalkingStyleConfig

VOCASET: dict[str, Any] = {"motion_dim": 15069, "period": 30, "steps_per_frame": 1, "subjects": 8}
BIWI: dict[str, Any] = {"motion_dim": 70110, "period": 25, "steps_per_frame": 2, "subjects": 6}
SIZES = {"vocaset": VOCASET, "biwi": BIWI}
FPS = {"vocaset": 30.0, "biwi": 25.0}
WANTED = {"vocaset": 50.0, "biwi": 60.0}


def codetalker(size: str) -> CodeTalker:
    """Both stages at the released sizes."""
    sizes, more = SIZES[size], {"groups": 16, "code_dim": 64} if size == "vocaset" else {"groups": 8, "code_dim": 128}
    biwi = size == "biwi"
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


@dataclass
class Bench:
    """One model and how it is asked."""

    model: Any
    code: Tensor
    plain: Callable[[Tensor], Tensor] | None
    """The published loop: features (1, S, A) -> motion (1, T, M). None: too slow to wait for."""
    ours: Callable[[Tensor], Tensor]
    same: Callable[[Tensor], Tensor]
    """Ours in the mode whose numbers are the published ones."""


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
    person = torch.eye(SIZES[size]["subjects"])[:1]
    code = model.style_code(person)

    def ours(features: Tensor) -> Tensor:
        return model.generate(features, code)

    if family == "codetalker":
        plainly, exactly = lambda x: plain_codes(model, x, code), lambda x: model.generate(x, code, refresh=0)
        return Bench(model, code, plainly, ours, exactly)
    if family == "ptalker":  # ours at its default; its loop with style fed back is not offered cheaper
        return Bench(model, code, lambda x: plain_style(model, x, person), ours, ours)
    return Bench(model, code, lambda x: plain(model, x, code), ours, ours)


def positions(model: Any, frames: int) -> Tensor:
    """The periodic table, (frames, D)."""
    return periodic_positions(0, frames, model.config.width, model.config.period)


@torch.no_grad()
def plain(model: Any, features: Tensor, code: Tensor) -> Tensor:
    """The published loop, written again: decode the prefix, encode its last frame, append."""
    memory = model.audio_feature_map(features)
    tokens, steps = code[:, None], model.config.steps_per_frame
    motion = tokens
    for t in range(memory.shape[1] // steps):
        motion = model.decode(model.transformer_decoder(tokens + positions(model, t + 1), memory[:, : (t + 1) * steps]))
        tokens = torch.cat([tokens, model.encode(motion[:, -1:]) + code[:, None]], 1)
    return motion


@torch.no_grad()
def plain_style(model: PTalker, features: Tensor, person: Tensor) -> Tensor:
    """PTalker's published loop without a voice: each frame also gets the motion style of the whole prefix."""
    memory = model.audio_feature_map(features)
    code = model.onehot_style_encoder(person)
    tokens, steps = code[:, None], model.config.steps_per_frame
    motion = tokens
    for t in range(memory.shape[1] // steps):
        inputs = tokens + positions(model, t + 1)
        motion = model.vertice_decoder(model.transformer_decoder(inputs, memory[:, : (t + 1) * steps]))
        new = model.vertice_encoder(motion[:, -1:]) + code[:, None]
        if t:
            new = new + model.style_motion(inputs)[0][:, None]
        tokens = torch.cat([tokens, new], 1)
    return motion


@torch.no_grad()
def plain_codes(model: CodeTalker, features: Tensor, code: Tensor) -> Tensor:
    """CodeTalker's published loop: the codes of the prefix anew, their decoding anew, its last frame appended."""
    memory = model.audio_feature_map(features)
    tokens, steps = code[:, None], model.config.steps_per_frame
    motion = tokens
    for t in range(memory.shape[1] // steps):
        hidden = model.transformer_decoder(tokens + positions(model, t + 1), memory[:, : (t + 1) * steps])
        codes = model.autoencoder.quantise(model.feat_map(hidden)).latent
        motion = model.autoencoder.decode(codes if t else codes.repeat(1, 2, 1))
        last = motion[:, -1:] if t else motion[:, :1]
        tokens = torch.cat([tokens, model.vertice_map(last) + code[:, None]], 1)
    return motion


def seconds(work: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Processor seconds, wall seconds, result."""
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - start, time.perf_counter() - wall, result


def peak_mb() -> float:
    """Most memory the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(times: dict[int, float], first: int) -> float | None:
    """The exponent of time from length `first` on to the longest; none without two lengths."""
    last = max(times)
    if first not in times or last <= first:
        return None
    return round(math.log(times[last] / times[first]) / math.log(last / first), 2)


def measure(family: str, size: str, lengths: list[int], plain_frames: int) -> dict[str, Any]:
    """Ours at every length, the published loop at `plain_frames` (0: not at all)."""
    bench = build(family, size)
    steps, width = SIZES[size]["steps_per_frame"], bench.model.config.audio_dim
    speech = torch.randn(1, max([*lengths, plain_frames]) * steps, width)
    bench.ours(speech[:, : 2 * steps])  # compiles
    times: dict[int, float] = {}
    row: dict[str, Any] = {"family": family, "size": size, "cpu_s": times}
    for frames in lengths:
        cut = speech[:, : frames * steps]
        times[frames], wall, motion = seconds(lambda x=cut: bench.ours(x))  # type: ignore[misc]
        speed = frames / FPS[size] / wall
        print(f"{family} {size} T={frames}: {times[frames]:.3f} s CPU, {1e3 * times[frames] / frames:.2f} ms a frame,"
              f" {wall:.3f} s wall, {speed:.1f} x real time, peak {peak_mb():.0f} MB", flush=True)  # fmt: skip
        row |= {"real_time_factor_at_longest": round(speed, 2), "faster_than_real_time": speed > 1}
        del motion
    row |= {"growth": growth(times, min(times)), "growth_from_600": growth(times, 600)}
    print(f"{family} {size}: time grows with T to the power {row['growth']}, from 600 on {row['growth_from_600']}")
    if plain_frames and bench.plain is not None:
        cut = speech[:, : plain_frames * steps]
        slow, _, wanted = seconds(lambda: bench.plain(cut))  # type: ignore[misc]
        fast, _, _ = seconds(lambda: bench.ours(cut))
        row |= {"plain_frames": plain_frames, "plain_cpu_s": slow, "ratio": slow / fast}
        print(f"{family} {size} T={plain_frames}: published loop {slow:.1f} s CPU, ratio {slow / fast:.0f}"
              f" (goal at T=600: {WANTED[size]:.0f})", flush=True)  # fmt: skip
        if family != "ptalker":  # whose published style of the prefix is another function
            same = bench.same(cut)
            row["relative_difference"] = ((same - wanted).abs().max() / wanted.abs().max()).item()
            print(f"{family} {size}: largest relative difference {row['relative_difference']:.1e}", flush=True)
    row["peak_mb"] = round(peak_mb())
    return row


def plan(family: str, size: str, quick: bool) -> tuple[list[int], int]:
    """Lengths of ours and of the published loop."""
    large = family == "codetalker"  # a hundred times the weights
    if quick:
        return ([4, 16], 4) if large else ([60, 600], 60 if size == "vocaset" else 15)
    return ([60, 200, 600], 60) if large else ([60, 200, 600, 2000, 6000], 600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within a minute: short clips, no BIWI CodeTalker")
    parser.add_argument("--threads", type=int, default=2)
    families = ["faceformer", "talkingstyle", "ptalker", "codetalker"]
    parser.add_argument("--family", nargs="*", choices=families, default=families)
    parser.add_argument("--lengths", nargs="*", type=int, help="frames instead of the usual ones")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for family in args.family:
        for size in SIZES:
            if args.quick and (family, size) == ("codetalker", "biwi"):
                continue  # takes long to fill with random numbers
            lengths, plain_frames = plan(family, size, args.quick)
            rows.append(measure(family, size, args.lengths or lengths, 0 if args.lengths else plain_frames))
    print(json.dumps({"benchmark": "decoding", "quick": args.quick, "threads": args.threads, "rows": rows}))


if __name__ == "__main__":
    main()
