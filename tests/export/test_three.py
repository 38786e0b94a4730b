"""three.js draws our GLB as our renderer draws the animation: same outline, same lips, frame by frame.

Needs Chromium, and three.js from npm in the folder that PARLANTE_NODE_MODULES names.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from three_page import draw, tools

from parlante.audio.phones import Phone
from parlante.core import Animation, Topology
from parlante.export import animation_info, frame_blocks
from parlante.export.outputs import write_all
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES
from parlante.render import Renderer
from parlante.synth.articulation import articulate

SIZE, TEXTURE = 512, 2048
FRAMES = (0, 3, 5, 8, 11, 14, 17, 20, 23)
BLUE, RED, GREEN = (30, 60, 255), (255, 0, 0), (0, 255, 0)


def painted(topology: Topology, spots: dict[int, tuple[int, int, int]]) -> np.ndarray:
    """A blue skin with coloured patches about some vertices."""
    picture = Image.new("RGB", (TEXTURE, TEXTURE), BLUE)
    pen = ImageDraw.Draw(picture)
    for vertex, colour in spots.items():
        near = np.isin(topology.triangles, topology.triangles[(topology.triangles == vertex).any(1)]).any(1)
        for corners in topology.uv_triangles[near]:
            pen.polygon([(u * TEXTURE, (1 - v) * TEXTURE) for u, v in topology.uv[corners].tolist()], fill=colour)
    return np.asarray(picture)


def shown(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outline (H, W) and the middles (x, y) of what is red and what is green, as seen under any light."""
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    middles = [
        np.argwhere((one > 60) & (one > 2 * other) & (one > 2 * b)).mean(0)[::-1] for one, other in ((r, g), (g, r))
    ]
    return picture.max(-1).astype(int) - picture.min(-1) > 25, middles[0], middles[1]


@pytest.mark.slow
def test_three_js_draws_every_frame_like_our_renderer(tmp_path: Path) -> None:
    tools()
    head = load_head()
    name = head.identity_names[0]
    phones = [Phone(symbol, 0.12 * n, 0.12 * (n + 1)) for n, symbol in enumerate(("sil", "m", "aa", "p", "uw", "f"))]
    weights = articulate(phones, np.arange(24) / 30)
    pose = np.zeros((24, 6), np.float32)
    pose[:, 0], pose[:, 1] = 0.05 * np.cos(np.arange(24) / 4), 0.15 * np.sin(np.arange(24) / 5)
    upper, lower = (head.topology.landmarks[which] for which in ("upper_lip_top", "lower_lip_bottom"))
    said = Animation(
        topology=head.topology, fps=30.0, neutral=head.neutral(name), vertices=head.deform(name, weights),
        audio=np.zeros(12800, np.float32), sample_rate=16000, weights=weights, weight_names=ARKIT_NAMES,
        head_pose=pose, albedo=painted(head.topology, {upper: RED, lower: GREEN}), provenance={"identity": name},
    )  # fmt: skip
    info = animation_info(said)
    write_all(info, frame_blocks(said), [tmp_path / "take.glb"])
    with Renderer(head.topology, said.neutral, size=SIZE, albedo=said.albedo, pivot=info.pivot) as renderer:
        ours = [renderer.draw(said.vertices[frame], head_pose=pose[frame]) for frame in FRAMES]
        theirs, told = draw(tmp_path / "take.glb", tmp_path, [frame / 30 for frame in FRAMES], renderer.camera, SIZE)
    assert any("morphTargetInfluences" in track for track in told["tracks"])
    gaps = []
    for frame, mine, seen in zip(FRAMES, ours, theirs):
        (outline, red, green), (outline_, red_, green_) = shown(mine), shown(seen)
        same = (outline & outline_).sum() / (outline | outline_).sum()
        assert same > 0.985, f"outlines of frame {frame} have {same:.3f} in common"
        assert max(np.abs(red - red_).max(), np.abs(green - green_).max()) < 1.5, f"lips of frame {frame}"
        gaps.append((np.linalg.norm(green - red), np.linalg.norm(green_ - red_)))
    mine, seen = np.array(gaps).T
    assert np.ptp(mine) > 8, "the mouth opens by many pixels"
    assert np.corrcoef(mine, seen)[0, 1] > 0.99
