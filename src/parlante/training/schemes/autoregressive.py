"""Training of the small models on motion coordinates: from a recipe to a scheme, for any family of the registry.

FaceFormer, TalkingStyle and families of plug-ins train by `MotionScheme`; a family whose training differs brings a
scheme of its own and hands it to `motion_stage`.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import InputError
from parlante.core.plugins import resolve
from parlante.models.registry import FamilySpec, build
from parlante.training.engine.corpora import ANY
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section
from parlante.training.engine.scheme import one_clip
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore, prepare
from parlante.training.schemes.joint_speech import speech_to_train
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig

FROM_DATA = ("motion_dim", "audio_dim", "emotion_dim", "subjects")
"""Sizes of a network that the data decides."""
DEFAULTS = {"steps_per_frame": "1", "period": "the frame rate", "unit": "the motion's deviation"}
"""Sizes that the data decides where the recipe does not."""


def stage(spec: FamilySpec) -> Stage:
    """The stage of a family whose training is that of `MotionScheme`."""
    return motion_stage(spec, MotionScheme)


def motion_stage(spec: FamilySpec, scheme: Callable[..., MotionScheme], loss: Section | None = None) -> Stage:
    """The stage of a family on motion coordinates; scheme: its class of training; loss: keys of its own terms' weights,
    whose settings the class takes as `loss`."""

    def train(recipe: Recipe, run_dir: Path) -> MotionScheme:
        store, own = open_motion(recipe)
        speech = speech_to_train(store, recipe["model"].get("steps_per_frame", 1))
        torch.manual_seed(recipe["loop"].seed)
        network = build(spec.name, sizes(spec, store, own, speech) | recipe["model"])
        more = {} if loss is None else {"loss": recipe["loss"]}
        return fit(scheme(spec.name, network, store, recipe["loop"], own, speech, **more), run_dir)

    return Stage(
        name=spec.name,
        about=f"{spec.title or spec.name}: speech to motion coordinates.",
        sections=motion_sections(spec) | ({} if loss is None else {"loss": loss}),
        train=train,
        corpora=ANY,
    )


def motion_sections(spec: FamilySpec) -> dict[str, Section]:
    """The sections that every family on motion coordinates has."""
    return {
        "data": Section(MotionDataConfig),
        "model": Section(resolve(spec.config), without=FROM_DATA, defaults=DEFAULTS),
        "scheme": Section(MotionSchemeConfig),
        "loop": Section(LoopConfig),
    }


def open_motion(recipe: Recipe) -> tuple[MotionStore, MotionSchemeConfig]:
    """Prepare the corpus, or find what was prepared. Raises InputError."""
    data, loop, own = recipe["data"], recipe["loop"], recipe["scheme"]
    if own.speech_lr is not None and not data.finetune:
        raise InputError("scheme.speech_lr is that of a speech network that is trained along; add data.finetune=true")
    if loop.threads:
        torch.set_num_threads(loop.threads)
    store = prepare(data, validated=not loop.one_clip)
    if loop.one_clip:
        store = replace(store, clips=one_clip(store.clips, lambda clip: clip.split == "train"))
    torch.manual_seed(loop.seed)
    return store, around_frames(own, store)


def around_frames(own: MotionSchemeConfig, store: MotionStore) -> MotionSchemeConfig:
    """With the frame itself alone where a speech network encodes the audio, which looks around by itself."""
    return replace(own, frame_offsets=(0,)) if store.source.network else own


def sizes(
    spec: FamilySpec, store: MotionStore, own: MotionSchemeConfig, speech: SpeechEncoder | None
) -> dict[str, Any]:
    """What the data says of a family's config, as far as the config has such a field."""
    width = store.features.shape[-1] * len(own.frame_offsets) if speech is None else speech.dim
    found = {
        "motion_dim": len(store.basis),
        "audio_dim": width,
        "emotion_dim": width,
        "subjects": len(store.subjects()),
        "steps_per_frame": 1,
        "period": round(store.fps),
        "unit": _deviation(store),
    }
    return {field.name: found[field.name] for field in fields(resolve(spec.config)) if field.name in found}


def _deviation(store: MotionStore) -> float:
    """Of the coordinates of all training clips."""
    clips = [store.motion[clip.span] for clip in store.clips if clip.split == "train"]
    return float(np.concatenate(clips).std())
