"""The embedded head: topology, people and their 52 shapes, read from the files that `tools/build_head.py` wrote."""

import functools
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, InputError, Topology, read_npz
from parlante.head import rig
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.identities import Traits, traits_of

MATERIALS: tuple[str, ...] = ("skin", "inner_mouth", "eye", "teeth", "gum", "tongue", "lash")
TOPOLOGY_NAME = "parlante"
_KEPT_SHAPES = 4  # heads whose shapes stay in memory; each takes 3.7 MB


class Head:
    """People that share one topology and one rig of 52 ARKit shapes. Metres, y up, z forward, head joint at 0.

    A face is `neutral + weights @ shapes`, linear in the weights, teeth, tongue and eyeballs included; the pose of the
    head is separate and turns about `neck_pivot`, fading over the neck by `neck_weights`.
    """

    def __init__(self, folder: Path) -> None:
        """Read `topology.npz`, `identities.npz` and `shapes.npz` in `folder`. Raises InputError if unreadable."""
        self._folder = folder
        names = read_npz(folder / "topology.npz", ("triangles", "uv", "uv_triangles"))
        people = read_npz(folder / "identities.npz", ("names", "mean", "offsets"))

        def named(prefix: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(prefix): value for key, value in names.items() if key.startswith(prefix)}

        self._mean: NDArray[np.float32] = people["mean"]
        self.topology = Topology(
            name=TOPOLOGY_NAME,
            num_vertices=len(self._mean),
            triangles=names["triangles"].astype(np.int32),
            uv=names["uv"],
            uv_triangles=names["uv_triangles"].astype(np.int32),
            regions={key: value.astype(np.int32) for key, value in named("region:").items()},
            landmarks={key: int(value) for key, value in named("landmark:").items()},
        )
        self.identity_names: tuple[str, ...] = tuple(str(name) for name in people["names"])
        self.shape_names: tuple[str, ...] = ARKIT_NAMES
        self.material: NDArray[np.uint8] = names["material"]
        """(F,) what each triangle is made of: a number into `MATERIALS`."""
        self.neck_weights: NDArray[np.float32] = names["neck_weights"]
        """(V,) how far each vertex follows the pose of the head: 0 at the edge of the neck, 1 on the head."""
        self.layout = rig.HeadLayout(
            ranges={key: (int(value[0]), int(value[1])) for key, value in named("range:").items()},
            lips=names["lips"].astype(np.int32),
            lids=names["lids"].astype(np.int32),
            across=names["across"].astype(np.float64),
            close_weight=names["close_weight"].astype(np.float64),
            close_column=names["close_column"].astype(np.int32),
            lash_place=names["lash_place"],
            lash_length=names["lash_length"],
            lash_lean=names["lash_lean"],
        )
        self._people = people
        self._shapes = functools.lru_cache(_KEPT_SHAPES)(self._finish)

    def _index(self, name: str) -> int:
        try:
            return self.identity_names.index(name)
        except ValueError:
            raise InputError(
                f"no embedded identity is called {name!r}; choose one of {', '.join(self.identity_names)}"
            ) from None

    def neutral(self, name: str) -> NDArray[np.float32]:
        """(V, 3) metres: the face of `name` at rest. Raises InputError for an unknown name."""
        low, high = self._people["offsets"][:, self._index(name)].astype(np.uint16)
        offsets = (low | (high << 8)).view(np.int16)
        return np.asarray(self._mean + offsets * np.float32(self._people["step"]), np.float32)

    def identity(self, name: str) -> Identity:
        """Neutral face and skin of `name`. Raises InputError for an unknown name."""
        neutral = self.neutral(name)
        albedo = None
        try:
            from parlante.head.skin import paint_albedo
        except ImportError:  # a machine that only trains may lack what paints; nobody looks at skin there
            pass
        else:
            albedo = paint_albedo(self, name)
        return Identity(name, self.topology, neutral, albedo)

    def traits(self, name: str) -> Traits:
        """Sex, age, ancestry, tone and colours of `name`. Raises InputError for an unknown name."""
        self._index(name)
        return traits_of(name)

    def neck_pivot(self, name: str) -> NDArray[np.float32]:
        """(3,) metres: the point that the head of `name` turns about. Raises InputError for an unknown name."""
        return np.asarray(self._people["neck"][self._index(name)], np.float32)

    def anatomy(self, name: str) -> rig.Anatomy:
        """Where eyeballs and jaw of `name` turn. Raises InputError for an unknown name."""
        index = self._index(name)
        eyes, radius, hinge = (self._people[key][index].astype(np.float64) for key in ("eyes", "eye_radius", "hinge"))
        return rig.Anatomy(eyes, float(radius), hinge)

    def shapes(self, name: str) -> NDArray[np.float32]:
        """(52, V, 3) metres: what a weight of 1 adds to the neutral of `name`, in the order of `shape_names`.

        Read-only, kept for the last few names. Raises InputError for an unknown name.
        """
        self._index(name)
        return self._shapes(name)

    def deform(self, name: str, weights: NDArray[np.floating]) -> NDArray[np.float32]:
        """(T, V, 3) metres: the face of `name` under `weights` (T, 52).

        Raises InputError for an unknown name or weights of another shape.
        """
        weights = np.asarray(weights, np.float32)
        if weights.ndim != 2 or weights.shape[1] != len(ARKIT_NAMES):
            raise InputError(
                f"weights must be (T, {len(ARKIT_NAMES)}), got {weights.shape}; one column per ARKit shape"
            )
        shapes = self.shapes(name)
        moved = weights @ shapes.reshape(len(shapes), -1)
        return np.asarray(self.neutral(name) + moved.reshape(len(weights), -1, 3), np.float32)

    @functools.cached_property
    def _sculpted(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
        """(3, n, 3) sculpted offsets per ancestry (metres), their jaw angles, and where the n stand in (52, V)."""
        stored = read_npz(self._folder / "shapes.npz", ("present", "low", "high", "step", "jaw_angle"))
        count = len(ARKIT_NAMES) * len(self._mean)
        present = np.unpackbits(stored["present"], count=count).astype(bool).reshape(len(ARKIT_NAMES), -1)
        values = (stored["low"].astype(np.uint16) | (stored["high"].astype(np.uint16) << 8)).view(np.int16)
        values[1:] += values[:1]
        return values * np.float32(stored["step"]), stored["jaw_angle"], present

    def _finish(self, name: str) -> NDArray[np.float32]:
        values, angles, present = self._sculpted
        ancestry = np.array(self.traits(name).ancestry)
        sculpted = np.zeros((*present.shape, 3), np.float32)
        sculpted[present] = np.einsum("a,anc->nc", ancestry.astype(np.float32), values)
        shapes = rig.finish(
            self.neutral(name).astype(np.float64), sculpted, float(ancestry @ angles), self.anatomy(name), self.layout
        )
        shapes.setflags(write=False)
        return shapes


@functools.cache
def load_head() -> Head:
    """The embedded head; reads its files once per process."""
    folder = resources.files("parlante") / "assets" / "head"
    return Head(Path(str(folder)))
