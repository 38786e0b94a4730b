"""What is recorded of an animation, and how another one is compared with it.

The records may change only in a commit that says why: `python tools/golden_animations.py --write` makes them anew.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

Arrays = dict[str, NDArray]

RECORDS = Path(__file__).parent / "records"
VERTEX_STEP = 53
PIXEL_STEP = 21
SMALL = 500
"""A mesh of fewer vertices is recorded whole."""
TOLERANCES = {"vertices": 1e-7, "weights": 1e-5, "head_pose": 1e-5, "wrinkle": 1.0}
"""The largest allowed difference: metres (1e-4 mm), weights, head pose in its own units, levels of 0..255."""
ELSEWHERE = {"weights": 1e-4, "wrinkle": 2.0}
"""The same on a processor of another maker or with other vector instructions than the recording one: its sums round
otherwise, and the fit of the weights magnifies that (measured: AVX2 instead of AVX-512, vertices 4e-8 m, weights 3e-5;
another maker, weights 2e-5)."""
DERIVED = {"lip_aperture": 2e-7, "lip_width": 2e-7}
"""Distances between two vertices, which whole animations also hold."""


@dataclass(frozen=True)
class Difference:
    """How far one array is from its record."""

    name: str
    largest: float
    """Infinite where shapes, names or types differ."""
    tolerance: float
    detail: str

    @property
    def tolerated(self) -> bool:
        """Whether it stays within the tolerance; what is no number never does."""
        return bool(self.largest <= self.tolerance)

    def __str__(self) -> str:
        word = "ok" if self.tolerated else "DIFFERS"
        return f"{self.name}: {word}, by {self.largest:.3g}, tolerated {self.tolerance:g}; {self.detail}"


def read(path: Path) -> Arrays:
    """All arrays of an .npz."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def recorded(animation: Arrays) -> Arrays:
    """What is kept of a whole animation: all weights and head pose, lips and a spread of vertices, some pixels."""
    vertices = animation["vertices"]
    ids = np.arange(0, vertices.shape[1], VERTEX_STEP if vertices.shape[1] > SMALL else 1)
    if "region_lips" in animation:
        ids = np.union1d(ids, animation["region_lips"])
    record = {"arrays": signature(animation), "vertex_ids": ids.astype(np.int32), "instructions": instructions()}
    record |= {name: animation[name] for name in ("fps", "weight_names", "weights", "head_pose") if name in animation}
    return record | _thinned(animation, ids)


def _thinned(animation: Arrays, ids: NDArray) -> Arrays:
    """The recorded vertices and pixels."""
    thinned = {"vertices": animation["vertices"][:, ids].astype(np.float32)}
    if "wrinkle" in animation:
        thinned["wrinkle"] = animation["wrinkle"][:, ::PIXEL_STEP, ::PIXEL_STEP]
    return thinned


def instructions() -> NDArray:
    """The vector instructions that torch uses here and who made the processor, such as AVX512 GenuineIntel."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    maker = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "unknown")
    return np.array(f"{torch.backends.cpu.get_cpu_capability()} {maker}")


def signature(animation: Arrays) -> NDArray:
    """Name, type and shape of every array, sorted; of texts, whose length says nothing, the kind alone."""
    lines = (f"{name} {a.dtype.str if a.dtype.kind != 'U' else 'text'} {a.shape}" for name, a in animation.items())
    return np.array(sorted(lines))


def against_record(animation: Arrays, record: Arrays) -> list[Difference]:
    """Compare a whole animation with what is recorded of it, at the vertices that the record names."""
    found = signature(animation)
    if found.tolist() != record["arrays"].tolist():
        gone, new = (
            sorted(set(a.tolist()) - set(b.tolist())) for a, b in ((record["arrays"], found), (found, record["arrays"]))
        )
        return [Difference("arrays", np.inf, 0.0, f"gone: {'; '.join(gone) or '-'}; new: {'; '.join(new) or '-'}")]
    now = {name: animation[name] for name in record if name in animation} | _thinned(animation, record["vertex_ids"])
    tolerances = TOLERANCES if record["instructions"] == instructions() else TOLERANCES | ELSEWHERE
    return [difference(name, array, record[name], tolerances.get(name, 0.0)) for name, array in now.items()]


def against_whole(animation: Arrays, other: Arrays) -> list[Difference]:
    """Compare every array of two whole animations of one machine, but not the text of their making.

    Arrays without a tolerance of their own must be equal.
    """
    names = sorted({*animation, *other} - {"provenance"})
    return [
        difference(name, animation[name], other[name], (TOLERANCES | DERIVED).get(name, 0.0))
        if name in animation and name in other
        else Difference(name, np.inf, 0.0, f"only {'now' if name in animation else 'before'}")
        for name in names
    ]


def difference(name: str, now: NDArray, before: NDArray, tolerance: float) -> Difference:
    """How far an array is from what it was."""
    if now.shape != before.shape or now.dtype.kind != before.dtype.kind:
        told = (f"{a.dtype} {a.shape}" for a in (now, before))
        return Difference(name, np.inf, tolerance, "is {}, was {}".format(*told))
    if now.dtype.kind == "U" or not now.size:
        differing = int((now != before).sum())
        return Difference(name, np.inf if differing else 0.0, tolerance, f"{differing} of {now.size} differ")
    apart = np.abs(now.astype(np.float64) - before.astype(np.float64))
    worst = np.unravel_index(int(np.argmax(np.where(np.isnan(apart), np.inf, apart))), apart.shape)
    beyond = int((~(apart <= tolerance)).sum())
    place = f"at {tuple(map(int, worst))}: {now[worst]:.9g}, was {before[worst]:.9g}"
    return Difference(name, float(apart[worst]), tolerance, f"{place}; {beyond} of {apart.size} beyond")
