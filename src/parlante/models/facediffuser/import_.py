"""FaceDiffuser's released files: sizes from tensors, and the names of the two rig models in ours.

A file is a bare state dict with the speech encoder under `audio_encoder.`. It tells every size but the frame rate, and
that two speech features belong to a frame. Unlike the other families', their rate changes *after* the speech encoder.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from parlante.audio.rates import RateRule
from parlante.core import InputError
from parlante.models.importing.keys import SPEECH
from parlante.models.importing.motion_import import SETS, MotionImporter, PublishedSet

_RIG_NAMES = (("rnn.", "gru."), ("out.", "final_layer."), ("embed_timestep.time_embed.", "time_mlp."))
_TABLES = ("sequence_pos_encoder.pe", "embed_timestep.sequence_pos_encoder.pe")
_STEPS_PER_FRAME = 2


def family_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The denoiser's tensors under this package's names: no speech encoder, no sinusoid tables, rigs renamed."""
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(SPEECH) or name in _TABLES:
            continue
        new = next((ours + name.removeprefix(theirs) for theirs, ours in _RIG_NAMES if name.startswith(theirs)), name)
        kept[new] = tensor
    return kept


def rate(wish: str | None, fps: float | None, source: str) -> tuple[RateRule, float]:
    """The rule after the encoder and the frame rate: pairs of features at 25 fps, resampled to two a frame elsewhere.

    Raises InputError where nobody tells the frame rate or `wish` (a kind of rule, or none) is not the one that follows.
    """
    if fps is None or not fps > 0:
        raise InputError(f"{source} is of no published mesh, and no such file tells its frame rate: give --fps")
    kind = "pairs" if fps == 25.0 else "aligned"
    if wish not in (None, kind):
        raise InputError(f"a facediffuser at {fps:g} frames per second has the rate rule {kind!r}, got --rate {wish}")
    if kind == "pairs":
        return RateRule(kind="pairs", steps_per_frame=_STEPS_PER_FRAME), fps
    return RateRule(kind="aligned", fps=_STEPS_PER_FRAME * fps, steps_per_frame=_STEPS_PER_FRAME), fps


def infer(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of `FaceDiffuserConfig` from the released names or ours; a size that no tensor tells becomes 1.

    The sinusoid rig does not hold its number of steps (published: 1,000, the default), nor does any file hold dropout.
    """
    t = family_tensors(tensors)

    def size(name: str, axis: int) -> int:
        return int(t[name].shape[axis]) if name in t and axis < t[name].ndim else 1

    projected, sinusoid = "input_projection.0.weight" in t, "time_mlp.2.weight" in t
    width, coordinates = size("gru.weight_hh_l0", 1), size("final_layer.weight", 0)
    if projected:
        speech = size("cond_projection.weight", 1)
    else:
        speech = max(size("gru.weight_ih_l0", 1) - coordinates - width, _STEPS_PER_FRAME)
    layers = [int(hit[1]) + 1 for name in t if (hit := re.fullmatch(r"gru\.weight_ih_l(\d{1,3})", name))]
    fields: dict[str, Any] = {
        "motion_dim": coordinates,
        "audio_dim": speech // _STEPS_PER_FRAME,
        "steps_per_frame": _STEPS_PER_FRAME,
        "width": width,
        "layers": max(layers, default=1),
        "subjects": size("obj_vector.weight", 1) if projected else 0,
        "projected": projected,
        "time": "sinusoid" if sinusoid else "table",
        "normalise": "norm_cond.weight" in t,
    }
    if not sinusoid:
        fields["steps"] = size("time_mlp.0.weight", 1)
    if projected:
        fields["kernel"] = size("input_projection.1.weight", 2) | 1
    return fields


MULTIFACE = PublishedSet(18516, "aligned", 30.0, ("2", "3", "6", "7", "9", "10", "11", "12", "13"), "multiface")
IMPORTER = MotionImporter(
    family="facediffuser",
    infer=infer,
    signatures={"facediffuser": "cond_projection.weight", "facediffuser, rig": "embed_timestep."},
    sets=(*SETS, MULTIFACE),
    rename=family_tensors,
    rate=rate,
    periodic=False,
    rate_after_encoder=True,
)
