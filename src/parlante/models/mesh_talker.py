"""Talkers on a mesh of their own: a published family on the mesh that it was trained with.

Such a talker moves vertices and nothing else: no blendshape weights, no head pose, no skin; the mouth is not closed in
silence. What comes out is what the authors' model says, in the unit and axes of its training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parlante.core import Identity, InputError, Style, Topology
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.core.timing import num_frames
from parlante.models.base_talker import BaseTalker
from parlante.models.checkpoint import digest
from parlante.models.components.chunked_inference import in_chunks
from parlante.models.importing.templates import read_templates
from parlante.models.mesh_network import MeshNetwork
from parlante.models.style_fitting import StyleFitConfig, fit_style, in_own_space, spread_pieces
from parlante.models.talker import Abilities, Audio, ExtractedStyle, StyleClip, unknown_name
from parlante.models.templates import Templates

LONG_S, WINDOW_S = 60.0, 30.0
"""Seconds: longer speech is encoded in windows of the second, so that memory does not grow as its square."""
FIT_FRAMES, FIT_PIECES = 120, 8
"""A style is searched on at most so many pieces of about so many frames, spread over the clips."""
FEWER_STEPS, FEWER_PIECES = 16, 3
"""For families that are costly to search."""
SHORTEST = 1600
"""Samples; shorter recordings are lengthened with silence."""
MESH_FILES = (".ply", ".obj", ".npz", ".pkl")


def _place_in_file(wish: str) -> tuple[str, str] | None:
    """A mesh file and the name of a person in it, empty where none is named; none for other words."""
    if Path(wish).suffix.lower() in MESH_FILES:
        return wish, ""
    file, colon, name = wish.rpartition(":")
    return (file, name) if colon and name and Path(file).suffix.lower() in MESH_FILES else None


def _person(faces: Templates, file: str, name: str) -> str:
    """The person meant; raises InputError where a file holds several, or none of that name."""
    people = tuple(faces.neutrals)
    if not name and len(people) == 1:
        return people[0]
    if not name:
        raise InputError(
            f"{file} holds {len(people)} people: {', '.join(people)}; name one, for example "
            f"--identity {file}:{people[0]}"
        )
    if name not in people:
        raise unknown_name("identity", name, people)
    return name


class MeshTalker(BaseTalker):
    """A `MeshNetwork` and its faces."""

    def __init__(self, network: MeshNetwork, checkpoint: str = "") -> None:
        self.network, self.name, self.fps = network, network.config.model, network.fps
        self.reads_styles = network.emotion_encoder is not None
        self.abilities = Abilities(
            styles=network.config.subjects,
            solver_steps=network.family.solver_steps,
            own_faces=True,
            extracts_styles=self.reads_styles or network.family.searches_styles,
        )
        self.topology = self._topology(network.templates)
        self.provenance: dict[str, Any] = {"model": self.name, "checkpoint_sha256": checkpoint}

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "MeshTalker":
        """From a folder that `parlante convert` or `parlante train` wrote. Raises InputError if it cannot be used."""
        network = MeshNetwork.from_pretrained(folder)
        if network.config.controls:
            raise InputError(
                f"{folder} moves {len(network.config.controls)} rig controls and no mesh; read them in Python with "
                "MeshNetwork.from_pretrained(folder).coordinates(audio)"
            )
        return cls(network.to(device), digest(folder))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.family.parameters()).device

    # -- who speaks

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """A face of the checkpoint by name (the first if none), or from a mesh file of its topology; `FILE:NAME` is one
        of several people in a file.

        Raises InputError where there is none, or of another size, and where a file holds several people.
        """
        network, faces = self.network, self.network.templates
        if isinstance(wish, Identity):
            name, neutral = wish.name, wish.neutral
        elif wish is not None and (place := _place_in_file(wish)) is not None:
            faces = read_templates([place[0]], Path(place[0]).stem)
            name = _person(faces, *place)
            neutral = faces.neutrals[name]
            if not len(faces.triangles):
                faces = replace(network.templates, neutrals=faces.neutrals)
        elif not faces.neutrals:
            raise InputError(
                f"this checkpoint has no face at rest; give one with --identity FACE.ply ({network.num_vertices} "
                "vertices), or convert it again with --topology"
            )
        else:
            name = next(iter(faces.neutrals)) if wish is None else wish
            if name not in faces.neutrals:
                raise unknown_name("identity", name, tuple(faces.neutrals))
            neutral = faces.neutrals[name]
        if len(neutral) != network.num_vertices:
            raise InputError(
                f"{name} has {len(neutral)} vertices, the checkpoint moves {network.num_vertices}; give a face of the "
                "topology that it was trained with"
            )
        return Identity(name, self._topology(faces), np.asarray(neutral, np.float32))

    def _topology(self, faces: Templates) -> Topology:
        uv, uv_triangles = faces.uv, faces.uv_triangles
        if len(uv_triangles) != len(faces.triangles):  # no texture corners: all corners share one
            uv, uv_triangles = np.zeros((1, 2), np.float32), np.zeros_like(faces.triangles)
        count = self.network.num_vertices
        return Topology(self.network.config.topology or f"mesh-{count}", count, faces.triangles, uv, uv_triangles)

    # -- styles

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """A speaker's style; none: for a `face` the speaker of its name, else nobody's (PTalker), else the first
        speaker's; without a face the average. Raises InputError for an unknown name."""
        names = self.abilities.styles
        if name is not None and name not in names:
            raise unknown_name("style", name, names)
        if name is None and face is not None:
            if face.name in names:
                name = face.name
            elif self.reads_styles or not names:
                return self._style(self.network.style(None), "nobody")
            else:
                name = names[0]
        chosen = names if name is None else (name,)
        return self._style(self.network.style({each: 1 / len(chosen) for each in chosen}), name or "mean")

    def _style(self, embedding: Tensor, name: str) -> Style:
        checkpoint = str(self.provenance["checkpoint_sha256"])
        return Style(embedding.cpu().numpy().copy(), np.zeros(0, np.float32), name, self.name, checkpoint)

    def check_style(self, style: Style) -> None:
        """Raises InputError for a style of another size."""
        self.network.style(style)

    def extract_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """The style of the person in clips of its own mesh. Raises InputError where this family learns none."""
        if self.reads_styles:
            return self._read_style(clips, name)
        if self.network.family.searches_styles:
            return self._search_style(clips, name)
        return super().extract_style(clips, name)

    def _read_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """PTalker's way: a stranger's style as its encoder of motion reads it from the whole clips."""
        rest = torch.zeros(self.network.num_vertices, 3)
        embeddings = torch.stack([self.network.style_of_motion(torch.from_numpy(clip.offsets), rest) for clip in clips])
        lengths = torch.tensor([len(clip.offsets) for clip in clips]).to(embeddings)
        embedding = (embeddings * (lengths / lengths.sum())[:, None]).sum(0)
        seconds = float(lengths.sum()) / self.fps
        return ExtractedStyle(self._style(embedding, name), seconds, {"read by": "encoder of motion"})

    def _search_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """FaceFormer, TalkingStyle, CodeTalker: the style under which the model says the clips' speech as they do."""
        family = self.network.family
        network, basis, centre = in_own_space(family)
        per_frame, period = family.config.steps_per_frame, family.config.period
        size = period * max(1, round(FIT_FRAMES / period))  # so that a piece begins at the position it had in its clip
        pieces: list[tuple[Tensor, Tensor]] = []
        for clip in clips:
            features = self._encode_audio(self._audio(clip.audio))[0]
            count = min(len(features) // per_frame, len(clip.offsets))
            offsets = torch.from_numpy(clip.offsets[:count]).to(self.device)
            motion = (self.network.encode(offsets) - centre) @ basis.T
            parts = features[: count * per_frame].split(size * per_frame), motion.split(size)
            pieces += zip(*parts, strict=True)
        chosen = spread_pieces(pieces, size // 4, FEWER_PIECES if family.costly else FIT_PIECES)
        known = torch.stack([self.network.style(each) for each in self.abilities.styles])
        everywhere = StyleFitConfig(lips=0.0)  # no published checkpoint tells which vertices the lips are
        if family.costly:
            everywhere = replace(everywhere, steps=FEWER_STEPS, passes=1, renew=FEWER_STEPS // 2)
        fit = fit_style(network, known, chosen, torch.zeros(len(basis), 1, device=self.device), everywhere)
        facts: dict[str, float | str] = {"nearest known style": self.abilities.styles[fit.nearest]}
        facts |= {f"relative error, {what}": value for what, value in fit.errors.items()}
        seconds = sum(len(motion) for _, motion in chosen) / self.fps
        return ExtractedStyle(self._style(fit.embedding, name), seconds, facts)

    # -- what is said

    def _audio(self, audio: Audio) -> Tensor:
        """(1, N) with at least `SHORTEST` samples."""
        return at_least(audio, SHORTEST).to(self.device)

    def _window_s(self, audio: Tensor) -> float | None:
        return WINDOW_S if audio.shape[1] > LONG_S * 16000 else None

    @torch.no_grad()
    def _encode_audio(self, audio: Tensor) -> Tensor:
        return self.network.encode_audio(audio, window_s=self._window_s(audio))[0]

    @torch.no_grad()
    def _frames(self, audio: Audio, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        """Published models are left to decide about silence."""
        network, count = self.network, num_frames(len(audio), fps=self.fps)
        speech, neutral = self._audio(audio), torch.from_numpy(face.neutral).to(self.device)
        embedding = network.add_voice_style(network.style(style), speech, window_s=self._window_s(speech))
        strength, start = np.float32(sampling.motion_strength), 0
        for vertices in self._vertices(speech, count, neutral, embedding, sampling):
            motion = (vertices - neutral).cpu().numpy() * strength
            yield FrameBlock(start, motion=motion, silence=np.zeros(len(motion), np.float32))
            start += len(motion)

    def _vertices(
        self, audio: Tensor, count: int, neutral: Tensor, embedding: Tensor, sampling: Sampling
    ) -> Iterator[Tensor]:
        network, per_frame = self.network, self.network.config.family.steps_per_frame
        encoded = self._encode_audio(audio)
        last = encoded.shape[1] // per_frame - 1  # the last frame is held to the end of the recording
        if last < 0:
            raise InputError("the recording is too short for a single frame; give at least a tenth of a second")

        def features(start: int, size: int) -> Tensor:
            frames = torch.arange(start, start + size, device=encoded.device).clamp(0, last)
            return encoded.unflatten(1, (-1, per_frame))[:, frames].flatten(1, 2)

        encoded = encoded[:, : (last + 1) * per_frame]
        if network.family.whole_clips:
            made = network.generate(encoded, neutral, embedding)[0]
            yield made[torch.arange(count, device=made.device).clamp(max=last)]
            return
        own: dict[str, Any] = {}
        if network.family.solver_steps:
            own = {"steps": sampling.steps, "generator": torch.Generator().manual_seed(sampling.seed)}
        yield from in_chunks(lambda: network.session(neutral, embedding, **own).push, features, count)


def at_least(audio: Audio, samples: int) -> Tensor:
    """(1, N) as a tensor, lengthened with silence to so many samples."""
    values = torch.from_numpy(np.array(audio, np.float32))
    return torch.nn.functional.pad(values, (0, max(0, samples - len(values))))[None]
