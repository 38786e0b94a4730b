"""A TexTalker trained here on scans, with the speech network that was trained along: it moves scanned people.

Who speaks is a person of the corpus by name, or a folder with a face of the same mesh. Whose style is free: the pivots
of any person of the corpus by name, those in a folder, or a `.style` file; motion and wrinkles each for themselves.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import Identity, InputError, Style, Topology
from parlante.core.options import Sampling
from parlante.core.timing import SAMPLE_RATE
from parlante.geometry.mesh import Mesh
from parlante.geometry.uv.motion_map import MotionStats
from parlante.models.checkpoint import digest
from parlante.models.mesh_talker import LONG_S, SHORTEST, WINDOW_S, at_least
from parlante.models.talker import Abilities, Audio, ExtractedStyle, StyleClip, unknown_name
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.scanned_people import ScannedPeople
from parlante.models.textalker.scanned_talker import ScannedTalker

ENCODE_FRAMES = 8
"""Frames encoded at a time."""
MODEL = "textalker"


class TrainedTalker(ScannedTalker):
    """A `TexTalker` with a speech network of its own, and the people of its corpus."""

    def __init__(self, network: TexTalker, people: ScannedPeople, checkpoint: str = "") -> None:
        self.network, self.people = network, people
        config = network.config
        super().__init__(
            MODEL,
            config.fps,
            network.motion,
            network.wrinkle,
            MotionStats.from_dict(config.stats),
            published_maps=False,
            quantise=config.quantise,
            abilities=Abilities(
                styles=tuple(config.styles),
                wrinkle_size=(config.wrinkle.img_size, config.wrinkle.img_size),
                solver_steps=config.denoiser.steps,
                own_faces=True,
                extracts_styles=people.topology is not None,
            ),
            checkpoint=checkpoint,
        )
        self.topology = people.topology

    @classmethod
    def around(cls, network: TexTalker, folder: Path) -> "TrainedTalker":
        """With the people in the network's checkpoint folder. Raises InputError if they cannot be used."""
        return cls(network, ScannedPeople(folder), digest(folder))

    # -- who speaks

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """A person of the corpus by name (the first if none), the person in a folder, or as given.

        Raises InputError for anything else, and for another mesh than the corpus's.
        """
        if isinstance(wish, Identity):
            self.people.check_mesh(wish.topology, f"the mesh of {wish.name}")
            return wish
        names = self.people.names
        if wish is None and names:
            wish = names[0]
        if wish in names:
            found = self.people.face(str(wish))
            return replace(found, facts={"pivots": self._without_pivots(found.name)})
        if wish is not None and names and not Path(wish).exists():
            raise unknown_name("identity", str(wish), (*names, "or a folder with face.obj and face.png"))
        return super().face(wish, paint=paint)

    def _metres(self, vertices: NDArray[np.float32]) -> float:
        return self.people.metres(vertices)

    def _topology(self, mesh: Mesh, source: Path) -> Topology:
        found = super()._topology(mesh, source)
        self.people.check_mesh(found, str(source))
        return found

    # -- styles

    def _without_pivots(self, name: str) -> str:
        return f"of {name} in training" if name in self.abilities.styles else "average of the corpus"

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """The pivots of a person of the corpus; none: those that came with `face`, those of its name, or the average.

        Raises InputError for an unknown name.
        """
        if name is None and face is not None:
            if face.own_style is not None:
                return face.own_style
            name = face.name if face.name in self.abilities.styles else None
        if name is None:
            if not self.abilities.styles:
                raise InputError("this model knows no styles; give one with --style FOLDER or --style FILE.style")
            means = [pivots.mean(0).cpu().numpy() for pivots in self._pivots()]
            return self._own(Style(means[0], means[1], "mean"))
        if name not in self.abilities.styles:
            raise unknown_name("style", name, self.abilities.styles)
        return self._own(self.network.style(name))

    def _pivots(self) -> tuple[Tensor, Tensor]:
        return self.network.motion_pivots, self.network.wrinkle_pivots

    def _own(self, style: Style) -> Style:
        checkpoint = str(self.provenance["checkpoint_sha256"])
        return replace(style, model=self.name, checkpoint=checkpoint, wrinkle_name=style.name)

    @torch.inference_mode()
    def extract_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """The mean latents of a person's clips, as published; the average skin where no clip shows any.

        Raises InputError where the mesh of the corpus is not known.
        """
        if self.topology is None:
            return super().extract_style(clips, name)
        motion, wrinkle = [], []
        table, size = self._table(self.topology), self.abilities.wrinkle_size
        for clip in clips:
            for start in range(0, len(clip.offsets), ENCODE_FRAMES):
                offsets = np.asarray(clip.offsets[start : start + ENCODE_FRAMES], np.float32)
                maps = table.bake(torch.from_numpy(self.stats.normalise(offsets)))
                motion.append(self.motion.encode(maps.to(self.device)))
            if clip.wrinkle is None or clip.wrinkle.shape[1:3] != size:
                continue
            for start in range(0, len(clip.wrinkle), ENCODE_FRAMES):
                stored = np.asarray(clip.wrinkle[start : start + ENCODE_FRAMES], np.float32) / 255
                wrinkle.append(self.wrinkle.encode(torch.from_numpy(stored).permute(0, 3, 1, 2).to(self.device)))
        skin = torch.cat(wrinkle).mean(0) if wrinkle else self.network.wrinkle_pivots.mean(0)
        made = Style(torch.cat(motion).mean(0).cpu().numpy().copy(), skin.cpu().numpy().copy(), name)
        seconds = sum(len(clip.offsets) for clip in clips) / self.fps
        facts: dict[str, float | str] = {"wrinkles": "from the clips" if wrinkle else "average"}
        return ExtractedStyle(replace(self._own(made), wrinkle_name=""), seconds, facts)

    # -- what is said

    def _latents(self, audio: Audio, style: Style, count: int, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
        """As the recipe's `inference` says: overlapping windows, or published ones."""
        network, config = self.network, self.network.config
        heard = max(count, math.ceil(SHORTEST / SAMPLE_RATE * self.fps))
        samples = math.ceil(heard * SAMPLE_RATE / self.fps)
        speech = at_least(audio, samples)[:, :samples].to(self.device)  # longer audio would be squeezed into the frames
        window_s = WINDOW_S if samples > LONG_S * SAMPLE_RATE else None
        features = network.encode_audio(speech, heard, window_s=window_s)[:, :count]
        steps = sampling.steps or config.steps
        few = config.solver == "ancestral" and steps != config.denoiser.steps
        windows = network.latents(
            features,
            style,
            count,
            steps=steps,
            generator=torch.Generator().manual_seed(sampling.seed),
            solver="ddim" if few else None,
        )
        for window in windows:
            yield window.motion[0], window.wrinkle[0]
