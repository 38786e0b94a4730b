"""Speak a file.

One call turns a recording into an animation. The suffix of a file chooses its format: `parlante export --formats` lists
them all. The same seed gives the same animation.
"""

import sys
from pathlib import Path

import parlante


def main(speech: str = "assets/demo.wav", out: str = "out") -> None:
    """Say `speech` and write the result to the folder `out`."""
    Path(out).mkdir(exist_ok=True)
    talker = parlante.Talker.from_pretrained("textalker")
    animation = talker(speech, identity="amara", seed=1)

    print("vertices", animation.vertices.shape, "metres")  # (T, 5856, 3)
    print("weights", animation.weights.shape, "of", animation.weight_names[:2], "...")  # (T, 52), 0..1
    print("wrinkle maps", animation.wrinkle.shape)  # (T, 256, 256, 3) bytes

    animation.save(f"{out}/line.glb", f"{out}/line.csv", f"{out}/line.npz")
    again = parlante.load(f"{out}/line.npz")
    assert (again.vertices == animation.vertices).all()


if __name__ == "__main__":
    main(*sys.argv[1:])
