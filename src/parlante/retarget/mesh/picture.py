"""Pictures of a character: a sheet of its shapes, and of a mesh that was refused."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from parlante.core import Topology
from parlante.head.arkit import INDEX
from parlante.render import Renderer
from parlante.render.camera import Camera
from parlante.render.sheet import contact_sheet, save_png
from parlante.retarget.mesh.character import Character
from parlante.retarget.mesh.surface import Surface

PREVIEW: dict[str, Mapping[str, float]] = {
    "rest": {},
    "jaw open": {"jawOpen": 0.6},
    "lips closed, jaw open": {"jawOpen": 0.6, "mouthClose": 0.6},
    "pucker": {"mouthPucker": 1.0},
    "smile": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "brows": {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0},
    "gaze": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
    "sneer": {"noseSneerLeft": 1.0, "noseSneerRight": 1.0, "mouthUpperUpLeft": 0.8, "mouthUpperUpRight": 0.8},
}


def save_preview(character: Character, path: Path | str, size: int = 320) -> None:
    """A contact sheet of `PREVIEW` poses."""
    weights = np.zeros((len(PREVIEW), len(INDEX)), np.float32)
    for row, pose in zip(weights, PREVIEW.values(), strict=True):
        for name, value in pose.items():
            row[INDEX[name]] = value
    vertices = character.vertices(weights)
    baked = character.baked()
    with Renderer(
        baked.topology, character.neutral, size=size, view=portrait(character), albedo=baked.albedo,
        pivot=character.pivot, sample_poses=vertices[1:3],
    ) as renderer:  # fmt: skip
        save_png(contact_sheet([renderer.draw(frame) for frame in vertices], list(PREVIEW), columns=4), path)


def portrait(character: Character, side: float = 0.25) -> Camera:
    """A camera on the face, wherever the mesh ends."""
    face = character.topology.regions.get("face")
    points = character.neutral if face is None else character.neutral[face]
    x, y, z = (float(value) for value in (points.min(0) + points.max(0)) / 2)
    return Camera((x + side * 0.85, y, z + 0.85), (x, y, z))


def show_surface(surface: Surface, path: Path | str, size: int = 300) -> None:
    """Three views of a mesh from which no character could be made."""
    vertices = surface.vertices.astype(np.float32)
    count = len(vertices)
    topology = Topology(
        "refused", count, surface.triangles.astype(np.int32), np.zeros((count, 2), np.float32),
        surface.triangles.astype(np.int32),
    )  # fmt: skip
    frames = []
    for view in ("front", "three-quarter", "profile"):
        with Renderer(topology, vertices, size=size, view=view) as renderer:
            frames.append(renderer.draw(vertices))
    save_png(contact_sheet(frames, ["front, as we see it", "from the side", "profile"], columns=3), path)
