"""Make your own mesh speak.

`build_character` finds the face of a mesh, whatever its scale, axes and topology, and gives it the 52 ARKit shapes. The
mesh here is made on the spot: the skin of an embedded person, turned and 37 times as large. Put your own file in its
place.
"""

import sys
from pathlib import Path

import numpy as np

from parlante.animation.character import animate_character
from parlante.head import load_head
from parlante.retarget.mesh import build_character


def write_a_mesh(path: Path) -> None:
    """An OBJ file of somebody's skin, without eyes and teeth."""
    head = load_head()
    skin = head.topology.triangles[(head.topology.triangles < head.layout.ranges["skin"][1]).all(1)]
    used = np.unique(skin)
    points = 37 * head.neutral("mateo")[used][:, [2, 0, 1]]  # z up, looking along x
    lines = ["v {:.6g} {:.6g} {:.6g}".format(*point) for point in points]
    lines += ["f {} {} {}".format(*corners) for corners in np.searchsorted(used, skin) + 1]
    path.write_text("\n".join(lines) + "\n")


def main(speech: str = "assets/demo.wav", out: str = "out") -> None:
    """Build a character of a mesh and let it say `speech`."""
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    write_a_mesh(folder / "me.obj")
    character = folder / "me.character"
    if not character.exists():  # built once; parlante animate line.wav --character me.character does the rest
        me = build_character(folder / "me.obj", parts="none")  # "auto" adds the eyes and teeth that are missing
        print(me.topology.num_vertices, "vertices,", len(me.shapes), "shapes")
        me.save(character)
    animate_character(speech, [folder / "me.glb"], character)


if __name__ == "__main__":
    main(*sys.argv[1:])
