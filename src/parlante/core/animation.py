"""The result: a face that moves, with its wrinkles, curves and sound."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.topology import Topology


@dataclass(frozen=True, eq=False)
class Animation:
    """Frame t is the face at `t / fps` seconds of `audio`.

    `parlante.export` writes it to every format; `parlante.export.npz.load` reads it back.
    """

    topology: Topology
    fps: float
    neutral: NDArray[np.float32]
    """(V, 3) metres."""
    vertices: NDArray[np.float32]
    """(T, V, 3) metres, without head pose."""
    audio: NDArray[np.float32]
    """(N,) mono, -1..1, as it will be heard."""
    sample_rate: int
    wrinkle: NDArray[np.uint8] | None = None
    """(T, h, w, 3) wrinkle ratio maps, stored as round(255 * tanh(ratio / 2)); 118 means unchanged."""
    weights: NDArray[np.float32] | None = None
    """(T, 52) ARKit blendshape weights, 0..1."""
    weight_names: tuple[str, ...] = ()
    head_pose: NDArray[np.float32] | None = None
    """(T, 6) rotation about x, y, z (radians: pitch, yaw, roll) and translation (metres) about the neck joint."""
    albedo: NDArray[np.uint8] | None = None
    """(H, W, 3) sRGB of the speaking identity."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Model, checkpoint hash, seed, style: what it takes to make the same result again."""

    def __post_init__(self) -> None:
        frames = len(self.vertices)
        if self.vertices.shape != (frames, self.topology.num_vertices, 3):
            raise InputError(
                f"vertices must be (T, {self.topology.num_vertices}, 3) for topology {self.topology.name}, "
                f"got {self.vertices.shape}"
            )
        for name in ("wrinkle", "weights", "head_pose"):
            array = getattr(self, name)
            if array is not None and len(array) != frames:
                raise InputError(f"{name} has {len(array)} frames, vertices have {frames}; give as many of each")

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each thing that was assumed, dropped, replaced or missing when this was made."""
        lines = self.provenance.get("notes", ())
        return tuple(map(str, lines)) if isinstance(lines, list | tuple) else ()

    def save(self, *outputs: Path | str) -> None:
        """Write it to one or more outputs, whose suffixes choose the formats (`parlante export --formats`).

        Raises InputError for an output that cannot be written.
        """
        from importlib import import_module

        if not outputs:
            raise InputError("name the files to write, such as talk.glb, got none")
        import_module("parlante.export").save(self, *outputs)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.vertices) / self.fps
