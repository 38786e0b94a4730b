"""People of ours as somebody else's meshes: turned, scaled, cut and meshed otherwise; their truth is known."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from parlante.head import load_head
from parlante.retarget.mesh import Character, build_character

WHO = "mateo"
TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # z up, looking along x
SCALE = 37.0


def outer_face(who: str = WHO, *, keep_neck: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of `who`, triangles of the skin alone, and which vertices they use. Eyes and mouth are open holes."""
    head = load_head()
    skin = (head.topology.triangles < head.layout.ranges["skin"][1]).all(1)
    if not keep_neck:
        neck = np.isin(head.topology.triangles, head.topology.regions["neck"]).any(1)
        back = (head.neutral(who)[head.topology.triangles, 2] < 0.0).all(1)
        skin &= ~neck & ~back
    triangles = head.topology.triangles[skin]
    used = np.unique(triangles)
    return head.neutral(who), np.searchsorted(used, triangles), used


def refined(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut at the middle of its edges: another mesh of the same surface."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    distinct, number = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = np.ravel(number).reshape(3, -1) + len(vertices)
    a, b, c = triangles.T
    cut = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return np.concatenate([vertices, vertices[distinct].mean(1)]), cut


def write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray) -> Path:
    lines = ["v {:.7g} {:.7g} {:.7g}".format(*v) for v in vertices]
    lines += ["f {} {} {}".format(*t) for t in triangles + 1]
    path.write_text("\n".join(lines) + "\n")
    return path


class Built(NamedTuple):
    """A character of `who`, the vertices of ours that the file keeps, and the file's."""

    character: Character
    used: np.ndarray
    place: np.ndarray


def build_cut(folder: Path, who: str = WHO, turn: np.ndarray = TURN, scale: float = SCALE) -> Built:
    """The skin of `who`, each triangle cut in four, without eyes and teeth, as a file and built of it.

    The file's last five vertices: two in no triangle, left behind where the eyes were cut out, and the corners of the
    first triangle, doubled.
    """
    whole, triangles, used = outer_face(who)
    vertices, cut = refined(whole[used], triangles)
    vertices = np.concatenate([vertices, load_head().anatomy(who).eyes, vertices[cut[0]]])
    cut[0] = len(vertices) - 3 + np.arange(3)
    place = vertices @ turn.T * scale + 5.0
    return Built(build_character(write_obj(folder / f"{who}.obj", place, cut)), used, place)


def of_truth(character: Character, turn: np.ndarray = TURN, scale: float = SCALE) -> np.ndarray:
    """(V, 3) metres: the character's vertices where the person of ours is."""
    return np.asarray((character.similarity.undo(character.neutral) - 5.0) / scale @ turn)


def sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the sphere through most of points (N, 3): a cornea stands out of it."""
    kept = np.ones(len(points), bool)
    for _ in range(4):
        rows = np.c_[2 * points[kept], np.ones(kept.sum())]
        middle = np.linalg.lstsq(rows, (points[kept] ** 2).sum(1), rcond=None)[0][:3]
        length = np.linalg.norm(points - middle, axis=1)
        kept = length < 1.01 * np.median(length)
    return middle, float(np.median(length))
