"""Speech for a character: a person of ours as one moves exactly as before; a rigged file gets an animation."""

from pathlib import Path

import numpy as np
import pytest
from rig_files import rigged

from parlante.animation import Talker, animate
from parlante.animation.character import animate_character
from parlante.core import InputError
from parlante.head import ARKIT_NAMES, load_head
from parlante.retarget.mesh import Character
from parlante.retarget.mesh.play import retarget
from parlante.retarget.mesh.pose import Similarity
from parlante.retarget.mesh.surface import Surface
from parlante.retarget.mesh.transfer import Carrier
from parlante.retarget.rig.gltf import read_gltf

WHO = "wei"
SPEECH = (0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32), 16000)


def himself() -> Character:
    """`WHO` as a character of his own topology."""
    head = load_head()
    neutral = head.neutral(WHO)
    every = np.arange(len(neutral))
    carrier = Carrier(
        every, np.repeat(every[:, None], 3, 1), np.full((len(every), 3), 1 / 3), every[:0],
        Surface(neutral, head.topology.triangles),
    )  # fmt: skip
    x, y, z = (float(value) for value in head.neck_pivot(WHO))
    return Character(
        head.topology, neutral, head.shapes(WHO), Similarity(1.0, np.eye(3), np.zeros(3)), (x, y, z),
        np.ones(len(every), np.float32), every, carrier, report={"like": WHO},
    )  # fmt: skip


def test_a_person_of_ours_as_a_character_moves_as_before(tmp_path: Path) -> None:
    character = himself()
    character.save(tmp_path / "him.character")
    talker = Talker.from_pretrained()
    info, blocks = talker.stream(SPEECH, talker.cast(identity=WHO, liveliness=False))
    played, frames = retarget(info, blocks, character)
    moved = np.concatenate([block.vertices for block in frames])
    plain = animate(SPEECH, identity=WHO, liveliness=False)
    assert 1000 * np.abs(moved - plain.vertices).max() < 0.002
    assert played.wrinkle_size is None and played.provenance["identity"] == character.topology.name
    animate_character(SPEECH, [tmp_path / "him.npz"], tmp_path / "him.character", liveliness=False)
    with np.load(tmp_path / "him.npz") as saved:
        assert 1000 * np.abs(saved["vertices"] - plain.vertices).max() < 0.1
        assert saved["lip_aperture"].shape == (15,)


def test_a_rigged_file_speaks(tmp_path: Path) -> None:
    source = rigged(tmp_path / "me.glb", list(ARKIT_NAMES), bones=("Head",))
    info = animate_character(SPEECH, [tmp_path / "talk.glb"], source)
    file = read_gltf(tmp_path / "talk.glb")
    names = [animation["name"] for animation in file.root["animations"]]
    assert names == ["idle", "speech"]
    animation = file.root["animations"][1]
    assert {c["target"]["path"] for c in animation["channels"]} == {"weights", "rotation"}
    played = file.accessor(animation["samplers"][0]["output"]).reshape(info.num_frames, 52)
    assert 0 < played.max() <= 1
    with pytest.raises(InputError, match=r"\.glb or \.vrm"):
        animate_character(SPEECH, [tmp_path / "talk.mp4"], source)
    with pytest.raises(InputError, match="itself"):
        animate_character(SPEECH, [source], source)
