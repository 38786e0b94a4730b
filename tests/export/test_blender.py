"""Blender opens the files, and the face moves there as it does here.

Needs `bpy` (pip install bpy, about 1 GB) in this Python, or in the one that PARLANTE_BLENDER_PYTHON names.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parlante.audio.phones import Phone
from parlante.core import Animation
from parlante.export import animation_info, frame_blocks, save
from parlante.export.frames import Poser
from parlante.geometry.pose import apply_head_pose, neck_weights
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES
from parlante.synth.articulation import articulate


@pytest.fixture(scope="module")
def blender() -> str:
    named = os.environ.get("PARLANTE_BLENDER_PYTHON")
    if named is None and importlib.util.find_spec("bpy") is None:
        pytest.skip("no Blender: pip install bpy, or set PARLANTE_BLENDER_PYTHON to a Python that has it")
    return named or sys.executable


def test_blender_shows_the_same_motion(blender: str, tmp_path: Path) -> None:
    head = load_head()
    name = head.identity_names[0]
    phones = [Phone(symbol, 0.12 * n, 0.12 * (n + 1)) for n, symbol in enumerate(("sil", "m", "aa", "p", "uw", "f"))]
    weights = articulate(phones, np.arange(24) / 30)
    pose = np.zeros((24, 6), np.float32)
    pose[:, 1] = 0.2 * np.sin(np.arange(24) / 5)
    said = Animation(
        topology=head.topology,
        fps=30.0,
        neutral=head.neutral(name),
        vertices=head.deform(name, weights),
        audio=np.zeros(12800, np.float32),
        sample_rate=16000,
        weights=weights,
        weight_names=ARKIT_NAMES,
        head_pose=pose,
        provenance={"identity": name},
    )
    usd = importlib.util.find_spec("pxr") is not None
    if not usd:
        pytest.skip("USD needs usd-core: pip install 'parlante[usd]'")
    save(said, *(tmp_path / f"a.{kind}" for kind in ("glb", "usdc", "pc2", "mdd", "neutral.obj")))
    script = Path(__file__).with_name("blender_read.py")
    done = subprocess.run([blender, str(script), str(tmp_path), "24"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    info = animation_info(said)
    ours = Poser(info)(next(frame_blocks(said)))
    share = neck_weights(said.neutral, info.pivot, head.topology)
    np.testing.assert_array_equal(ours, apply_head_pose(said.vertices, pose, info.pivot, share))
    for kind in ("pc2", "mdd"):
        np.testing.assert_allclose(np.load(tmp_path / f"{kind}.npy"), ours, atol=1e-7)
    upper, lower = (head.topology.landmarks[f"{lip}_lip_inner"] for lip in ("upper", "lower"))
    gap = np.linalg.norm(ours[:, upper] - ours[:, lower], axis=-1)
    usdc, glb = np.load(tmp_path / "usdc.npy"), np.load(tmp_path / "glb.npy")
    # the neck, which follows the head by share, bends a little differently between joints than here
    assert np.linalg.norm(usdc - ours, axis=-1).max() < 5e-4
    here = [int(np.linalg.norm(glb[0] - ours[0, vertex], axis=-1).argmin()) for vertex in (upper, lower)]
    assert np.linalg.norm(glb[:, here] - ours[:, [upper, lower]], axis=-1).max() < 1e-4
    for moved, (top, bottom) in ((usdc, (upper, lower)), (glb, here)):
        seen = np.linalg.norm(moved[:, top] - moved[:, bottom], axis=-1)
        assert np.corrcoef(seen, gap)[0, 1] > 0.999
