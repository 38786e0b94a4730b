"""Any speech model as a predictor: it says a clip's speech, and its frames are brought to the clip's rate.

A model speaks in the speaker's own style: by name where the speaker took part in training, else as learnt from
reference clips that are not judged, else the average. Under a protocol that conditions on "every" training speaker,
speakers who took no part in training are spoken in each style in turn. Motion and skin are judged as the model makes
them, without the liveliness layer.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.animation.talker import said
from parlante.audio.recording import load_audio
from parlante.core import Clip, InputError, Style
from parlante.core.options import Sampling
from parlante.data.lazy import lazy_frames
from parlante.evaluation.clip import EvalClip, Prediction
from parlante.evaluation.evaluation import Evaluation
from parlante.geometry.uv.ratio import apply_ratio, encode, to_bytes
from parlante.models.talker import SpeechModel, StyleClip

AVERAGE = "average"
"""The style of a speaker that a model neither knows nor can learn."""


class ModelPredictor:
    """A speech model. Raises InputError where it moves another mesh than the data's."""

    def __init__(self, name: str, model: SpeechModel, evaluation: Evaluation) -> None:
        self.name, self.model, self._evaluation = name, model, evaluation
        self.facts: dict[str, Any] = {key: str(value) for key, value in model.provenance.items()}
        self._styles: dict[str, Style | None] = {}
        count, own = evaluation.rules.topology.num_vertices, model.topology
        if own is not None and count != own.num_vertices:
            raise InputError(
                f"{name} moves meshes of {own.num_vertices} vertices ({own.name}), those of {evaluation.config.data} "
                f"have {count}; evaluate it on data of its own mesh"
            )

    def predict(self, clip: EvalClip) -> Iterator[Prediction]:
        """The clip's speech, in the speaker's style or in every style of the protocol."""
        protocol, names = clip.rules.protocol, self.model.abilities.styles
        every = protocol is not None and protocol.conditioning == "every" and clip.subject not in names
        for name in names if every else ():
            yield replace(self.speak(clip, clip.subject, self.model.style(name)), condition=name)
        if not every or not names:
            one = self.speak(clip, clip.subject, self.style_of(clip.subject))
            yield replace(one, condition=self._condition(clip.subject))

    def _condition(self, subject: str) -> str:
        """Whose style `style_of` a subject is."""
        return AVERAGE if self.facts.get(f"style of {subject}", AVERAGE) == AVERAGE else subject

    def speak(self, clip: EvalClip, subject: str, style: Style | None) -> Prediction:
        """The clip's speech on the face of a subject of the data; style: none for the face's own."""
        model, identity = self.model, self._evaluation.identity(subject)
        face = model.face(identity) if model.abilities.own_faces else identity
        audio = np.asarray(load_audio((clip.audio, clip.sample_rate)).audio_16k)
        session = model.session(
            face,
            model.style(None, face) if style is None else style,
            sampling=Sampling(wrinkles=clip.pictures is not None),
        )
        blocks = list(said(session, audio))
        motion = np.concatenate([block.motion for block in blocks if block.motion is not None])
        maps = [block.wrinkle for block in blocks if block.wrinkle is not None]
        places = frame_places(model.fps, clip.fps, len(motion), len(clip.vertices))
        rest = None if clip.rest is None else self._evaluation.rest(subject, clip.rest.shape[:2])
        picture = _painted(rest, np.concatenate(maps), places) if maps and rest is not None else None
        return Prediction(frames_at(motion, places) + identity.neutral, picture)

    def style_of(self, subject: str) -> Style | None:
        """The style in which a subject of the data is spoken; none: that of its face."""
        if subject not in self._styles:
            self._styles[subject], how = self._find_style(subject)
            self.facts[f"style of {subject}"] = how
        return self._styles[subject]

    def _find_style(self, subject: str) -> tuple[Style | None, str]:
        model, evaluation = self.model, self._evaluation
        known = subject in model.abilities.styles
        if known and evaluation.training_clips[subject]:
            return model.style(subject), "by name"
        if model.abilities.extracts_styles and evaluation.reference_clips[subject]:
            clips = [self._style_clip(clip) for clip in evaluation.references(subject)]
            return model.extract_style(clips, subject).style, "from reference clips"
        if known:
            return model.style(subject), "by name"
        return model.style(None) if model.abilities.styles else None, AVERAGE

    def _style_clip(self, clip: Clip) -> StyleClip:
        """A clip of the data as the model learns a style from it."""
        identity, fps = self._evaluation.identity(clip.subject), self.model.fps
        audio = np.asarray(load_audio((clip.audio, clip.sample_rate)).audio_16k)
        motion = np.asarray(clip.vertices[:], np.float32) - identity.neutral
        places = frame_places(clip.fps, fps, len(motion), int(len(motion) * fps / clip.fps))
        return StyleClip(audio, frames_at(motion, places), self._wrinkle_maps(clip))

    def _wrinkle_maps(self, clip: Clip) -> Any:
        """(T, h, w, 3) stored wrinkle maps of a clip's pictures, read when sliced; none where sizes do not agree."""
        size, textures = self.model.abilities.wrinkle_size, clip.textures
        if textures is None or size is None or textures.shape[1:3] != size:
            return None
        rest = self._evaluation.rest(clip.subject, size)
        if rest is None:
            return None
        base = np.maximum(rest.astype(np.float32), 1)

        def read(frame: int) -> NDArray[np.uint8]:
            stored = to_bytes(encode(np.asarray(textures[frame], np.float32) / base))
            return stored

        return lazy_frames(len(textures), (*size, 3), np.uint8, read)


def _painted(
    rest: NDArray[np.uint8], maps: NDArray[np.uint8], places: NDArray[np.float64]
) -> Callable[[int], NDArray[np.uint8]]:
    return lambda frame: apply_ratio(rest, maps[min(round(float(places[frame])), len(maps) - 1)])


def frame_places(source_fps: float, fps: float, have: int, wanted: int) -> NDArray[np.float64]:
    """(n,) places in a track of `have` frames at `source_fps` of the frames of one at `fps`, as far as it reaches."""
    count = min(wanted, int(np.floor((have - 1) * fps / source_fps + 1e-6)) + 1)
    return np.asarray(np.arange(count) * source_fps / fps, np.float64)


def frames_at(frames: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, V, 3) of a track (T, V, 3) at fractional places, linearly."""
    low = np.minimum(places.astype(int), max(0, len(frames) - 2))
    share = (places - low).astype(np.float32)[:, None, None]
    if not share.any():
        return frames[low]
    return np.asarray(frames[low] * (1 - share) + frames[np.minimum(low + 1, len(frames) - 1)] * share, np.float32)
