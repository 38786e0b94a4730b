"""Expression and jaw come back from vertices of a made-up model with FLAME's arrays, FLAME's own being licensed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.export import save
from parlante.export.flame import FlameModel


@pytest.fixture
def model(animation: Animation, tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    count = animation.topology.num_vertices
    smooth = np.cos(np.outer(np.arange(count), rng.random(310)) + rng.random(310))  # (V, 310)
    directions = 0.002 * smooth[:, None] * rng.normal(size=(1, 3, 310))
    weights = np.zeros((count, 5))
    weights[:, 2] = 1 / (1 + np.exp(120 * animation.neutral[:, 1]))  # the lower half follows the jaw
    weights[:, 1] = 1 - weights[:, 2]
    regressor = rng.random((5, count))
    regressor /= regressor.sum(1, keepdims=True)
    path = tmp_path / "model.npz"
    posedirs = 1e-3 * rng.normal(size=(count, 3, 36))
    np.savez(path, shapedirs=directions, posedirs=posedirs, J_regressor=regressor, weights=weights)
    return path


def test_expression_and_jaw_come_back(model: Path, animation: Animation, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    flame = FlameModel(model)
    assert flame.expressions == 10
    expression = rng.normal(size=(20, 10))
    jaw = np.zeros((20, 3))
    jaw[:, 0] = 0.15 + 0.15 * np.sin(np.arange(20) / 3)
    turns = Rotation.from_rotvec(jaw).as_matrix()
    vertices = flame.pose(animation.neutral, expression, turns).astype(np.float32)
    spoken = replace(animation, vertices=vertices)
    save(spoken, tmp_path / "a.flame.npz", fidelity=Fidelity(flame_model=str(model)))
    with np.load(tmp_path / "a.flame.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["jaw_pose"], jaw, atol=1e-4)
        np.testing.assert_allclose(found["expression"], expression, atol=1e-3)
        posed = flame.pose(animation.neutral, found["expression"], Rotation.from_rotvec(found["jaw_pose"]).as_matrix())
        away = np.linalg.norm(posed - vertices, axis=-1)
        assert away.max() < 2e-6 and abs(found["worst"] - away.max()) < 1e-6
        assert found["fps"] == 30 and "head_pose" in found


def test_what_is_no_flame_is_refused(model: Path, animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"licensed.*--flame-model"):
        save(animation, tmp_path / "a.flame.npz")
    with np.load(model) as arrays:
        few = {key: arrays[key] for key in arrays.files}
    np.savez(tmp_path / "odd.npz", **{**few, "posedirs": few["posedirs"][:, :, :9]})
    with pytest.raises(InputError, match=r"posedirs \(144, 3, 9\), wanted \(144, 3, 36\)"):
        FlameModel(tmp_path / "odd.npz")
    half = {"shapedirs": few["shapedirs"][:72], "posedirs": few["posedirs"][:72], "weights": few["weights"][:72]}
    np.savez(tmp_path / "half.npz", J_regressor=few["J_regressor"][:, :72], **half)
    with pytest.raises(InputError, match="144 vertices, FLAME has 72"):
        save(animation, tmp_path / "a.flame.npz", fidelity=Fidelity(flame_model=str(tmp_path / "half.npz")))
