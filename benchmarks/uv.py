"""How fast UV maps are baked and read back, beside the published steps; wrinkle maps; one core, processor time.

python benchmarks/uv.py [--quick]

The published steps of TexTalker are written again here as they run per frame: the OBJ is parsed as text twice, the
table from uv to vertex is rebuilt, the triangles are drawn; and each vertex looks for its texels in turn. The mesh is
a sheet with TexTalk4D's 8,280 vertices and about as many quads. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.geometry.obj import read_obj, read_vertices
from parlante.geometry.uv import (
    REFERENCE_STATS,
    BakeTable,
    _raster,
    apply_ratio,
    motion_maps,
    offsets_from_maps,
    ratio,
    round_trip,
)

ROWS, COLUMNS = 90, 92
SIZE = 512
FRAMES = 8
"""Frames at a time; more do not fit the caches."""


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Best processor time of one call, after a warming one."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


# -- the published steps


def sheet_obj() -> tuple[NDArray[np.float64], str]:
    """Vertices (V, 3) of a curved sheet, and the lines of its uvs and quads."""
    v, u = np.mgrid[0:ROWS, 0:COLUMNS]
    s, t = u / (COLUMNS - 1), v / (ROWS - 1)
    vertices = np.stack([s - 0.5, t - 0.5, 0.4 * np.cos(2 * s)], -1).reshape(-1, 3)
    lines = [f"vt {a:.6f} {b:.6f}" for a, b in zip((0.005 + 0.99 * s).ravel(), (0.005 + 0.99 * t).ravel())]
    for row in range(ROWS - 1):
        for column in range(COLUMNS - 1):
            a = row * COLUMNS + column + 1
            corners = (a, a + 1, a + 1 + COLUMNS, a + COLUMNS)
            lines.append("f " + " ".join(f"{k}/{k}" for k in corners))
    return vertices, "\n".join(lines) + "\n"


def parse_slowly(path: Path) -> tuple[list[list[float]], list[list[float]], list[list[list[int]]]]:
    """An OBJ line by line."""
    vertices, uvs, faces = [], [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words and words[0] == "vt":
            uvs.append([float(word) for word in words[1:3]])
        elif words and words[0] == "f":
            faces.append([[int(part) - 1 for part in word.split("/")[:2]] for word in words[1:]])
    return vertices, uvs, faces


def published_bake(path: Path, neutral: NDArray[np.float64]) -> NDArray[np.float32]:
    """OBJ -> motion map, everything made anew."""
    parse_slowly(path)
    vertices, uvs, faces = parse_slowly(path)
    owner = {}
    triangles = []
    for face in faces:
        for vertex, corner in face:
            owner[tuple(uvs[corner])] = vertex
        corners = [corner for _, corner in face]
        triangles += [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
    offsets = REFERENCE_STATS.normalise(np.array(vertices) - neutral)
    colours = np.array([offsets[owner[tuple(uv)]] for uv in uvs], np.float32)
    texel = np.array([[u * (SIZE - 1), SIZE - 1 - v * (SIZE - 1)] for u, v in uvs], np.float32)
    number = np.array(triangles)
    drawn, weights = _raster.rasterise(texel[number], SIZE, True)  # theirs is compiled, too
    picked = colours[number[np.maximum(drawn, 0)]]
    return np.where(drawn[..., None] >= 0, (weights[..., None] * picked).sum(2), 0).astype(np.float32)


def published_recovery(
    values: NDArray[np.float32], neutral: NDArray[np.float64], uvs: dict[int, list[tuple[float, float]]], tail: str
) -> str:
    """Motion map -> OBJ text, vertex by vertex. (No vertex of the sheet is near the background.)"""
    lines = []
    low, span = np.array(REFERENCE_STATS.minimum), np.subtract(REFERENCE_STATS.maximum, REFERENCE_STATS.minimum)
    for vertex, rest in enumerate(neutral):
        read = []
        for u, v in uvs[vertex]:
            x, y = u % 1 * SIZE, (1 - v) % 1 * SIZE
            x0, y0 = int(x), int(y)
            x1, y1 = min(x0 + 1, SIZE - 1), min(y0 + 1, SIZE - 1)
            corners = values[y0, x0], values[y0, x1], values[y1, x0], values[y1, x1]
            shares = (y1 - y) * (x1 - x), (y1 - y) * (x - x0), (y - y0) * (x1 - x), (y - y0) * (x - x0)
            if any((corner < 0.01).all() for corner in corners):
                continue
            read.append(sum(share * corner for share, corner in zip(shares, corners)))
        offset = np.mean(read, 0) * span + low if read else 0 * low
        lines.append("v {:f} {:f} {:f}".format(*(rest + offset)))
    return "\n".join(lines) + "\n" + tail


def compare(repeats: int) -> dict[str, float]:
    """Published steps and ours, milliseconds a frame."""
    neutral, tail = sheet_obj()
    frame = 0.05 * np.stack([np.sin(5 * neutral[:, 1]), np.cos(4 * neutral[:, 0]), neutral[:, 0]], -1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "face_aligned.obj"
        path.write_text("\n".join("v {:.6f} {:.6f} {:.6f}".format(*row) for row in neutral + frame) + "\n" + tail)
        mesh = read_obj(path)
        topology: Topology = mesh.topology("sheet")
        parse = milliseconds(lambda: read_vertices(path, len(neutral)), repeats)
        bake = milliseconds(lambda: published_bake(path, neutral), max(1, repeats // 3))
        drawn = published_bake(path, neutral)
    table = BakeTable(topology, SIZE)
    offsets = torch.from_numpy(np.repeat(frame[None], FRAMES, 0).astype(np.float32))
    maps = motion_maps(offsets, table, REFERENCE_STATS)
    planes = maps.contiguous()
    published = BakeTable(topology, SIZE, reference=True)
    exact = motion_maps(offsets[:1], published, REFERENCE_STATS)[0].permute(1, 2, 0).numpy()
    assert np.abs(drawn - exact * published.covered[..., None])[4:-4, 4:-4].max() < 1e-4
    corners: dict[int, list[tuple[float, float]]] = {}
    for vertex, corner in zip(topology.triangles.ravel(), topology.uv_triangles.ravel()):
        places = corners.setdefault(int(vertex), [])
        if (uv := tuple(topology.uv[corner].tolist())) not in places:
            places.append(uv)
    skin = np.random.default_rng(0).integers(30, 220, (2, SIZE, SIZE, 3)).astype(np.float32) / 255
    return {
        "published bake": bake,
        "bake": milliseconds(lambda: motion_maps(offsets, table, REFERENCE_STATS), 3 * repeats) / FRAMES,
        "read OBJ": parse,
        "published recovery": milliseconds(
            lambda: published_recovery(drawn, neutral, corners, tail), max(1, repeats // 3)
        ),
        "recover": milliseconds(lambda: offsets_from_maps(maps, table, REFERENCE_STATS, refine=0), 3 * repeats)
        / FRAMES,
        "recover, one round": milliseconds(lambda: offsets_from_maps(maps, table, REFERENCE_STATS), 3 * repeats)
        / FRAMES,
        "recover from planes": milliseconds(
            lambda: offsets_from_maps(planes, table, REFERENCE_STATS, refine=0), 3 * repeats
        )
        / FRAMES,
        "table, once": milliseconds(lambda: BakeTable(topology, SIZE), 2),
        "wrinkle map from a frame": milliseconds(lambda: ratio.wrinkle_from_frames(skin[1], skin[0]), repeats),
        "published round trip, mean 1e-6 units": 1e6 * round_trip(frame[None], published, REFERENCE_STATS).mean,
        "our round trip, mean 1e-6 units": 1e6 * round_trip(frame[None], table, REFERENCE_STATS).mean,
    }


# -- the embedded head


def embedded(sizes: tuple[int, ...]) -> None:
    """Maps of the embedded head at several sizes, its wrinkles and its skin."""
    from parlante.head.model import load_head
    from parlante.head.skin import look_of, paint_look
    from parlante.head.skin_dynamics import SkinDynamics
    from parlante.head.skin_map import skin_map

    head = load_head()
    name = head.identity_names[0]
    offsets = np.tensordot(np.random.default_rng(0).random((60, 52)).astype(np.float32) * 0.4, head.shapes(name), 1)
    for size in sizes:
        table = BakeTable(head.topology, size)
        values = torch.from_numpy(offsets)
        maps = table.bake(values)
        back = table.sample(maps, refine=1)
        error = (back - values).norm(dim=-1)
        p99 = error.flatten().kthvalue(int(0.99 * error.numel()))[0]
        table_ms = milliseconds(partial(BakeTable, head.topology, size), 2)
        few, drawn = values[:FRAMES], maps[:FRAMES]
        bake, sample, refined = (
            milliseconds(work) / FRAMES
            for work in (partial(table.bake, few), partial(table.sample, drawn), partial(table.sample, drawn, 1))
        )
        print(
            f"{size}: table {table_ms:.0f} ms; ms a frame: bake {bake:.2f}, sample {sample:.2f}, refined {refined:.2f};"
            f" round trip mean {1e3 * error.mean():.4f} mm, 99 % {1e3 * p99:.4f} mm"
        )
    dynamics = SkinDynamics(head, name)
    print(f"wrinkle maps at 256: {milliseconds(lambda: dynamics.wrinkle(offsets)) / 60:.2f} ms/frame")
    print(f"skin dynamics, building: {milliseconds(lambda: SkinDynamics(head, name), 2):.0f} ms")
    wrinkle = dynamics.wrinkle(offsets[:1])[0]
    look = look_of(head.traits(name))
    for size in (512, 1024):
        skin = skin_map(head, size)
        print(f"painting skin at {size}: {milliseconds(lambda m=skin: paint_look(m, look), 2):.0f} ms")
    albedo = paint_look(skin_map(head, 1024), look)
    for size in (1024, 4096):
        large = np.repeat(np.repeat(albedo, size // 1024, 0), size // 1024, 1)
        print(f"applying a wrinkle map at {size}: {milliseconds(lambda a=large: apply_ratio(a, wrinkle), 3):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the comparison, fewer repeats")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    if not quick:
        embedded((128, 256, 512))
    found = compare(3 if quick else 9)
    for name, value in found.items():
        print(f"{name}: {value:.3f}" + ("" if "units" in name else " ms"))
    found["bake, times cheaper"] = found["published bake"] / found["bake"]
    found["bake with reading, times cheaper"] = found["published bake"] / (found["bake"] + found["read OBJ"])
    for name in ("recover", "recover, one round", "recover from planes"):
        found[f"{name}, times cheaper"] = found["published recovery"] / found[name]
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
