"""Baking to UV maps and back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from parlante.core import Topology
from parlante.geometry.uv import BakeTable, MotionStats, bake_table, motion_maps, offsets_from_maps


def grid(rows: int = 14, columns: int = 12, seam: bool = False) -> Topology:
    """A sheet; with `seam`, its middle column of vertices has two uv corners on two separate charts."""
    v, u = np.mgrid[0:rows, 0:columns]
    number = (v * columns + u).astype(np.int32)
    uv = np.stack([u / (columns - 1) * 0.8 + 0.1, v / (rows - 1) * 0.8 + 0.1], -1).reshape(-1, 2).astype(np.float32)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    uv_triangles = triangles.copy()
    if seam:
        uv[:, 0] *= 0.9
        middle = columns // 2
        right = (triangles % columns).mean(1) > middle
        twin = np.arange(rows * columns) + rows * columns
        moved = uv + np.array([0.08, 0.0], np.float32)
        uv_triangles[right] = twin[triangles[right]]
        uv = np.concatenate([uv, moved]).astype(np.float32)
    return Topology("grid", rows * columns, triangles, uv, uv_triangles)


@pytest.mark.parametrize("seam", [False, True])
def test_round_trip(seam: bool) -> None:
    """Smooth values come back to within 1 % of their range; linear ones almost exactly, at the edges and seams too."""
    topology = grid(seam=seam)
    table = BakeTable(topology, 64)
    t = np.linspace(0, 1, topology.num_vertices)
    position = np.stack([np.arange(topology.num_vertices) % 12 / 11, np.arange(topology.num_vertices) // 12 / 13], -1)
    linear = position @ np.array([[1.0, 0.3], [-0.5, 2.0]])
    smooth = np.sin(3 * position) * np.cos(2 * position[:, ::-1])
    values = torch.tensor(np.concatenate([linear, smooth], -1)[None], dtype=torch.float32)
    back = table.sample(table.bake(values))
    error = (back - values).abs().amax((0, 1))
    assert error[:2].max() < 2e-3 and error[2:].max() < 1e-2, (error, t.shape)


def test_baking_agrees_with_a_plain_loop_and_with_numpy() -> None:
    topology = grid()
    table = BakeTable(topology, 32)
    values = np.random.default_rng(0).normal(size=(2, topology.num_vertices, 3)).astype(np.float32)
    baked = table.bake(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(table.bake_array(values).transpose(0, 3, 1, 2), baked, atol=1e-5)
    for row, column in [(5, 5), (16, 9), (20, 26)]:
        point = np.array([(column + 0.5) / 32, 1 - (row + 0.5) / 32])
        for triangle in topology.triangles:
            a, b, c = topology.uv[triangle].astype(float)
            v, w = np.linalg.solve(np.stack([b - a, c - a], 1), point - a)
            if v >= 0 and w >= 0 and v + w <= 1:
                expected = (
                    (1 - v - w) * values[:, triangle[0]] + v * values[:, triangle[1]] + w * values[:, triangle[2]]
                )
                np.testing.assert_allclose(baked[:, :, row, column], expected, atol=1e-3)
                break
        else:
            raise AssertionError("no triangle here")


def test_gradients_flow_both_ways() -> None:
    topology = grid()
    table = bake_table(topology, 32)
    values = torch.randn(1, topology.num_vertices, 3, requires_grad=True)
    table.sample(table.bake(values)).square().sum().backward()
    assert values.grad is not None and (values.grad.abs().sum(-1) > 0).all()
    assert bake_table(topology, 32) is table


def test_constant_stays_constant_everywhere() -> None:
    table = BakeTable(grid(seam=True), 48)
    baked = table.bake(torch.full((1, table.topology.num_vertices, 1), 0.25))
    assert torch.allclose(baked, torch.tensor(0.25), atol=1e-6)
    assert 0.3 < table.covered.mean() < 0.9


def test_motion_maps() -> None:
    topology = grid()
    table = bake_table(topology, 64)
    position = np.stack([np.arange(topology.num_vertices) % 12 / 11, np.arange(topology.num_vertices) // 12 / 13], -1)
    offsets = np.stack([position[:, 0], position[:, 1] ** 2, -position[:, 0] * position[:, 1]], -1)[None] * 0.02
    stats = MotionStats.fit(offsets)
    maps = motion_maps(torch.tensor(offsets), table, stats)
    assert maps.shape == (1, 3, 64, 64) and maps[:, :, 32, 32].min() > 0 and maps[:, :, 32, 32].max() < 1
    back = offsets_from_maps(maps, table, stats).numpy()
    assert np.abs(back - offsets).max() < 2e-4  # metres, of a motion of 20 mm
    assert MotionStats.from_dict(stats.to_dict()) == stats
    np.testing.assert_allclose(stats.denormalise(stats.normalise(offsets)), offsets, atol=1e-9)


def test_errors_name_the_shape() -> None:
    table = bake_table(grid(), 32)
    with pytest.raises(ValueError, match=r"\(B, 168, C\).*\(1, 5, 3\)"):
        table.bake(torch.zeros(1, 5, 3))
    with pytest.raises(ValueError, match=r"32, 32.*16"):
        table.sample(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("name", ["synthetic", "border"])
def test_published_rasteriser(shared: Path, name: str) -> None:
    """Equal to the maps that the authors' script made, the border oddity included."""
    import json

    from safetensors.numpy import load_file

    folder = shared / "parity" / "motion_map"
    case = load_file(folder / f"{name}.safetensors")
    config = json.loads((folder / f"{name}.json").read_text())["hyperparameters"]

    def triangles(faces: np.ndarray) -> np.ndarray:
        return np.array([t for f in faces for t in ([f[[0, 1, 2]], f[[0, 2, 3]]] if f[3] >= 0 else [f[:3]])], np.int32)

    topology = Topology(
        name, len(case["in/vertices"]), triangles(case["in/faces"]), case["in/uv"], triangles(case["in/uv_faces"])
    )
    table = BakeTable(topology, config["resolution"], reference=True)
    stats = MotionStats.from_reference(config["stat"])
    values = stats.normalise(case["in/offsets"])
    made = table.bake_array(values[None])[0] * table.covered[..., None]
    difference = np.abs(made - case["out/map"])
    assert np.mean(difference.max(-1) > 1e-5) < 1e-3, difference.max()


def test_refining_undoes_the_blur_of_a_coarse_map() -> None:
    topology = grid()
    table = bake_table(topology, 16)
    values = torch.randn(1, topology.num_vertices, 2, generator=torch.Generator().manual_seed(0))
    maps = table.bake(values)
    plain, refined = ((table.sample(maps, rounds) - values).abs().mean() for rounds in (0, 2))
    assert refined < 0.8 * plain


def test_a_round_of_refining_is_baking_and_reading_again() -> None:
    """The matrix that stands for both gives what they give; so does every layout, with gradients or without."""
    table = bake_table(grid(seam=True), 24)
    values = torch.randn(2, table.topology.num_vertices, 3, generator=torch.Generator().manual_seed(0))
    maps = table.bake(values)
    first = table.sample(maps)
    expected = first + table.sample(maps - table.bake(first))
    learning = maps.clone().requires_grad_()
    for same in (maps, maps.contiguous(), maps.to(memory_format=torch.channels_last), maps[:, :, :, :], learning):
        torch.testing.assert_close(table.sample(same, refine=1), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(table.sample(maps.double(), refine=1).float(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(table.bake(values.double()).float(), maps, atol=1e-5, rtol=1e-5)
    odd = torch.randn(2, 5, 24, 24)
    torch.testing.assert_close(table.sample(odd), table.sample(odd.double()).float(), atol=1e-5, rtol=1e-5)


def test_no_vertex_reads_the_background() -> None:
    """Whatever stands in texels that no chart and no chart's rim covers, vertices do not see it."""
    table = bake_table(grid(seam=True), 64)
    near = np.zeros((64, 64), bool)
    rows, columns = np.divmod(table.sample_texels[table.sample_weights > 0], 64)
    near[rows, columns] = True
    from scipy.ndimage import binary_dilation

    assert (binary_dilation(table.covered, np.ones((3, 3), bool)) | ~near).all()
    maps = table.bake(torch.ones(1, table.topology.num_vertices, 1))
    spoiled = torch.where(torch.from_numpy(near), maps, torch.tensor(1e6))
    torch.testing.assert_close(table.sample(spoiled), torch.ones(1, table.topology.num_vertices, 1))
