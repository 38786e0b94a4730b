"""Whatever JSON, YAML or header a command is given: nesting, types, sizes and names that fit nothing take one line."""

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

import parlante
from parlante.cli import main
from parlante.core import InputError
from parlante.core.assets import ASSETS

DEEP = "[" * 100_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command ends with."""
    assert main(list(words)) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and len(line) < 1500, line[:3000]
    return line


@pytest.mark.parametrize("content", [DEEP, "3", '{"format": "parlante-evaluation/1", "models": []}', "{}", '"x"', "\0"])
def test_reports(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("report.json").write_text(content)
    assert "report" in told(capsys, "compare", "report.json")


MODEL: dict[str, Any] = {"clips": {"a": {"frames": 3, "predictions": 1, "values": {"mve": 1.0}}}}
REPORT: dict[str, Any] = {
    "format": "parlante-evaluation/1", "data": "d", "unit": "m", "seed": 0, "models": {"x": MODEL},
    "clips": {"a": {"subject": "s", "frames": 3}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("unit",), 3), (("seed",), -1), (("seed",), "0"), (("clips",), []), (("clips", "a", "frames"), 0),
        (("clips", "a", "subject"), []), (("models", "x"), None), (("models", "x", "clips", "a", "frames"), "3"),
        (("models", "x", "clips", "a", "values"), [1.0]), (("models", "x", "clips", "a", "values", "mve"), "1"),
        (("models", "x", "clips", "a", "values", "mve"), 10**400), (("models", "x", "clips", "a", "predictions"), None),
        (("dataset",), [DEEP[:60]]),
    ],
)  # fmt: skip
def test_fields_of_reports(path: tuple[str, ...], value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.json").write_text(json.dumps(REPORT))
    assert main(["compare", "good.json"]) == 0
    capsys.readouterr()
    report = json.loads(json.dumps(REPORT))
    holder = report
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    Path("report.json").write_text(json.dumps(report))
    assert path[-1] in told(capsys, "compare", "report.json")


@pytest.mark.parametrize(
    "content",
    ["stage: [a]", "stage: {a: b}", "3", "", DEEP, "stage: phonetic\nmodel: 3", "stage: phonetic\nloop: [1]",
     "stage: phonetic\nmodel: {width: [1]}", "stage: phonetic\nmodel: {width: -1}", "a: &a [*a]\nstage: phonetic",
     "stage: phonetic\nmodel: {width: 1e99}", "stage: !!python/object:os.system x", "stage: phonetic\n? [a]\n: b",
     "stage: phonetic\ndata: {1: 2}", "stage: phonetic\n3: x",
     "stage: phonetic\na: &a [x]\n"
     + "".join(f"{n}: &{n} [{','.join([f'*{m}'] * 10)}]\n" for m, n in zip("abcdefgh", "bcdefghi"))],
)  # fmt: skip
def test_recipes(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(content)
    told(capsys, "train", "s.yaml")


@pytest.mark.parametrize(
    "content", [DEEP, "[]", '{"chin": true}', '{"chin": 99999999}', '{"chin": -1}', '{"chin": [1, 2]}', '{"nose": [1]}',
                '{"chin": {"x": 1}}', '{"chin": [NaN, 1, 2]}', '{"chin": ["1", 1, 2]}']
)  # fmt: skip
def test_landmarks(content: str) -> None:
    import numpy as np

    from parlante.retarget.mesh.build import read_landmarks
    from parlante.retarget.mesh.mesh import UserMesh
    from parlante.retarget.mesh.prior import face_prior

    Path("l.json").write_text(content)
    mesh = UserMesh("m", np.zeros((4, 3)), np.zeros((1, 3), int), np.zeros((1, 2), np.float32), np.zeros((1, 3), int))
    with pytest.raises(InputError) as caught:
        read_landmarks("l.json", face_prior(), mesh)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200


SIZES: list[tuple[tuple[str, ...], Any]] = [
    (("family", "layers"), -1), (("family", "layers"), 10**9), (("family", "layers"), "2"), (("family", "width"), None),
    (("family", "width"), 1.5), (("family", "width"), 1 << 20), (("family", "heads"), 0), (("family", "heads"), 7),
    (("family", "motion_dim"), 10**12), (("family", "dropout"), float("nan")), (("family", "new"), 1),
    (("family",), []),
    (("family", "subjects"), True), (("embedded", "fps"), "x"), (("embedded", "frame_offsets"), 3), (("embedded",), {}),
    (("embedded", "subjects"), [[]]), (("embedded", "basis_scale"), "x"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), SIZES, ids=lambda each: str(each)[:40])
def test_settings_of_checkpoints(path: tuple[str, ...], value: Any) -> None:
    from parlante.models.motion_families import load

    shutil.copytree(ASSETS / "faceformer", "model")
    head = json.loads(Path("model/config.json").read_text())
    holder = head["config"]
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    Path("model/config.json").write_text(json.dumps(head))
    with pytest.raises(InputError) as caught:
        load(Path("model"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "content", [DEEP, "[]", "{}", '{"model": 3, "config": {}}', '{"model": "faceformer", "config": []}',
                '{"model": "x"}', '{"model": "no such", "config": {}}',
                '{"model": "textalker", "config": {"motion": 3}}']
)  # fmt: skip
def test_heads_of_checkpoints(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model").mkdir()
    Path("model/config.json").write_text(content)
    save_file({}, "model/model.safetensors")
    told(capsys, "animate", str(ASSETS.parents[2] / "assets" / "demo.wav"), "--model", "model", "-o", "x.csv", "-q")


def test_types_of_styles_that_numpy_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    head = {"__metadata__": {"format": "parlante-style/1"}}
    for at, name in enumerate(("motion", "wrinkle")):
        head[name] = {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [4 * at, 4 * at + 4]}  # type: ignore[dict-item]
    text = json.dumps(head).encode()
    Path("f8.style").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    assert "cannot read f8.style as a style" in told(capsys, "style", "info", "f8.style")


@pytest.mark.parametrize(
    "content", [DEEP, "[]", '{"parlante_calibration": 1, "curves": {"a": {"gain": 1e999}}}',
                '{"parlante_calibration": 1, "curves": {"a": {"gain": 1' + "0" * 400 + '}}}',
                '{"parlante_calibration": 1, "curves": {"a": {"gain": [' + "1," * 9999 + '1]}}}']
)  # fmt: skip
def test_calibrations(content: str) -> None:
    from parlante.export.calibration import Calibration

    Path("c.json").write_text(content)
    with pytest.raises(InputError) as caught:
        Calibration.read("c.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_json_is_parsed_in_one_place() -> None:
    source = Path(parlante.__file__).parent
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"\bjson\.loads?\((?!json\.dumps)", path.read_text())
    }
    between_our_processes = {"batch/jobs.py", "batch/runner.py", "synth/voice_espeak.py"}
    assert found == {"core/typed.py", "core/files.py"} | between_our_processes
