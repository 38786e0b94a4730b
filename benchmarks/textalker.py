"""What TexTalker costs at the published size, part by part, beside the published steps; random weights.

    python benchmarks/textalker.py [--quick] [--threads 1] [--example FOLDER]

The published steps are written again here as plainly as they run: the OBJ parsed as text for every frame, the mesh
recovered vertex by vertex in Python, one map per encoder or decoder call by the plain modules, 500 denoising steps of
two passes each with cross-attention under a mask and all past frames in the answer. Times are processor seconds, best
of several; the whole (3 s of speech, 90 frames) is added up from the measured parts, and 500 steps from a few.
`--example` is a folder with `face.obj` in TexTalk4D's topology; without it the mesh is a sheet with as many vertices.
The last line is JSON.
"""

import argparse
import copy
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from uv import published_bake, sheet_obj

from parlante.core import Topology
from parlante.geometry.obj import read_obj, read_vertices
from parlante.geometry.uv import REFERENCE_STATS, BakeTable, apply_ratio, motion_maps, offsets_from_maps
from parlante.geometry.uv.reference import read_offsets as published_offsets
from parlante.models.components.aligned import alignment_mask
from parlante.models.textalker.denoiser import DenoiserConfig, DenoisingNetwork
from parlante.models.textalker.diffusion import LatentDiffusion
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

FRAMES = 90
STEPS, FEW = 500, 20
BATCH = 8
"""Frames in one call of ours."""


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Least processor time of one call."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def in_turn(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least processor time of each, measured by turns so that a busy minute meets all of them."""
    rounds = [{name: seconds(work, 1) for name, work in works.items()} for _ in range(repeats)]
    return {name: min(turn[name] for turn in rounds) for name in works}


# -- meshes


def recovered_slowly(
    values: NDArray[np.float32], uvs: list[list[tuple[float, float]]], neutral: list[list[float]]
) -> NDArray[np.float64]:
    """Motion map (H, H, 3) -> vertices (V, 3), vertex by vertex: bilinear at each uv, black 2 x 2 blocks moved away."""
    size, made = len(values), []
    low = REFERENCE_STATS.minimum
    span = [high - at for high, at in zip(REFERENCE_STATS.maximum, low, strict=True)]
    for rest, places in zip(neutral, uvs, strict=True):
        total, count = [0.0, 0.0, 0.0], 0
        for u, v in places:
            x, y = u % 1 * size, (1 - v) % 1 * size
            x0, y0 = int(x), int(y)
            x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
            a, b, c, d = (y1 - y) * (x1 - x), (y1 - y) * (x - x0), (y - y0) * (x1 - x), (y - y0) * (x - x0)
            p, q, r, s = _filled_block(values, x0, y0, x1, y1)
            value = [a * p[k] + b * q[k] + c * r[k] + d * s[k] for k in range(3)]
            if any(value):
                total = [total[k] + value[k] for k in range(3)]
                count += 1
        made.append([rest[k] + total[k] / max(count, 1) * span[k] + low[k] for k in range(3)])
    return np.array(made)


def _filled_block(values: NDArray[np.float32], x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
    size = len(values)
    for radius in range(size):
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if max(abs(dx), abs(dy)) < radius or min(x0 + dx, y0 + dy) < 0 or max(x1 + dx, y1 + dy) >= size:
                    continue
                block = [values[y + dy, x + dx].tolist() for y, x in ((y0, x0), (y0, x1), (y1, x0), (y1, x1))]
                if all(max(corner) >= 0.01 for corner in block):
                    return block
    return [values[y0, x0].tolist()] * 4


def mesh_parts(example: Path | None, repeats: int) -> dict[str, tuple[float, float]]:
    """(published, ours) seconds a frame of bake and recover; and of reading an OBJ, which the published bake does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "face_aligned.obj"
        if example is not None:
            path.write_bytes((example / "face.obj").read_bytes())
        else:
            neutral, tail = sheet_obj()
            path.write_text("\n".join("v {:.6f} {:.6f} {:.6f}".format(*row) for row in neutral) + "\n" + tail)
        mesh = read_obj(path)
        rest, count = mesh.vertices, len(mesh.vertices)
        topology: Topology = mesh.topology("mesh")
        moved = 0.03 * np.stack([np.sin(5 * rest[:, 1]), np.cos(4 * rest[:, 0]), rest[:, 0]], -1)
        bake_slow = seconds(lambda: published_bake(path, rest - moved), max(1, repeats // 2))
        reading = seconds(lambda: read_vertices(path, count), repeats)
        drawn = published_bake(path, rest - moved)
    table = BakeTable(topology, 512)
    offsets = torch.from_numpy(np.repeat(moved[None], BATCH, 0).astype(np.float32))
    maps = motion_maps(offsets, table, REFERENCE_STATS).contiguous()  # planes, as a decoder gives them
    uvs: list[list[tuple[float, float]]] = [[] for _ in range(count)]
    for vertex, corner in zip(topology.triangles.ravel(), topology.uv_triangles.ravel(), strict=True):
        place = tuple(topology.uv[corner].tolist())
        if place not in uvs[vertex]:
            uvs[vertex].append(place)
    listed = rest.tolist()
    check = published_offsets(drawn, topology)
    assert np.abs(recovered_slowly(drawn, uvs, listed) - rest - REFERENCE_STATS.denormalise(check)).max() < 1e-6
    recover_slow = seconds(lambda: recovered_slowly(drawn, uvs, listed), max(1, repeats // 2))
    bake = seconds(lambda: motion_maps(offsets, table, REFERENCE_STATS), 3 * repeats + 1) / BATCH
    recover = seconds(lambda: offsets_from_maps(maps, table, REFERENCE_STATS, refine=0), 3 * repeats + 1) / BATCH
    refined = seconds(lambda: offsets_from_maps(maps, table, REFERENCE_STATS), 3 * repeats + 1) / BATCH
    return {
        "bake": (bake_slow, bake),
        "bake, reading the OBJ": (bake_slow, bake + reading),
        "recover": (recover_slow, recover),
        "recover, one refining round": (recover_slow, refined),
    }


# -- autoencoder


def convolution_ceiling(model: nn.Module, x: Tensor, repeats: int) -> float:
    """Seconds that torch's convolutions of one call take on their own, channels last."""
    calls: list[tuple[nn.Conv2d, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda conv, given: calls.append((conv, given[0])))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    total = 0.0
    for conv, given in calls:
        layout = torch.channels_last
        image, weight = given.contiguous(memory_format=layout), conv.weight.contiguous(memory_format=layout)
        total += seconds(
            lambda i=image, w=weight, c=conv: F.conv2d(i, w, c.bias, c.stride, c.padding),  # type: ignore[misc]
            repeats,
        )
    return total


def autoencoder_parts(repeats: int, frames: int) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """(published, ours) seconds a frame of encode and decode: one map per call, and many at once with channels last."""
    torch.manual_seed(0)
    plain = VQAutoEncoder(VQGANConfig()).eval().requires_grad_(False)
    ours = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.rand(frames, 3, 512, 512)
    z = torch.empty(frames, 16, 16, 16).uniform_(-1 / 1024, 1 / 1024)
    images, latents = (x.contiguous(memory_format=torch.channels_last) for x in (image, z))
    found = in_turn(
        {
            "encode": lambda: plain.encode(image[:1]),
            "our encode": lambda: ours.encode(images),
            "decode": lambda: plain.decode(z[:1]),
            "our decode": lambda: ours.decode(latents),
        },
        repeats,
    )
    extra = {"convolution ceiling": convolution_ceiling(plain.generator, plain.quantize.nearest(z[:1]), repeats)}
    return {
        "encode": (found["encode"], found["our encode"] / frames),
        "decode": (found["decode"], found["our decode"] / frames),
    }, extra


# -- denoiser


class PlainDenoiser(nn.Module):
    """The published denoiser from torch's own layers: every token, every call, cross-attention under its mask."""

    def __init__(self, ours: DenoisingNetwork) -> None:
        super().__init__()
        c = ours.config
        self.ours = ours
        self.layers = nn.ModuleList()
        for layer in ours.transformer.layers:  # type: ignore[union-attr]
            own = nn.utils.skip_init(
                nn.TransformerDecoderLayer,
                c.width,
                c.heads,
                c.width * c.mlp_ratio,
                c.dropout,
                activation="gelu",
                batch_first=True,
            )
            own.load_state_dict(layer.state_dict())
            self.layers.append(own)
        self.mask = alignment_mask(c.previous + c.frames)

    def forward(
        self, noisy: Tensor, audio: Tensor, previous: Tensor, previous_audio: Tensor, step: Tensor, indicator: Tensor
    ) -> Tensor:
        net = self.ours
        frames = torch.cat([previous, noisy], 1)
        real = torch.cat([indicator.new_zeros(previous.shape[:2]), indicator], 1)[..., None]
        time_token = net.diff_step_map(net.TE.pe[0, step])[:, None]
        x = torch.cat([time_token, net.feature_proj(torch.cat([frames, real], -1))], 1) + net.PE
        memory = torch.cat([previous_audio, audio], 1)
        for layer in self.layers:
            x = layer(x, memory, memory_mask=self.mask)
        return net.motion_dec(x[:, 1:])


def sampling_parts(repeats: int, few: int) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """(published, ours) seconds of a denoising step and of a window of 90 frames; difference of one estimate."""
    torch.manual_seed(0)
    model = LatentDiffusion(DenoiserConfig()).eval().requires_grad_(False)
    plain = PlainDenoiser(model.denoising_net).eval()
    table = model.diffusion_sched
    size = model.config
    audio, noisy = torch.randn(1, size.frames, size.width), torch.randn(1, size.frames, size.latent_dim)
    indicator, past = torch.ones(1, size.frames), model.start(1)
    twice = [torch.cat([x, x]) for x in (past.latents, past.audio, indicator)]

    def guided(x: Tensor, t: int, scale: float = 1.0) -> Tensor:
        heard = torch.cat([model.null_audio_feat.expand_as(audio), audio])
        both = plain(torch.cat([x, x]), heard, twice[0], twice[1], torch.full((2,), t), twice[2])[:, size.previous :]
        without, with_audio = both.chunk(2)
        return without + scale * (with_audio - without)

    def published_step(t: int = 250) -> Tensor:
        x0 = guided(noisy, t)
        alpha, bar, before = table.alphas[t], table.alpha_bars[t], table.alpha_bars[t - 1]
        mean = alpha.sqrt() * (1 - before) / (1 - bar) * noisy + before.sqrt() * table.betas[t] / (1 - bar) * x0
        return mean + table.sigma(t) * torch.randn_like(noisy)

    estimate = model.estimator(audio, past, indicator, guidance=1.0)
    found = in_turn({"published": published_step, "ours": lambda: estimate(noisy, 250)}, repeats)
    whole = seconds(lambda: model.sample(audio, past, indicator, noisy, steps=few, guidance=1.0), max(1, repeats // 2))
    whole += (FEW - few) * found["ours"]
    answer = estimate(noisy, 250)
    difference = (guided(noisy, 250) - answer).abs().max() / answer.abs().max()
    return {
        "denoiser step": (found["published"], found["ours"]),
        "sampling": (STEPS * found["published"], whole),
    }, {"step difference, relative": difference.item()}


# -- the rest of the way, and the sum


def speech_seconds(repeats: int) -> float:
    """HuBERT base on 3 s of speech; the same network on both sides."""
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    network = HubertModel(HubertConfig()).eval().requires_grad_(False)
    audio = torch.randn(1, 48000) * 0.1
    return seconds(lambda: network(audio), repeats)


def colour_parts(repeats: int) -> tuple[float, float]:
    """(published, ours) seconds a frame to colour a neutral picture with a wrinkle map."""
    rng = np.random.default_rng(0)
    albedo = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    wrinkle = np.tanh(rng.uniform(0.4, 0.6, (512, 512, 3))).astype(np.float32)

    def published() -> NDArray[np.uint8]:
        p = wrinkle / 2 + 0.5
        image = np.log((p + 1e-8) / (1 - p + 1e-8)) * (albedo / np.float32(255))
        return np.rint(image.clip(0, 1) * 255).astype(np.uint8)

    apply_ratio(albedo, wrinkle)
    return seconds(published, repeats), seconds(lambda: apply_ratio(albedo, wrinkle), repeats)


def on_gpu() -> dict[str, float]:
    """Wall milliseconds a frame of decoding, where there is a GPU."""
    plain = VQAutoEncoder(VQGANConfig()).eval().requires_grad_(False).cuda()
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        model, z = plain.to(precision), torch.randn(8, 16, 16, 16, device="cuda", dtype=precision)
        for _ in range(2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            model.decode(z)
            torch.cuda.synchronize()
        found[f"GPU decode {precision}, ms a frame"] = 1e3 * (time.perf_counter() - start) / len(z)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within a minute: one frame, one repeat, four steps")
    parser.add_argument("--threads", type=int, default=1, help="threads waiting for each other also cost (default: 1)")
    parser.add_argument("--example", type=Path, help="folder with face.obj (default: ../shared/data/textalk_example)")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    example: Path | None = args.example or Path(__file__).parents[2] / "shared" / "data" / "textalk_example"
    if not (example / "face.obj").is_file():
        example = None
    repeats = 1 if args.quick else 4
    print(f"mesh: {'TexTalk4D example' if example else 'synthetic sheet'}; threads {args.threads}")
    with torch.inference_mode():
        parts = mesh_parts(example, 2 if args.quick else 6)
        made, extra = autoencoder_parts(repeats, 2 if args.quick else BATCH)
        parts |= made
        sampled, more = sampling_parts(repeats + 1, 4 if args.quick else FEW)
        parts |= sampled
        extra |= more
        speech = speech_seconds(2)
        parts["colour"] = colour_parts(3)
        if torch.cuda.is_available():
            extra |= on_gpu()
    slow, ours = (
        speech + parts["sampling"][k] + FRAMES * (2 * parts["decode"][k] + parts["recover"][k] + parts["colour"][k])
        for k in (0, 1)
    )
    parts["whole"] = (slow, ours)
    print(f"{'CPU seconds':32}{'published':>12}{'ours':>12}{'ratio':>9}")
    for name, (a, b) in parts.items():
        note = " (extrapolated)" if name == "whole" or (name == "sampling") else ""
        print(f"{name + note:32}{a:12.4f}{b:12.5f}{a / b:9.1f}")
    extra["speech features, 3 s (both sides)"] = speech
    for name, value in extra.items():
        print(f"{name}: {value:.3g}")
    if not torch.cuda.is_available():
        print("GPU: none here; not measured")
    rows = {name: {"published_s": a, "ours_s": b, "ratio": round(a / b, 2)} for name, (a, b) in parts.items()}
    result = {"benchmark": "textalker", "quick": args.quick, "threads": args.threads, "real_mesh": example is not None}
    print(json.dumps(result | {"parts": rows, "extra": extra}))


if __name__ == "__main__":
    main()
