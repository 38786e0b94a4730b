"""Metrics say what their names say, and equal the numbers of the published scripts."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from parlante import metrics


def test_one_lip_vertex_moved_one_millimetre() -> None:
    true = np.zeros((4, 10, 3))
    pred = true.copy()
    pred[:, 2, 0] = 0.001
    pred[:, 7] = 9.0  # a cheek
    assert metrics.lip_vertex_error_mm([pred], [true], [1, 2, 3]) == pytest.approx(1.0)
    assert metrics.lip_vertex_error_m2([pred], [true], [1, 2, 3]) == pytest.approx(1e-6)
    assert metrics.mean_vertex_error([pred], [true], [2, 3]) == pytest.approx(0.0005)


def test_lip_errors_of_several_sequences_weigh_frames_alike() -> None:
    draw = np.random.default_rng(1)
    true = [draw.normal(size=(frames, 6, 3)).astype(np.float32) for frames in (5, 9)]
    pred = [draw.normal(size=(frames, 6, 3)).astype(np.float32) for frames in (7, 4)]  # longer, shorter than the truth
    worst = [((p[:n, [4, 1]] - t[:n, [4, 1]]) ** 2).sum(-1).max(-1) for p, t, n in zip(pred, true, (5, 4))]
    wanted = np.concatenate(worst).mean()
    assert metrics.lip_vertex_error_m2(pred, true, np.array([4, 1])) == pytest.approx(float(wanted), rel=1e-6)


def test_a_still_prediction_is_less_lively() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20, 5, 3))
    still = np.zeros_like(true)
    rest = np.zeros((5, 3))
    assert metrics.upper_face_dynamics_deviation([still], [true], [rest], [0, 1]) > 0
    assert metrics.upper_face_dynamics_deviation([true], [still], [rest], [0, 1]) < 0
    assert metrics.upper_face_dynamics_deviation([true], [still], [rest], [0, 1], absolute=True) > 0


def test_meshes_must_match() -> None:
    with pytest.raises(ValueError, match="different meshes"):
        metrics.mean_vertex_error([np.zeros((2, 4, 3))], [np.zeros((2, 5, 3))])


@pytest.mark.parametrize("form", ["", "_long"])
def test_vertex_metrics_equal_the_published_scripts(shared, form: str) -> None:
    data = load_file(shared / "parity" / "metrics" / "vertices.safetensors")
    keys = sorted(k.split("/")[-1] for k in data if k.startswith("in/gt/"))
    true = [data[f"in/gt/{k}"] for k in keys]
    pred = [data[f"in/pred{form}/{k}"] for k in keys]
    rest = [data[f"in/template/{k.split('_')[0]}"] for k in keys]
    lips, upper = data["in/lip_vertices"], data["in/upper_vertices"]
    for script in ("talkingstyle", "facediffuser"):
        out = {k.split("/")[-1]: float(v) for k, v in data.items() if k.startswith(f"out/{script}{form}/")}
        assert metrics.lip_vertex_error_m2(pred, true, lips) == pytest.approx(out["lve"], rel=1e-12)
        assert metrics.upper_face_dynamics_deviation(pred, true, rest, upper) == pytest.approx(out["fdd"], rel=1e-9)
        if "mve" in out:
            assert metrics.mean_vertex_error(pred, true) == pytest.approx(out["mve"], rel=1e-12)
            value = metrics.upper_face_dynamics_deviation(pred, true, rest, upper, absolute=True)
            assert value == pytest.approx(out["abs_fdd"], rel=1e-9)
