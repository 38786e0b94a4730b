"""FLAME's own parameters for vertices in FLAME's topology, given the user's copy of the model.

FLAME (Li et al. 2017) poses a face as v = T + w (R - I)(T - J), T = neutral + E e + P(R): expression e, jaw rotation R
about the joint J, skinning weights w, pose correctives P. Its bases are licensed and not here: the user gives them as
an `.npz` with the model file's own arrays. Expression and jaw are found in turns, each exactly.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, read_npz
from parlante.core.options import Fidelity
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink

_JAW = 2  # joints: root, neck, jaw, left eye, right eye
_SHAPES = 300  # columns of `shapedirs` before the expressions
_TURNS = 12
_RIDGE = 1e-6


class FlameModel:
    """The parts of FLAME that expression and jaw need."""

    def __init__(self, path: Path | str, expressions: int = 50) -> None:
        """`path`: `.npz` with shapedirs (V, 3, 300 + E), posedirs (V, 3, 36), J_regressor (5, V) and weights (V, 5).

        Raises InputError for other arrays.
        """
        arrays = read_npz(path, ("shapedirs", "posedirs", "J_regressor", "weights"))
        count = len(arrays["weights"])
        wanted = {"posedirs": (count, 3, 36), "J_regressor": (5, count), "weights": (count, 5)}
        wrong = [
            f"{key} {arrays[key].shape}, wanted {shape}" for key, shape in wanted.items() if arrays[key].shape != shape
        ]
        directions = arrays["shapedirs"]
        if directions.ndim != 3 or directions.shape[:2] != (count, 3) or directions.shape[2] <= _SHAPES:
            wrong.append(f"shapedirs {directions.shape}, wanted ({count}, 3, {_SHAPES} and more)")
        if wrong:
            raise InputError(f"{path} is not a FLAME model: {'; '.join(wrong)}")
        basis = directions[:, :, _SHAPES : _SHAPES + expressions].astype(np.float64)
        self.num_vertices = count
        self.expressions = basis.shape[2]
        self._basis = basis.reshape(3 * count, -1)
        self._correctives = arrays["posedirs"][:, :, 9 * (_JAW - 1) : 9 * _JAW].astype(np.float64).reshape(3 * count, 9)
        self._regressor = arrays["J_regressor"][_JAW].astype(np.float64)
        self._share = arrays["weights"][:, _JAW].astype(np.float64)
        gram = self._basis.T @ self._basis
        gram[np.diag_indices(len(gram))] += _RIDGE * np.trace(gram) / len(gram)
        self._solve = np.linalg.solve(gram, self._basis.T)

    def pose(
        self, neutral: NDArray[np.floating], expression: NDArray[np.floating], turns: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(T, V, 3) of expression (T, E) and jaw rotation matrices (T, 3, 3)."""
        still, joint = self._still(neutral, expression, turns)
        away = still - joint[:, None]
        turned = np.einsum("tij,tvj->tvi", turns - np.eye(3), away)
        return np.asarray(still + self._share[:, None] * turned)

    def fit(
        self, neutral: NDArray[np.floating], vertices: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expression (T, E) and jaw rotation matrices (T, 3, 3) of vertices (T, V, 3)."""
        count = len(vertices)
        turns = np.tile(np.eye(3), (count, 1, 1))
        expression = np.zeros((count, self.expressions))
        share = self._share[:, None]
        for _ in range(_TURNS):
            still, joint = self._still(neutral, expression, turns)
            before = share * (still - joint[:, None])
            after = vertices - joint[:, None] - (1 - share) * (still - joint[:, None])
            left, _, right = np.linalg.svd(np.einsum("tvi,tvj->tij", after, before))  # Kabsch
            sign = np.sign(np.linalg.det(left @ right))
            left[:, :, 2] *= sign[:, None]
            turns = left @ right
            less = share[None, :, :, None] * (turns - np.eye(3))[:, None]  # (T, V, 3, 3)
            goal = vertices + np.einsum("tvij,tj->tvi", less, joint)
            unposed = np.linalg.solve(less + np.eye(3), goal[..., None])[..., 0]
            rest = (unposed - neutral).reshape(count, -1) - self._corrected(turns)
            expression = rest @ self._solve.T
        return expression, turns

    def _still(
        self, neutral: NDArray[np.floating], expression: NDArray[np.floating], turns: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Faces before the jaw turns (T, V, 3), and the joint (T, 3)."""
        shaped = neutral + (expression @ self._basis.T).reshape(len(expression), -1, 3)
        joint = np.einsum("v,tvi->ti", self._regressor, shaped)
        return shaped + self._corrected(turns).reshape(shaped.shape), joint

    def _corrected(self, turns: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray((turns - np.eye(3)).reshape(len(turns), 9) @ self._correctives.T)


class FlameSink(FileSink):
    """Sink for `.flame.npz`: expression (T, E), jaw_pose (T, 3) axis-angle, neutral, fps, and how far vertices are off.

    Raises InputError if no model is given or the mesh is not FLAME's.
    """

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity) -> None:
        if fidelity.flame_model is None:
            raise InputError(
                f"cannot write {path}: FLAME's parameters need FLAME's own bases, which are licensed; "
                "give your copy as an .npz of its arrays with --flame-model"
            )
        self._model = FlameModel(fidelity.flame_model)
        if info.topology.num_vertices != self._model.num_vertices:
            raise InputError(
                f"cannot write {path}: the animation has {info.topology.num_vertices} vertices, FLAME has "
                f"{self._model.num_vertices}; animate with a talker of FLAME's mesh"
            )
        super().__init__(path, info)
        self._rows: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._worst, self._total = 0.0, 0.0
        self._poses = RowBuffer()

    def write(self, block: FrameBlock) -> None:
        """Fit the frames."""
        neutral = self.info.neutral.astype(np.float64)
        for start in range(0, len(block), 16):
            vertices = block.vertices[start : start + 16].astype(np.float64)
            found = self._model.fit(neutral, vertices)
            away = np.linalg.norm(self._model.pose(neutral, *found) - vertices, axis=-1)
            self._worst, self._total = max(self._worst, float(away.max())), self._total + float(away.mean(1).sum())
            self._rows.append(found)
        if block.head_pose is not None:
            self._poses.append(block.head_pose)

    def finish(self) -> None:
        from scipy.spatial.transform import Rotation

        turns = np.concatenate([turns for _, turns in self._rows])
        arrays: dict[str, NDArray[Any]] = {
            "expression": np.concatenate([expression for expression, _ in self._rows]).astype(np.float32),
            "jaw_pose": Rotation.from_matrix(turns).as_rotvec().astype(np.float32),
            "neutral": self.info.neutral,
            "fps": np.asarray(self.info.fps),
            "worst": np.asarray(self._worst),
            "mean": np.asarray(self._total / max(1, self.info.num_frames)),
        }
        if self._poses:
            arrays["head_pose"] = self._poses.array()
        with self.partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
