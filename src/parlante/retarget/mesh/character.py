"""A character: the user's mesh with 52 shapes, its skin and what carries motion and wrinkles to it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology, atomic_folder, read_npz
from parlante.core.pictures import read_picture
from parlante.core.ranges import Positive
from parlante.core.typed import read_header
from parlante.head.arkit import ARKIT_NAMES
from parlante.retarget.mesh.atlas import Baked, bake_parts
from parlante.retarget.mesh.parts import EYES, LINING, MOUTH, check_parts
from parlante.retarget.mesh.pose import Similarity
from parlante.retarget.mesh.surface import Surface
from parlante.retarget.mesh.transfer import Carrier
from parlante.retarget.mesh.wrinkle import carry_wrinkles

FORMAT = 1
_NAMED = ("triangles", "uv", "uv_triangles", "neutral", "place", "known", "index", "weights", "free")


_Vector = tuple[float, float, float]


@dataclass(frozen=True)
class _Config:
    """config.json of a character's folder."""

    format: Any
    scale: Positive
    rotation: tuple[_Vector, _Vector, _Vector]
    shift: _Vector
    pivot: _Vector
    name: str = ""
    report: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Character:
    """The user's vertices in the user's order, in metres, y up, z forward, at the size of the embedded head."""

    topology: Topology
    neutral: NDArray[np.float32]
    """(U, 3) at rest, lips closed."""
    shapes: NDArray[np.float32]
    """(52, U, 3) in the order of `ARKIT_NAMES`."""
    similarity: Similarity
    """From the unit and axes of the file to `neutral`'s."""
    pivot: tuple[float, float, float]
    """About which the head turns."""
    pose_weights: NDArray[np.float32]
    """(U,) how far each vertex follows the pose of the head."""
    place: NDArray[np.int64]
    """(U,) which distinct place each vertex stands at: files double vertices along texture seams."""
    carrier: Carrier
    """Carries displacements of our head to the distinct places."""
    albedo: NDArray[np.uint8] | None = None
    wrinkle_table: NDArray[np.float32] | None = None
    report: dict[str, Any] | None = None
    """What the registration measured."""
    added: int = 0
    """The last so many vertices are parts of ours, eyeballs or teeth, that the mesh did not have."""
    parts_texture: NDArray[np.uint8] | None = None
    """(h, w, 3) sRGB of the added parts, and of eyeballs of the user's that have no picture; their texture coordinates
    lie in it, 0..1."""

    def vertices(
        self, weights: NDArray[np.floating], residual: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """(T, U, 3) metres of weights (T, 52), plus a displacement (T, V, 3) of our head that the weights leave over.

        Raises InputError for weights of another shape.
        """
        weights = np.asarray(weights, np.float32)
        if weights.ndim != 2 or weights.shape[1] != len(self.shapes):
            raise InputError(f"weights must be (T, {len(self.shapes)}), got {weights.shape}; one column a shape")
        moved = (weights @ self.shapes.reshape(len(self.shapes), -1)).reshape(len(weights), -1, 3)
        if residual is not None:
            moved += self.motion(residual)
        return np.asarray(moved + self.neutral, np.float32)

    def motion(self, offsets: NDArray[np.floating]) -> NDArray[np.float32]:
        """Displacements (T, V, 3) of our head -> (T, U, 3) of this character; its rigid and added parts stay."""
        return np.pad(self.carrier(offsets)[:, self.place], ((0, 0), (0, self.added), (0, 0)))

    @property
    def own(self) -> int:
        """How many vertices are the user's: the first ones, in the user's order."""
        return len(self.neutral) - self.added

    def keep_parts(self, parts: str) -> "Character":
        """This character with fewer added parts. parts: auto or all (those it has), none, eyes or mouth."""
        check_parts(parts)
        if parts in ("auto", "all"):
            return self
        if not self.added:
            return replace(self, parts_texture=None) if parts == "none" else self
        regions = self.topology.regions
        kept = np.arange(len(self.neutral)) < self.own
        for name in {"none": (), "eyes": EYES, "mouth": (*MOUTH, LINING)}[parts]:
            kept[regions.get(name, np.zeros(0, np.int32))] = True
        number = np.cumsum(kept) - 1
        faces = kept[self.topology.triangles].all(1)
        laid = self.topology.uv_triangles[(self.topology.triangles >= self.own).all(1)]
        mine = np.arange(int(laid.min()))  # the user's texture corners, used or not
        corners = np.union1d(mine, self.topology.uv_triangles[faces])
        place = np.zeros(len(self.topology.uv), np.int64)
        place[corners] = np.arange(len(corners))
        topology = replace(
            self.topology,
            num_vertices=int(kept.sum()),
            triangles=number[self.topology.triangles[faces]].astype(np.int32),
            uv=self.topology.uv[corners],
            uv_triangles=place[self.topology.uv_triangles[faces]].astype(np.int32),
            regions={
                name: number[where[kept[where]]].astype(np.int32)
                for name, where in regions.items()
                if kept[where].any()
            },
            landmarks={name: int(number[v]) for name, v in self.topology.landmarks.items() if kept[v]},
        )
        left = int(kept[self.own :].sum())
        return replace(
            self,
            topology=topology,
            neutral=self.neutral[kept],
            shapes=np.ascontiguousarray(self.shapes[:, kept]),
            pose_weights=self.pose_weights[kept],
            added=left,
            parts_texture=None if parts == "none" else self.parts_texture,
        )

    def baked(self) -> Baked:
        """Topology, texture and wrinkle table as they are drawn and written: one picture for the mesh and its parts."""
        return bake_parts(self.topology, self.own, self.albedo, self.parts_texture, self.wrinkle_table, self.neutral)

    def wrinkles(self, maps: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Stored wrinkle maps in our layout -> in this character's; none if it has no texture coordinates."""
        return None if self.wrinkle_table is None else carry_wrinkles(maps, self.wrinkle_table)

    def save(self, folder: Path | str) -> None:
        """Write `config.json`, `mesh.npz`, `shapes.npz` and the texture into a new folder, whole or not at all."""
        with atomic_folder(folder) as partial:
            self.write(partial)

    def write(self, partial: Path) -> None:
        """Write the files of `save` into an existing folder."""
        topology, carry = self.topology, self.carrier
        arrays = {
            "triangles": topology.triangles,
            "uv": topology.uv,
            "uv_triangles": topology.uv_triangles,
            "neutral": self.neutral,
            "place": self.place.astype(np.int32),
            "pose_weights": self.pose_weights,
            "known": carry.known.astype(np.int32),
            "index": carry.index.astype(np.int32),
            "weights": carry.weights.astype(np.float32),
            "free": carry.free.astype(np.int32),
            "added": np.int32(self.added),
            "smoothing": np.int32(carry.smoothing),
            **{f"region:{name}": value for name, value in topology.regions.items()},
            **{f"landmark:{name}": np.int32(value) for name, value in topology.landmarks.items()},
        }
        if self.wrinkle_table is not None:
            arrays["wrinkle_table"] = self.wrinkle_table
        np.savez_compressed(partial / "mesh.npz", allow_pickle=False, **arrays)
        # millimetres in half precision: a thousandth of a millimetre for movements of a few
        stored = (1000 * self.shapes).astype(np.float16)
        np.savez_compressed(partial / "shapes.npz", millimetres=stored, names=np.array(ARKIT_NAMES))
        config = {
            "format": FORMAT,
            "name": topology.name,
            "scale": self.similarity.scale,
            "rotation": self.similarity.rotation.tolist(),
            "shift": self.similarity.shift.tolist(),
            "pivot": list(self.pivot),
            "report": self.report or {},
        }
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        for picture, name in ((self.albedo, "albedo.png"), (self.parts_texture, "parts.png")):
            if picture is not None:
                from PIL import Image

                Image.fromarray(picture).save(partial / name)

    @classmethod
    def load(cls, folder: Path | str) -> "Character":
        """A folder written by `save`. Raises InputError if it is missing, damaged or of a newer kind."""
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            found = "it does not exist" if not folder.exists() else "it is a file"
            found = "it has no config.json" if folder.is_dir() else found
            raise InputError(
                f"{folder} is no character: {found}; wanted a folder made with: "
                "parlante character build me.obj -o me.character"
            )
        wanted = "a character made with: parlante character build me.obj -o me.character"
        config = read_header(_Config, folder / "config.json", wanted)
        if config.format != FORMAT:
            raise InputError(
                f"{folder} is no character: format {config.format}, this version knows {FORMAT}; give {wanted}"
            )
        similarity = Similarity(config.scale, np.array(config.rotation), np.array(config.shift))
        arrays = read_npz(folder / "mesh.npz", _NAMED)
        shapes = read_npz(folder / "shapes.npz", ("millimetres",))["millimetres"]

        def named(prefix: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        neutral = arrays["neutral"].astype(np.float32)
        try:
            topology = Topology(
                config.name or folder.stem,
                len(neutral),
                arrays["triangles"].astype(np.int32),
                arrays["uv"],
                arrays["uv_triangles"].astype(np.int32),
                {key: value.astype(np.int32) for key, value in named("region:").items()},
                {key: int(value) for key, value in named("landmark:").items()},
            )
            place, added = arrays["place"].astype(np.int64), int(arrays.get("added", 0))
            if shapes.shape != (len(ARKIT_NAMES), len(neutral), 3) or len(place) + added != len(neutral):
                raise ValueError(f"shapes {shapes.shape} for {len(neutral)} vertices")
        except ValueError as error:
            raise InputError(f"{folder} is damaged: {error}; build it again") from error
        mine = (topology.triangles < len(place)).all(1)
        surface = welded(neutral[: len(place)], topology.triangles[mine], place)
        known, free = arrays["known"].astype(np.int64), arrays["free"].astype(np.int64)
        index, weights = arrays["index"].astype(np.int64), arrays["weights"].astype(np.float64)
        carrier = Carrier(known, index, weights, free, surface, int(arrays.get("smoothing", 0)))
        albedo, parts_texture = (
            read_picture(folder / name) if (folder / name).is_file() else None for name in ("albedo.png", "parts.png")
        )
        return cls(
            topology,
            neutral,
            (shapes.astype(np.float32) / np.float32(1000)).astype(np.float32),
            similarity,
            config.pivot,
            arrays["pose_weights"].astype(np.float32),
            place,
            carrier,
            albedo,
            arrays.get("wrinkle_table"),
            config.report,
            added,
            parts_texture,
        )


def welded(vertices: NDArray[np.floating], triangles: NDArray[np.integer], place: NDArray[np.int64]) -> Surface:
    """The surface of the distinct places."""
    places = np.zeros((int(place.max()) + 1, 3))
    places[place] = vertices
    return Surface(places, place[triangles])
