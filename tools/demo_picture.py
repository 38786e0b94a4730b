"""Draw the picture of the README, `docs/images/demo.jpg`: the demo sentence, spoken by three of the embedded people.

python tools/demo_picture.py [--people amara hugo adela] [--size 240]
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from parlante import Animation, animate
from parlante.core import atomic_path
from parlante.head.arkit import INDEX
from parlante.render import Renderer, contact_sheet, telling_poses

ROOT = Path(__file__).parents[1]
SHOWN = ("jawOpen", "mouthPucker")  # one frame of each person for each: where it is strongest, eyes open


def moments(animation: Animation) -> list[int]:
    """The frames in which the shapes of `SHOWN` are strongest, in the order of time."""
    assert animation.weights is not None
    awake = animation.weights[:, INDEX["eyeBlinkLeft"]] < 0.2
    return sorted(int((awake * animation.weights[:, INDEX[shape]]).argmax()) for shape in SHOWN)


def draw(animation: Animation, frame: int, size: int) -> np.ndarray:
    """The face in one frame half turned away, (size, size, 3), drawn at twice the size."""
    look = {"albedo": animation.albedo, "sample_poses": telling_poses(animation.neutral, animation.vertices)}
    wrinkle, pose = animation.wrinkle, animation.head_pose
    with Renderer(animation.topology, animation.neutral, size=3 * size // 2 * 2, view=18.0, **look) as renderer:
        picture = renderer.draw(
            animation.vertices[frame],
            wrinkle=None if wrinkle is None else wrinkle[frame],
            head_pose=None if pose is None else pose[frame],
        )
    left, top, right, bottom = (round(part * len(picture)) for part in (0.08, 0.05, 0.86, 0.83))
    face = Image.fromarray(picture[top:bottom, left:right])
    return np.asarray(face.resize((size, size), Image.Resampling.LANCZOS))


def main(arguments: list[str]) -> None:
    """Animate and draw every person, three frames each, in one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", nargs="+", default=["amara", "hugo", "adela"], metavar="NAME")
    parser.add_argument("--size", type=int, default=240, help="edge of one picture in pixels (default: %(default)s)")
    options = parser.parse_args(arguments)
    pictures: list[np.ndarray] = []
    for name in options.people:
        animation = animate(ROOT / "assets/demo.wav", identity=name)
        pictures += [draw(animation, frame, options.size) for frame in moments(animation)]
    with atomic_path(ROOT / "docs/images/demo.jpg") as path:
        Image.fromarray(contact_sheet(pictures, columns=len(pictures), gap=0)).save(path, quality=85, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
