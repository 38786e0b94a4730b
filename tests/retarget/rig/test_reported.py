"""Rigs as users of other programs have sent them."""

from pathlib import Path

import numpy as np
import pytest
from rig_files import arkit_weights, rigged, spoken
from test_jaw import Puppet

from parlante.retarget.rig.rigged import read_rig


def test_quantised_targets_move(tmp_path: Path) -> None:
    """Normalised 16-bit numbers, without bounds: a target is empty only if all are 0."""
    puppet = Puppet()
    primitive = puppet.mesh("Face", puppet.points, {"jawOpen": puppet.opened(0.5), "cheekPuff": puppet.opened(0.5)})
    for target, far in zip(primitive["targets"], (0.5, 0.0), strict=True):
        short = np.round(puppet.opened(far) * 32767).astype("<i2")
        target["POSITION"] = puppet.put(np.pad(short, ((0, 0), (0, 1)))[:, :3].copy(), "VEC3", 5122)
        puppet.root["accessors"][target["POSITION"]]["normalized"] = True
    rig = read_rig(puppet.save(tmp_path / "a.glb"))
    assert rig.useful and rig.empty == ["cheekPuff"]


@pytest.mark.parametrize("names", [("Blink", "Blink_L", "Blink_R"), ("Blink_L", "Blink_R")])
def test_winks_that_both_close_both_eyes_close_them_once(tmp_path: Path, names: tuple[str, ...]) -> None:
    binds = [{"mesh": 0, "index": 1, "weight": 100}]
    groups = [{"name": name, "presetName": name.lower(), "binds": binds} for name in names]
    groups.append({"name": "A", "presetName": "a", "binds": [{"mesh": 0, "index": 0, "weight": 100}]})
    extensions = {"VRM": {"blendShapeMaster": {"blendShapeGroups": groups}}}
    path = rigged(tmp_path / "me.vrm", ["open", "both"], extensions=extensions)
    said = spoken(path, arkit_weights(eyeBlinkLeft=1, eyeBlinkRight=1))[1][0, "weights"]
    np.testing.assert_allclose(said[:, 1], np.linspace(0, 1, 5), atol=1e-6)
