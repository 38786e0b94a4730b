"""Run by a Python that has Blender (`bpy`): what Blender makes of a file, as arrays.

python blender_read.py FOLDER FRAMES: reads a.glb, a.usdc and a.neutral.obj with a.pc2 and a.mdd in FOLDER and writes
glb.npy, usdc.npy, pc2.npy and mdd.npy there: (T, V, 3) world positions, y up.
"""

import sys
from pathlib import Path

import bpy
import numpy as np


def positions(thing, frame: int) -> np.ndarray:
    bpy.context.scene.frame_set(frame)
    made = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = made.to_mesh()
    flat = np.empty(3 * len(mesh.vertices))
    mesh.vertices.foreach_get("co", flat)
    world = np.array(made.matrix_world)
    made.to_mesh_clear()
    x, y, z = (flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).T
    return np.stack([x, z, -y], axis=1)


def main() -> None:
    folder, frames = Path(sys.argv[1]), int(sys.argv[2])
    for kind in ("glb", "usdc", "pc2", "mdd"):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.render.fps = 30
        if kind == "glb":
            bpy.ops.import_scene.gltf(filepath=str(folder / "a.glb"))
        elif kind == "usdc":
            bpy.ops.wm.usd_import(filepath=str(folder / "a.usdc"))
        else:
            bpy.ops.wm.obj_import(filepath=str(folder / "a.neutral.obj"))
        meshes = [thing for thing in bpy.data.objects if thing.type == "MESH"]
        face = max(meshes, key=lambda thing: len(thing.data.vertices))
        if kind in ("pc2", "mdd"):
            cache = face.modifiers.new("talk", "MESH_CACHE")  # axes stay as they are: Y forward, Z up
            cache.cache_format, cache.filepath, cache.frame_start = kind.upper(), str(folder / f"a.{kind}"), 0
        np.save(folder / f"{kind}.npy", np.stack([positions(face, frame) for frame in range(frames)]))


main()
