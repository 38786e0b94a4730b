"""Godot imports our GLB: 52 named blend shapes, and an animation that sets them as the weights say.

Needs Debian's godot3-server, or another headless Godot 3.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Animation
from parlante.export import AnimationInfo, frame_blocks
from parlante.export.outputs import write_all


@pytest.mark.slow
def test_godot_finds_the_shapes_and_the_animation(animation: Animation, info: AnimationInfo, tmp_path: Path) -> None:
    godot = shutil.which("godot3-server") or shutil.which("godot3-headless")
    if godot is None:
        pytest.skip("no headless Godot 3: apt-get install godot3-server")
    write_all(info, frame_blocks(animation), [tmp_path / "take.glb"])
    (tmp_path / "project.godot").write_text('config_version=4\n\n[application]\nconfig/name="test"\n')
    shutil.copy(Path(__file__).with_name("godot_read.gd"), tmp_path)
    home = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    editor = subprocess.Popen(
        [godot, "-e", "--quit", "--path", str(tmp_path)],
        env=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:  # the editor imports what it finds in its folder; it does not always leave
        end = time.monotonic() + 240
        while not list(tmp_path.glob(".import/take.glb-*.md5")) and time.monotonic() < end:
            time.sleep(0.5)
    finally:
        editor.terminate()
        editor.wait(30)
    read = [godot, "--path", str(tmp_path), "-s", "godot_read.gd"]
    told = subprocess.run(read, env=home, capture_output=True, text=True, timeout=240).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("FOUND ")]
    found = json.loads(line.removeprefix("FOUND "))
    assert found["shapes"][:52] == list(info.weight_names)
    assert found["length"] == pytest.approx(19 / 30, abs=1e-3) and found["turns"] >= 2  # its optimizer thins them
    for column, name in enumerate(info.weight_names):
        times, values = np.array(found["tracks"][f"blend_shapes/{name}"]).T
        np.testing.assert_allclose(
            np.interp(np.arange(20) / 30, times, values), animation.weights[:, column], atol=2e-3
        )
