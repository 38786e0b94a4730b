"""A published file of FaceFormer, TalkingStyle, PTalker, CodeTalker or FaceDiffuser as a `MeshNetwork`.

    >>> talker = import_released("faceformer", ["vocaset.pth"])  # doctest: +SKIP
    >>> talker.save("vocaset")  # doctest: +SKIP

What a file does not tell, the published sets tell by the size of their mesh (frame rate, how speech steps belong to
frames, the training subjects in the order of the style weights); for any other mesh the user says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechConfig, infer_config
from parlante.audio.encoders.weight_norm import to_new
from parlante.audio.rates import RateRule
from parlante.core import InputError
from parlante.core.plugins import resolve as load
from parlante.models.checkpoint import differences
from parlante.models.components.causal_decoder import SPAN
from parlante.models.facediffuser import import_ as facediffuser
from parlante.models.importing import keys
from parlante.models.importing.containers import read_tensors
from parlante.models.mesh_network import FASTEST, MeshNetwork, MeshNetworkConfig
from parlante.models.registry import family as family_spec
from parlante.models.templates import Templates

RATES = {
    "aligned": "speech resampled to the frame rate, end points aligned, one step a frame",
    "pairs": "speech left at 50 steps a second, two steps for each frame of 1/25 s",
}
"""How speech meets frames in the published models."""
EMOTION_RATE = RateRule(kind="aligned", fps=60.0)
"""PTalker's second encoder, whatever the set."""


@dataclass(frozen=True)
class _Set:
    """What the published training set tells that a checkpoint does not."""

    motion_dim: int
    rate: str
    fps: float
    subjects: tuple[str, ...]
    topology: str


_VOCASET = (
    "FaceTalk_170728_03272_TA",
    "FaceTalk_170904_00128_TA",
    "FaceTalk_170725_00137_TA",
    "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA",
    "FaceTalk_170913_03279_TA",
    "FaceTalk_170904_03276_TA",
    "FaceTalk_170912_03278_TA",
)
_SETS = (
    _Set(15069, "aligned", 30.0, _VOCASET, "flame"),
    _Set(70110, "pairs", 25.0, ("F2", "F3", "F4", "M3", "M4", "M5"), "biwi"),
)
_MULTIFACE = _Set(18516, "aligned", 30.0, ("2", "3", "6", "7", "9", "10", "11", "12", "13"), "multiface")
"""FaceDiffuser's third set."""


def import_released(
    model: str,
    files: Sequence[Path | str],
    *,
    rate: str | None = None,
    fps: float | None = None,
    subjects: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    topology: str | None = None,
    templates: Templates | None = None,
    controls: Sequence[str] | None = None,
) -> MeshNetwork:
    """The model in published `files` (CodeTalker: stage 1 and stage 2 in any order).

    rate (a key of RATES) and fps: needed unless mesh and period are those of VOCASET or BIWI. settings: sizes that no
    file tells, such as `heads`, `speech.heads`, `emotion.heads`, `autoencoder.heads`, `motion_heads`, `period`, and
    `steps` of FaceDiffuser's rig models. controls: names of the controls of a rig model; None numbers them. Raises
    InputError, listing what is missing, unexpected or of another shape.
    """
    source = " + ".join(str(path) for path in files)
    settings = dict(settings or {})
    autoencoder: dict[str, Any] = {}
    if model == "codetalker":
        tensors, autoencoder = _two_stages(files, source)
    elif len(files) == 1:
        tensors = read_tensors(files[0])
    else:
        raise InputError(f"a {model} is one file, got {len(files)}: {source}")

    if fps is not None and not 0 < fps <= FASTEST:
        raise InputError(f"--fps must be positive and at most {FASTEST}, got {fps:g}")
    diffuses = model == "facediffuser"
    longest = len(tensors["PPE.pe"].flatten(0, -2)) if "PPE.pe" in tensors else 0
    period, tensors = (None, tensors) if diffuses else keys.take_tables(tensors, source)
    speech, family = keys.split(to_new_names(tensors, source), keys.SPEECH)
    emotion, family = keys.split(family, keys.EMOTION)
    if diffuses:
        sizes, family = facediffuser.infer(tensors), facediffuser.family_tensors(family)
        known = next((each for each in (*_SETS, _MULTIFACE) if sizes["motion_dim"] == each.motion_dim), None)
    else:
        sizes = keys.INFER[model](tensors) | autoencoder
        if period is not None and settings.get("period", period) != period:
            raise InputError(f"{source} has a period of {period}, got --set period={settings['period']}; leave it out")
        if period is not None:
            sizes["period"] = period
            if longest // period > SPAN // period + 1:  # its authors let it look further back than the published ones
                sizes["span"] = longest
        elif "period" not in settings:
            raise _not_published(model, tensors, source, ["missing (1): PPE.pe"])
        seen = (sizes["motion_dim"], sizes.get("period", settings.get("period")))
        known = next((each for each in _SETS if seen == (each.motion_dim, each.fps)), None)  # the period is one second
    not_told: InputError | None = None
    try:
        if diffuses:
            rule, fps = facediffuser.rate(rate, fps or (known.fps if known else None), source)
        else:
            rule, fps = _rate(rate, fps, known, sizes["motion_dim"], source)
    except InputError as error:  # said only if nothing is wrong with the file itself
        not_told, rule, fps = error, RateRule(kind="aligned", fps=60.0, steps_per_frame=2), 30.0
        rule = rule if diffuses else RateRule(kind="aligned", fps=30.0)
    sizes["steps_per_frame"] = rule.steps_per_frame
    if diffuses and not sizes["projected"]:
        controls = controls or [f"control-{number + 1}" for number in range(sizes["motion_dim"])]
    elif controls:
        raise InputError(f"{source} moves vertices, so its coordinates have no names; leave out --controls")
    if subjects is None and known is not None and len(known.subjects) == sizes["subjects"]:
        subjects = known.subjects

    heads = {name: settings.pop(f"{name}.heads", None) for name in ("speech", *(["emotion"] * (model == "ptalker")))}
    for name, value in settings.items():
        outer, _, inner = name.rpartition(".")
        place = sizes.get(outer) if outer else sizes
        if not isinstance(place, dict):
            raise InputError(f"no setting {name!r}; {outer or 'this model'} has no sizes of its own")
        if isinstance(value, bool) and inner.endswith("heads"):
            raise InputError(f"{name} is a whole number, got {value}")
        place[inner] = value
    try:
        sizes_of_family = load(family_spec(model).config)(**sizes)
        network = infer_config(speech, heads["speech"])
        second = infer_config(emotion, heads["emotion"]) if "emotion" in heads else None
        config = MeshNetworkConfig(
            model=model,
            family=sizes_of_family,
            speech=_spec(network, RateRule() if diffuses else rule),
            emotion=None if second is None else _spec(second, EMOTION_RATE),
            fps=fps,
            subjects=tuple(subjects or ()),
            topology=topology or (known.topology if known else ""),
            rate=rule.to_dict() if diffuses else None,
            controls=tuple(controls or ()),
        )
    except (TypeError, ValueError) as error:  # InputError is a ValueError
        raise _not_published(
            model, tensors, source, [*_family_differences(model, sizes, family), str(error)]
        ) from error
    merged = {
        **family,
        **{f"{keys.SPEECH}{name}": value for name, value in speech.items()},
        **{f"{keys.EMOTION}{name}": value for name, value in emotion.items()},
    }
    try:
        talker = MeshNetwork.from_tensors(config, merged, source="", templates=templates)
    except InputError as error:
        raise _not_published(model, tensors, source, [str(error).strip(" :")]) from error
    if not_told is not None:
        raise not_told
    return talker


def _spec(network: dict[str, Any], rule: RateRule) -> dict[str, Any]:
    return {"encoder": "network", **SpeechConfig(network=network, rate=rule).to_dict()}


def _family_differences(model: str, sizes: dict[str, Any], found: Mapping[str, Tensor]) -> list[str]:
    """What else is wrong with a file whose speech encoder cannot be read."""
    try:
        with torch.device("meta"):
            family = family_spec(model).make(sizes)
    except (TypeError, ValueError):
        return []
    return differences(found, family.state_dict())


def to_new_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Weight norms under one spelling. Raises InputError where a file holds both."""
    try:
        return to_new(tensors)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def _not_published(model: str, tensors: Mapping[str, Tensor], source: str, problems: list[str]) -> InputError:
    kind = "facediffuser" if facediffuser.is_one(tensors) else keys.looks_like(tensors)
    hint = "" if kind is None or kind.startswith(model) else f" (it looks like {kind})"
    return InputError(f"{source} is no {model} checkpoint as published{hint}: {'; '.join(problems)}")


def _rate(rate: str | None, fps: float | None, known: _Set | None, size: int, source: str) -> tuple[RateRule, float]:
    """The rule and the frame rate. Raises InputError if neither the user nor the mesh tells."""
    rate = rate or (known.rate if known else None)
    fps = fps or (known.fps if known else 25.0 if rate == "pairs" else None)
    if rate is None or fps is None:
        raise InputError(
            f"{source} moves {size // 3} vertices and is neither VOCASET's (5023, period 30) nor BIWI's (23370, period "
            f"25), so its rate is not known: give --rate {' or '.join(RATES)} and --fps ("
            + "; ".join(f"{name}: {what}" for name, what in RATES.items())
            + ")"
        )
    if rate not in RATES:
        raise InputError(f"no rate rule {rate!r}; known: {', '.join(RATES)}")
    if rate == "pairs":
        if fps != 25.0:
            raise InputError(f"two speech steps a frame are 25 frames per second, got --fps {fps:g}")
        return RateRule(kind="pairs", steps_per_frame=2), fps
    return RateRule(kind="aligned", fps=fps), fps


def _two_stages(files: Sequence[Path | str], source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """CodeTalker: (tensors of both stages under stage 2's names, the autoencoder's sizes)."""
    if not 1 <= len(files) <= 2:
        raise InputError(f"a codetalker is two files, stage 1 and stage 2, got {len(files)}: {source}")
    stages: dict[str, dict[str, Tensor]] = {}
    for path in files:
        tensors = read_tensors(path)
        kind = keys.looks_like(tensors)
        if kind is None or not kind.startswith("codetalker"):
            raise _not_published("codetalker", tensors, str(path), ["neither stage 1 nor stage 2"])
        if kind in stages:
            raise InputError(f"{source}: both files are {kind}; give one of each stage")
        stages[kind] = tensors
    second = stages.get("codetalker, stage 2", {})
    inner, outer = keys.split(second, "autoencoder.")
    first = stages.get("codetalker, stage 1") or inner
    if not first or not second:
        have, lack = ("1", "2") if first else ("2", "1")
        raise InputError(
            f"{source} is stage {have} of CodeTalker, which is useless without stage {lack}: give both files, for "
            "example vocaset_stage1.pth.tar vocaset_stage2.pth.tar"
        )
    if (
        inner
        and first is not inner
        and any(name not in inner or not torch.equal(inner[name], value) for name, value in first.items())
    ):
        raise InputError(f"{source}: the second stage brings another autoencoder than the first; give the pair")
    _, first = keys.take_tables(first, source)
    sizes = keys.codetalker_stage1(first)
    outer |= {f"autoencoder.{name}": value for name, value in first.items()}
    return outer, {"autoencoder": sizes}
