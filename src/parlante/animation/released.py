"""Converted checkpoints as the pipeline sees them: a published talker on the mesh that it was trained with.

Such a talker moves vertices and nothing else: no curves, no head pose, no skin, the mouth is not closed in silence.
What comes out is what the authors' model says, in the unit and axes of its training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.animation.source import Request, Window, unknown_name
from parlante.animation.style_extraction import Extracted, StyleClip
from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import Identity, InputError, Style, Topology
from parlante.core.timing import num_frames
from parlante.models.checkpoint import digest
from parlante.models.codetalker.model import CodeTalker
from parlante.models.components.autoregressive_model import FeedbackModel
from parlante.models.components.chunked_inference import in_blocks
from parlante.models.importing.templates import read_templates
from parlante.models.style_fitting import StyleFitConfig, fit_style, in_own_space
from parlante.models.talker import VertexTalker
from parlante.models.templates import Templates

LONG_S, WINDOW_S = 60.0, 30.0
"""Seconds: from the first on, speech is heard in windows of the second, so that memory does not grow as its square."""
FIT_FRAMES, FIT_PIECES = 120, 8
"""A style is searched on at most so many pieces of about so many frames, spread over the clips."""
FEWER_STEPS, FEWER_PIECES = 16, 3
"""For CodeTalker, which has a hundred times the weights."""
SHORTEST = 1600
"""Samples; shorter recordings are lengthened with silence."""
MESH_FILES = (".ply", ".obj", ".npz", ".pkl")


class ReleasedSource:
    """A `VertexTalker` and its faces. Holds the speech that it listened to last."""

    wrinkle_size: tuple[int, int] | None = None

    def __init__(self, talker: VertexTalker, checkpoint: str = "") -> None:
        self.talker = talker
        self.fps = talker.fps
        self.style_names = talker.config.subjects
        self.provenance: dict[str, Any] = {"model": talker.config.model, "checkpoint_sha256": checkpoint}
        self.max_steps: int = talker.config.family.steps if talker.config.model == "facediffuser" else 0
        self._audio = torch.zeros(1, SHORTEST)
        self._frames = 0
        if isinstance(talker.family, FeedbackModel | CodeTalker):
            self.extract = self._search
        elif talker.emotion_encoder is not None:
            self.extract = self._read

    @classmethod
    def load(cls, folder: Path | str) -> "ReleasedSource":
        """From a folder that `parlante convert` wrote. Raises InputError if it cannot be used."""
        talker = VertexTalker.from_pretrained(folder)
        if talker.config.controls:
            raise InputError(
                f"{folder} moves {len(talker.config.controls)} rig controls and no mesh; read them in Python with "
                "VertexTalker.from_pretrained(folder).coordinates(audio)"
            )
        return cls(talker, digest(folder))

    # -- who speaks

    def person(self, identity: str | Identity | None, *, paint: bool = True) -> Identity:
        """A face of the checkpoint by name (the first if none), or from a mesh file of its topology.

        Raises InputError where there is none, or of another size.
        """
        talker, faces = self.talker, self.talker.templates
        if isinstance(identity, Identity):
            name, neutral = identity.name, identity.neutral
        elif identity is not None and Path(identity).suffix.lower() in MESH_FILES:
            faces = read_templates([identity], Path(identity).stem)
            name, neutral = next(iter(faces.neutrals.items()))
            if not len(faces.triangles):
                faces = replace(talker.templates, neutrals=faces.neutrals)
        elif not faces.neutrals:
            raise InputError(
                f"this checkpoint has no face at rest; give one with --identity FACE.ply ({talker.num_vertices} "
                "vertices), or convert it again with --topology"
            )
        else:
            name = next(iter(faces.neutrals)) if identity is None else identity
            if name not in faces.neutrals:
                raise unknown_name("identity", name, tuple(faces.neutrals))
            neutral = faces.neutrals[name]
        if len(neutral) != talker.num_vertices:
            raise InputError(
                f"{name} has {len(neutral)} vertices, the checkpoint moves {talker.num_vertices}; give a face of the "
                "topology that it was trained with"
            )
        return Identity(name, self._topology(faces), np.asarray(neutral, np.float32))

    def _topology(self, faces: Templates) -> Topology:
        uv, uv_triangles = faces.uv, faces.uv_triangles
        if len(uv_triangles) != len(faces.triangles):  # no texture corners: all corners share one
            uv, uv_triangles = np.zeros((1, 2), np.float32), np.zeros_like(faces.triangles)
        name = self.talker.config.topology or f"mesh-{self.talker.num_vertices}"
        return Topology(name, self.talker.num_vertices, faces.triangles, uv, uv_triangles)

    def style(self, name: str | None) -> Style:
        """A speaker's style, or the average of all. Raises InputError for an unknown name."""
        if name is not None and name not in self.style_names:
            raise unknown_name("style", name, self.style_names)
        names = self.style_names if name is None else (name,)
        return self._style_of(self.talker.style({each: 1 / len(names) for each in names}), name or "mean")

    @property
    def num_vertices(self) -> int:
        """Of the mesh that it moves."""
        return self.talker.num_vertices

    def _read(self, clips: Sequence[StyleClip], name: str) -> Extracted:
        """PTalker's way: a stranger's style as its encoder of motion reads it from the whole clips."""
        rest = torch.zeros(self.num_vertices, 3)
        codes = torch.stack([self.talker.style_of_motion(torch.from_numpy(clip.offsets), rest) for clip in clips])
        lengths = torch.tensor([len(clip.offsets) for clip in clips], dtype=codes.dtype)
        code = (codes * (lengths / lengths.sum())[:, None]).sum(0)
        return Extracted(self._style_of(code, name), float(lengths.sum()) / self.fps, {"read by": "encoder of motion"})

    def _search(self, clips: Sequence[StyleClip], name: str) -> Extracted:
        """FaceFormer, TalkingStyle, CodeTalker: the style under which the model says the clips' speech as they do."""
        family: FeedbackModel | CodeTalker = self.talker.family
        network, basis, centre = in_own_space(family)
        per_frame, period = family.config.steps_per_frame, family.config.period
        size = period * max(1, round(FIT_FRAMES / period))  # so that a piece begins at the position it had in its clip
        pieces: list[tuple[Tensor, Tensor]] = []
        for clip in clips:
            self.listen(clip.audio)
            heard = self.talker.hear(self._audio)[0][0]
            count = min(len(heard) // per_frame, len(clip.offsets))
            motion = (self.talker.encode(torch.from_numpy(clip.offsets[:count])) - centre) @ basis.T
            parts = heard[: count * per_frame].split(size * per_frame), motion.split(size)
            pieces += zip(*parts, strict=True)
        pieces = [piece for piece in pieces if len(piece[1]) >= size // 4] or pieces
        most = FEWER_PIECES if isinstance(family, CodeTalker) else FIT_PIECES
        chosen = pieces[:: -(-len(pieces) // most)]
        known = torch.stack([self.talker.style(each) for each in self.style_names])
        everywhere = StyleFitConfig(lips=0.0)  # no published checkpoint tells which vertices the lips are
        if isinstance(family, CodeTalker):
            everywhere = replace(everywhere, steps=FEWER_STEPS, passes=1, renew=FEWER_STEPS // 2)
        fit = fit_style(network, known, chosen, torch.zeros(len(basis), 1), everywhere)
        facts: dict[str, float | str] = {"nearest known style": self.style_names[fit.nearest]}
        facts |= {f"relative error, {what}": value for what, value in fit.errors.items()}
        seconds = sum(len(motion) for _, motion in chosen) / self.fps
        return Extracted(self._style_of(fit.code, name), seconds, facts)

    def _style_of(self, code: Tensor, name: str) -> Style:
        model, checkpoint = (str(self.provenance[key]) for key in ("model", "checkpoint_sha256"))
        return Style(code.numpy().copy(), np.zeros(0, np.float32), name, model, checkpoint)

    # -- what is said

    def listen(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the speech (N,) at 16 kHz. Published models are left to decide about silence: (T,) zeros."""
        self._frames = num_frames(len(audio), fps=self.fps)
        samples = torch.from_numpy(np.array(audio, np.float32))
        self._audio = torch.nn.functional.pad(samples, (0, max(0, SHORTEST - len(samples))))[None]
        long = len(audio) > LONG_S * 16000
        for encoder in (self.talker.audio_encoder, self.talker.emotion_encoder):
            if isinstance(encoder, SpeechEncoder):
                encoder.config = replace(encoder.config, window_s=WINDOW_S if long else None)
        return np.zeros(self._frames, np.float32)

    @torch.no_grad()
    def windows(self, request: Request) -> Iterator[Window]:
        """Frames of the speech last listened to. Raises InputError for a style that it does not know."""
        neutral = torch.from_numpy(request.identity.neutral)
        strength = np.float32(request.motion_strength)
        for vertices in self._perform(neutral, self._style(request), request):
            yield Window((vertices - neutral).numpy() * strength, None)

    def _style(self, request: Request) -> Tensor:
        """By default the speaker of the face's name, else nobody (PTalker), else the first speaker."""
        wish, names = request.motion_style, self.style_names
        if wish is None and names:
            nobody = None if self.talker.emotion_encoder is not None else names[0]
            wish = request.identity.name if request.identity.name in names else nobody
        return self.talker.voiced(self.talker.style(wish), self._audio)

    def _perform(self, neutral: Tensor, code: Tensor, request: Request) -> Iterator[Tensor]:
        talker, per_frame = self.talker, self.talker.config.family.steps_per_frame
        heard, _ = talker.hear(self._audio)
        last = heard.shape[1] // per_frame - 1  # the last frame is held to the end of the recording
        if last < 0:
            raise InputError("the recording is too short for a single frame; give at least a tenth of a second")

        def features(start: int, count: int) -> Tensor:
            frames = torch.arange(start, start + count).clamp(0, last)
            return heard.unflatten(1, (-1, per_frame))[:, frames].flatten(1, 2)

        heard = heard[:, : (last + 1) * per_frame]
        if talker.config.model == "codetalker":  # its result decodes the codes of the whole clip at once
            made = talker.generate(heard, neutral, code)[0]
            yield made[torch.arange(self._frames).clamp(max=last)]
            return
        own: dict[str, Any] = {}
        if talker.config.model == "facediffuser":
            own = {"steps": request.steps, "generator": torch.Generator().manual_seed(request.seed)}
        yield from in_blocks(lambda: talker.session(neutral, code, **own).push, features, self._frames)
