"""Draw frames of an animation, evenly spread over its time, as one picture with the seconds beneath.

python tools/speech_sheet.py talk.npz sheet.jpg [--rows 3] [--columns 6] [--width 1400] [--crop 0.5 0.33 0.6]
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from parlante.core import atomic_path
from parlante.export.npz import load
from parlante.render import Renderer, contact_sheet, telling_poses

GAP = 4


def main(arguments: list[str]) -> None:
    """Draw every picture at twice its size and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("animation", type=Path, help="an .npz written by parlante animate")
    parser.add_argument("picture", type=Path, help=".jpg or .png")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--width", type=int, default=1400, help="of the sheet in pixels (default: %(default)s)")
    parser.add_argument("--view", type=float, default=0.0, help="degrees that the head is turned by")
    parser.add_argument(
        "--crop", type=float, nargs=3, default=(0.5, 0.5, 1.0), metavar=("X", "Y", "SIDE"),
        help="middle and side of the square that is shown, as shares of the picture (default: all)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    across, down, side = options.crop
    talk = load(options.animation)
    count, size = options.rows * options.columns, (options.width + GAP) // options.columns - GAP
    frames = np.linspace(0, len(talk.vertices), count, endpoint=False).astype(int) + len(talk.vertices) // (2 * count)
    look = {"albedo": talk.albedo, "sample_poses": telling_poses(talk.neutral, talk.vertices)}
    pictures = []
    drawn = round(2 * size / side)
    box = [round(drawn * share) for share in (across - side / 2, down - side / 2, across + side / 2, down + side / 2)]
    with Renderer(talk.topology, talk.neutral, size=drawn, view=options.view, **look) as renderer:
        for frame in frames:
            picture = renderer.draw(
                talk.vertices[frame],
                wrinkle=None if talk.wrinkle is None else talk.wrinkle[frame],
                head_pose=None if talk.head_pose is None else talk.head_pose[frame],
            )
            shown = Image.fromarray(picture).crop(tuple(box))
            pictures.append(np.asarray(shown.resize((size, size), Image.Resampling.LANCZOS)))
    labels = [f"{frame / talk.fps:.2f} s" for frame in frames]
    with atomic_path(options.picture) as path:
        sheet = contact_sheet(pictures, labels, columns=options.columns, gap=GAP)
        Image.fromarray(sheet).save(path, quality=85, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
