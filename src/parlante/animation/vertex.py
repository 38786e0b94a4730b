"""The small autoregressive talkers as the pipeline sees them: phonetic encoder, family, motion basis.

They make motion only. Wrinkles follow from it as creases of the moving skin (`head/skin_dynamics.py`), as deep as those
of the person whose wrinkle style is asked for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.animation.source import Request, Window, unknown_name
from parlante.animation.style_extraction import Extracted, StyleClip
from parlante.audio.encoders.phonetic import ASSET as ENCODER_FOLDER
from parlante.audio.encoders.phonetic import FEATURES, RATE, STEP, PhoneticEncoder
from parlante.core import InputError, Style
from parlante.core.timing import num_frames
from parlante.geometry.uv.ratio import encode
from parlante.models.components.chunked_inference import Push, in_blocks
from parlante.models.embedded import EmbeddedTalker
from parlante.models.motion_basis import MotionBasis
from parlante.models.style_fitting import fit_style

FIT_FRAMES, FIT_PIECES = 120, 8
"""A style is fitted to at most so many pieces of so many frames, spread over the clips."""
SKIN = 256
"""Edge of the wrinkle maps."""


class VertexSource:
    """An autoregressive talker on the embedded head. Holds the features of the speech it listened to last."""

    wrinkle_size = (SKIN, SKIN)

    def __init__(self, talker: EmbeddedTalker, encoder: PhoneticEncoder, basis: MotionBasis | None = None) -> None:
        self.talker, self.encoder, self.basis = talker, encoder, basis or MotionBasis.load()
        self.fps = talker.around.fps
        self.style_names = talker.subjects
        self.provenance: dict[str, Any] = {
            "model": talker.family,
            "checkpoint_sha256": talker.checkpoint,
            "encoder": talker.around.encoder,
        }
        self.max_steps = talker.network.config.steps if talker.family == "facediffuser" else 0
        self._heard = torch.zeros(1, 1, encoder.dim)
        self._frames = 0

    @classmethod
    def load(cls, talker: Path | str, encoder: Path | str = ENCODER_FOLDER) -> "VertexSource":
        """A shipped talker by its name, or a checkpoint folder. Raises InputError if it cannot be used."""
        return cls(EmbeddedTalker.from_pretrained(talker), PhoneticEncoder.from_pretrained(encoder))

    def listen(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode speech (N,) at 16 kHz; returns (T,) the chance that nobody speaks, per frame."""
        self._frames = num_frames(len(audio), fps=self.fps)
        if len(audio) < 2 * STEP:
            audio = np.pad(np.asarray(audio), (0, 2 * STEP - len(audio)))
        features = self.encoder.encode(audio)
        self._heard = torch.from_numpy(features)[None]
        times = np.arange(self._frames) / self.fps * RATE - 0.5
        return np.interp(times, np.arange(len(features)), features[:, FEATURES["phones"]][:, 0]).astype(np.float32)

    def windows(self, request: Request) -> Iterator[Window]:
        """Frames of the speech last listened to. Raises InputError for a style it does not know."""
        wish = request.motion_style
        style = wish if isinstance(wish, Style) else self.style(wish, request.identity.name)
        paint = self._skin(request) if request.texture else None
        for coordinates in self._perform(torch.from_numpy(style.motion)[None], request.seed, request.steps):
            offsets = self.basis.decode(coordinates.numpy()) * np.float32(request.motion_strength)
            wrinkle = None
            if paint is not None:
                strength = np.float32(request.wrinkle_strength)
                maps = paint.wrinkle(offsets) if strength == 1 else encode(paint.maps(offsets) ** strength)
                wrinkle = np.rint(255 * maps).astype(np.uint8)
            yield Window(offsets, wrinkle)

    def style(self, name: str | None, wearer: str | None = None) -> Style:
        """A subject's style; without a name the wearer's own, or the average where it has none. Raises InputError."""
        if name is None and wearer in self.style_names:
            name = wearer
        if name is not None and name not in self.style_names:
            raise unknown_name("style", name, self.style_names)
        talker = self.talker
        code = talker.mean_code() if name is None else talker.codes()[talker.subjects.index(name)]
        nothing = np.zeros(0, np.float32)
        return Style(code.numpy().copy(), nothing, name or "mean", talker.family, talker.checkpoint)

    def extract(self, clips: Sequence[StyleClip], name: str) -> Extracted:
        """The style under which this model says the clips' speech as they do: a few seconds of search."""
        from parlante.head import load_head

        pieces: list[tuple[Tensor, Tensor]] = []
        for clip in clips:
            self.listen(clip.audio)
            frames = min(self._frames, len(clip.offsets))
            motion = torch.from_numpy(self.basis.encode(clip.offsets[:frames]))
            heard = self.talker.features(self._heard, 0, frames)[0]
            pieces += zip(heard.split(FIT_FRAMES), motion.split(FIT_FRAMES), strict=True)
        pieces = [piece for piece in pieces if len(piece[0]) >= FIT_FRAMES // 4] or pieces
        chosen = pieces[:: -(-len(pieces) // FIT_PIECES)]
        lips = torch.from_numpy(self.basis.part(np.asarray(load_head().topology.regions["lips"])))
        talker = self.talker
        fit = fit_style(talker.network, talker.codes(), chosen, lips, voiced=talker.voiced)
        style = Style(fit.code.numpy(), np.zeros(0, np.float32), name, talker.family, talker.checkpoint)
        facts = {"nearest known style": talker.subjects[fit.nearest]}
        figures = {f"relative error, {what}": value for what, value in fit.errors.items()}
        return Extracted(style, sum(len(piece) for piece, _ in chosen) / self.fps, facts | figures)

    @torch.no_grad()
    def _perform(self, code: Tensor, seed: int = 0, steps: int | None = None) -> Iterator[Tensor]:
        """Coordinates (n, R) of all frames, in pieces."""
        if code.shape[1] != self.talker.codes().shape[1]:
            raise InputError(
                f"a style of {code.shape[1]} numbers does not fit {self.talker.family}; extract it with it"
            )
        code = self.talker.voiced(code, self.talker.features(self._heard, 0, min(self._frames, round(10 * self.fps))))
        generator = torch.Generator().manual_seed(seed)

        def begin() -> Push:
            session = self.talker.session(code, generator, steps)
            return lambda features: session.push(features)[0]

        yield from in_blocks(begin, lambda start, count: self.talker.features(self._heard, start, count), self._frames)

    def _skin(self, request: Request) -> Any:
        from parlante.head import load_head
        from parlante.head.skin_dynamics import SkinDynamics
        from parlante.head.speaker_profile import profile_of

        wish = request.wrinkle_style
        head = load_head()
        owner = wish if isinstance(wish, str) and wish in head.identity_names else request.identity.name
        return SkinDynamics(head, request.identity.name, SKIN, round(profile_of(owner).wrinkle_depth, 3))
