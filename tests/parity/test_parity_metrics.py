"""Metrics and protocols against the numbers that the published evaluation scripts printed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError
from parlante.evaluation.protocols import PROTOCOLS
from parlante.metrics import (
    BEAT,
    UUDAMM,
    coordinate_dynamics_deviation,
    diversity,
    frame_lip_error,
    luma,
    psnr,
    rig_dynamics_deviation,
    rig_error,
    root_lip_error_mm,
    root_vertex_error_mm,
    ssim,
    without_border,
)

ROOT = Path(os.environ.get("PARLANTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))
SCRIPTS = {
    "talkingstyle": "talkingstyle-biwi-a",
    "codetalker": "codetalker-biwi-a",
    "facediffuser": "facediffuser-biwi-a",
}


def fixtures(kind: str, usual: str) -> list[str]:
    """Names of the metrics fixtures that hold tensors starting with `kind`."""
    found = [
        path.stem
        for path in sorted(ROOT.glob("metrics/*.json"))
        if any(name.startswith(kind) for name in json.loads(path.read_text())["tensors"])
    ]
    return found or [usual]


def read(name: str) -> tuple[dict[str, np.ndarray], dict]:
    from safetensors.numpy import load_file

    path = ROOT / "metrics" / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"no parity fixture {path}; set PARLANTE_PARITY")
    return load_file(path), json.loads(path.with_suffix(".json").read_text())["hyperparameters"]


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


@pytest.fixture(scope="module", params=fixtures("in/gt/", "vertices"))
def vertices(request):
    return read(request.param)


def test_protocols_print_what_the_scripts_print(vertices) -> None:
    arrays, _ = vertices
    checked = 0
    for group in sorted({name.split("/")[1] for name in arrays if name.startswith("out/")}):
        script, _, long = group.partition("_")
        if script not in SCRIPTS or long not in ("", "long"):
            continue
        predicted = under(arrays, "in/pred_long/" if long else "in/pred/")
        found = PROTOCOLS[SCRIPTS[script]].score(
            predicted,
            under(arrays, "in/gt/"),
            under(arrays, "in/template/"),
            lips=arrays["in/lip_vertices"],
            upper=arrays["in/upper_vertices"],
        )
        for measure, wanted in under(arrays, f"out/{group}/").items():
            if measure == "diversity":
                continue
            assert found[measure] == pytest.approx(float(wanted), rel=1e-12), (group, measure)
            checked += 1
    assert checked >= 8


def test_a_shorter_prediction_stops_the_script_that_stops(vertices) -> None:
    arrays, _ = vertices
    with pytest.raises(InputError, match="frames, its truth"):
        PROTOCOLS["codetalker-biwi-a"].score(
            under(arrays, "in/pred/"),
            under(arrays, "in/gt/"),
            under(arrays, "in/template/"),
            lips=arrays["in/lip_vertices"],
            upper=arrays["in/upper_vertices"],
        )


def test_diversity(vertices) -> None:
    arrays, _ = vertices
    by_sentence: dict[str, list[np.ndarray]] = {}
    for name, motion in under(arrays, "in/div/").items():
        by_sentence.setdefault("_".join(name.split("_")[:2]), []).append(motion)
    assert diversity(list(by_sentence.values())) == pytest.approx(
        float(arrays["out/facediffuser/diversity"]), rel=1e-12
    )


def test_artalk_and_unitalker(vertices) -> None:
    arrays, sizes = vertices
    first = f"{sizes['train'][0]}_{sizes['sentences'][0]}"
    pred, true = arrays[f"in/pred/{first}"], arrays[f"in/gt/{first}"]
    lips, upper = arrays["in/lip_vertices"], arrays["in/upper_vertices"]
    worst = frame_lip_error(pred, true, lips)
    found = {
        "artalk/lve": root_lip_error_mm(pred, true, lips),
        "artalk/mhd": root_vertex_error_mm(pred, true),
        "artalk/fdd": coordinate_dynamics_deviation(pred, true, upper),
        "unitalker/lve": float(np.mean(worst**2)),
        "unitalker/lvd": float(np.mean(worst)),
    }
    for name, value in found.items():
        assert value == pytest.approx(float(arrays[f"out/{name}"]), rel=1e-12), name


@pytest.mark.parametrize(("kind", "rig"), [("damm", UUDAMM), ("beat", BEAT)])
def test_rig_metrics(vertices, kind: str, rig) -> None:
    arrays, _ = vertices
    pred, true = under(arrays, f"in/{kind}/pred_"), under(arrays, f"in/{kind}/gt_")
    p, t = [pred[k] for k in sorted(pred)], [true[k] for k in sorted(pred)]
    found = {
        "mve": rig_error(p, t),
        "lve": rig_error(p, t, rig.mouth),
        "fdd": rig_dynamics_deviation(p, t, rig.upper),
        "abs_fdd": rig_dynamics_deviation(p, t, rig.upper, absolute=True),
        "frames": float(sum(min(len(a), len(b)) for a, b in zip(p, t))),
    }
    wanted = under(arrays, f"out/facediffuser_{kind}/")
    assert set(wanted) == set(found)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(float(value), rel=1e-12), name


@pytest.mark.parametrize("name", fixtures("out/a/psnr", "images"))
def test_pictures(name: str) -> None:
    arrays, _ = read(name)
    checked = 0
    for key, wanted in under(arrays, "out/").items():
        picture, what = key.split("/")
        measure, crop, channels = what.split("_")
        pair = [arrays[f"in/{picture}/{which}"] for which in ("image_bgr", "other_bgr")]
        a, b = (without_border(p[..., ::-1], int(crop.removeprefix("crop"))) for p in pair)
        if channels == "y":
            a, b = luma(a), luma(b)
        found = {"psnr": psnr, "ssim": ssim}[measure](a, b)
        assert found == pytest.approx(float(wanted), rel=1e-5 if channels == "y" else 1e-12), key
        checked += 1
    assert checked >= 4
