"""Draw the sheets of the embedded head for `docs/models/head.md`: every person, every shape, the texture layout.

python tools/head_sheets.py [--person hugo] [--size 220]
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from parlante.core import atomic_path
from parlante.head import ARKIT_NAMES, Head, load_head
from parlante.head.arkit import INDEX
from parlante.head.skin import paint_albedo
from parlante.render import Renderer, contact_sheet

SKIN = 512  # texels along an edge of the skins
IMAGES = Path(__file__).parents[1] / "docs/images"


def save(picture: np.ndarray, name: str) -> None:
    """Write `docs/images/head-<name>.jpg`."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with atomic_path(IMAGES / f"head-{name}.jpg") as path:
        Image.fromarray(picture).save(path, quality=75, optimize=True)


def people(head: Head, size: int) -> np.ndarray:
    """Every person from the three-quarter view."""
    pictures = []
    for name in head.identity_names:
        neutral = head.neutral(name)
        albedo = paint_albedo(head, name, SKIN)
        with Renderer(head.topology, neutral, size=size, view=25.0, albedo=albedo) as renderer:
            pictures.append(renderer.draw(neutral))
    return contact_sheet(pictures, head.identity_names, columns=6)


def shapes(head: Head, name: str, size: int) -> np.ndarray:
    """Every shape at weight 1 on one person, cropped to the face; mouthClose and tongueOut with an open jaw."""
    neutral = head.neutral(name)
    poses = np.eye(len(ARKIT_NAMES), dtype=np.float32)
    poses[INDEX["mouthClose"], INDEX["jawOpen"]] = 1.0
    poses[INDEX["tongueOut"], INDEX["jawOpen"]] = 0.4
    faces = head.deform(name, poses)
    labels = [
        {"mouthClose": "mouthClose + jawOpen", "tongueOut": "tongueOut + 0.4 jawOpen"}.get(n, n) for n in ARKIT_NAMES
    ]
    pictures = []
    full = int(size * 1.45)
    albedo = paint_albedo(head, name, SKIN)
    with Renderer(head.topology, neutral, size=full, view=12.0, albedo=albedo, sample_poses=faces[:9]) as view:
        for face in faces:
            picture = view.draw(face)
            top, left = int(0.27 * full), (full - size) // 2
            pictures.append(picture[top : top + size, left : left + size])
    return contact_sheet(pictures, labels, columns=8)


def layout(head: Head, size: int = 800) -> np.ndarray:
    """The texture layout, one colour per material."""
    colours = [
        (205, 150, 125),
        (120, 50, 50),
        (120, 160, 190),
        (190, 185, 170),
        (190, 100, 100),
        (180, 80, 90),
        (40,) * 3,
    ]
    picture = Image.new("RGB", (size, size), (250, 250, 250))
    pen = ImageDraw.Draw(picture)
    corners = head.topology.uv[head.topology.uv_triangles] * [1, -1] + [0, 1]
    for triangle, material in zip(corners * size, head.material, strict=True):
        pen.polygon([tuple(p) for p in triangle], outline=colours[material])
    return np.asarray(picture)


def main(arguments: list[str]) -> None:
    """Draw all three sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--person", default="hugo", help="who shows the shapes (default: %(default)s)")
    parser.add_argument("--size", type=int, default=220, help="edge of one picture in pixels (default: %(default)s)")
    options = parser.parse_args(arguments)
    head = load_head()
    save(people(head, options.size), "people")
    save(shapes(head, options.person, options.size), "shapes")
    save(layout(head), "layout")


if __name__ == "__main__":
    main(sys.argv[1:])
