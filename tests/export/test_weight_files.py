"""Curves as text: Audio2Face layouts, keys with an error bound, mouth shapes."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.audio.phones import Phone
from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.export import AnimationInfo, frame_blocks, save
from parlante.export.keys import POSE_NAMES, reduce_keys
from parlante.export.outputs import write_all
from parlante.export.visemes import SHAPES, mouth_cues, mouth_shapes
from parlante.head.arkit import ARKIT_NAMES
from parlante.synth.articulation import articulate


def test_a2f_csv_has_seconds_and_prefixed_names(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.a2f.csv")
    rows = list(csv.DictReader((tmp_path / "a.a2f.csv").read_text().splitlines()))
    wanted = ["timeCode", *(f"blendShapes.{name[0].upper()}{name[1:]}" for name in ARKIT_NAMES)]
    assert list(rows[0]) == wanted
    assert wanted.index("blendShapes.JawLeft") < wanted.index("blendShapes.JawRight")
    values = np.array([[float(row[key]) for key in wanted] for row in rows])
    np.testing.assert_allclose(values[:, 0], np.arange(20) / 30, atol=1e-6)
    np.testing.assert_allclose(values[:, 1:], animation.weights, atol=1e-6)


def test_a2f_json_has_poses_and_frames(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.a2f.json")
    found = json.loads((tmp_path / "a.a2f.json").read_text())
    assert (found["exportFps"], found["numPoses"], found["numFrames"]) == (30.0, 52, 20)
    assert tuple(found["facsNames"]) == ARKIT_NAMES
    np.testing.assert_allclose(found["weightMat"], animation.weights, atol=1e-6)


def test_lines_between_kept_keys_stay_within_the_error() -> None:
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(400, 3)), axis=0) * 0.02
    for error in (0.0, 0.01, 0.1):
        kept = reduce_keys(values, error)
        assert kept[0] == 0 and kept[-1] == 399 and (np.diff(kept) > 0).all()
        rows = np.arange(400)
        drawn = np.stack([np.interp(rows, kept, values[kept, k]) for k in range(3)], axis=1)
        assert np.abs(drawn - values).max() <= error + 1e-12
    assert len(reduce_keys(values, 0.1)) < 150
    assert len(reduce_keys(np.linspace(0, 1, 50)[:, None], 1e-9)) == 2
    assert len(reduce_keys(values[:1], 0.1)) == 1


def test_keys_file_replays_every_curve(animation: Animation, info: AnimationInfo, tmp_path: Path) -> None:
    smooth = 0.5 + 0.4 * np.sin(np.arange(20)[:, None] / 6 + np.arange(52)).astype(np.float32)
    slow = replace(animation, weights=smooth)
    write_all(info, frame_blocks(slow, 7), [tmp_path / "a.keys.json"], fidelity=Fidelity(reduce=0.02))
    found = json.loads((tmp_path / "a.keys.json").read_text())
    assert set(found["curves"]) == {*ARKIT_NAMES, *POSE_NAMES}
    count = 0
    for column, name in enumerate(ARKIT_NAMES):
        times, values = np.array(found["curves"][name]).T
        drawn = np.interp(np.arange(20) / 30, times, values)
        assert np.abs(drawn - smooth[:, column]).max() <= 0.02 + 1e-5
        count += len(times)
    assert count < 52 * 10


def test_spoken_lip_contacts_are_found() -> None:
    spoken = ["sil", "p", "aa", "m", "iy", "b", "uw", "f", "aa", "v", "ao", "sil"]
    phones = [Phone(symbol, 0.15 * n, 0.15 * (n + 1)) for n, symbol in enumerate(spoken)]
    times = np.arange(0, 1.8, 1 / 30)
    shapes = mouth_shapes(articulate(phones, times), ARKIT_NAMES)
    heard = [SHAPES[shapes[np.argmin(np.abs(times - 0.15 * (n + 0.46)))]] for n in range(len(spoken))]
    for symbol, shape in zip(spoken, heard):
        if symbol in "pbm":
            assert shape == "A"
        elif symbol in "fv":
            assert shape == "G"
    assert heard[0] == "X" and heard[2] in "CD" and heard[6] == "F"


def test_cues_cover_the_take_and_none_is_too_short() -> None:
    rng = np.random.default_rng(1)
    shapes = np.repeat(rng.integers(0, 9, 60), rng.integers(1, 5, 60)).astype(np.int8)
    cues = mouth_cues(shapes, 30.0)
    assert cues[0][0] == 0 and cues[-1][1] == len(shapes) / 30
    for (_, end, one), (start, _, other) in itertools.pairwise(cues):
        assert end == start and one != other
    assert min(end - start for start, end, shape in cues if shape not in "AG") > 0.06 - 1e-6


def test_viseme_files(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.tsv", tmp_path / "a.visemes.json")
    lines = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    assert float(lines[0][0]) == 0 and lines[-1] == ["0.67", "X"]
    assert {shape for _, shape in lines} <= set(SHAPES)
    found = json.loads((tmp_path / "a.visemes.json").read_text())
    assert found["metadata"]["duration"] == 0.67
    assert [cue["value"] for cue in found["mouthCues"]] == [shape for _, shape in lines[:-1]]


@pytest.mark.parametrize("name", ["a.a2f.csv", "a.a2f.json", "a.keys.json", "a.tsv", "a.visemes.json"])
def test_without_weights_they_are_refused(name: str, animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*weights"):
        save(replace(animation, weights=None, weight_names=()), tmp_path / name)
    assert not list(tmp_path.iterdir())
