"""What the shared talkers ask of a network that answers motion coordinates to speech features."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

PARTS = (
    "config", "forward", "style_embedding", "generate", "session", "voice_style", "solver_steps", "whole_clips",
    "searches_styles", "costly", "reference_options",
)  # fmt: skip
"""What a network must have."""


def missing_parts(network: Any) -> list[str]:
    """Those of `PARTS` that a network lacks."""
    missing = [name for name in PARTS if not hasattr(network, name)]
    if getattr(type(network), "forward", None) is nn.Module.forward:  # torch's own, which only raises
        missing.append("forward")
    return missing


class MotionFamily(nn.Module):
    """Base of FaceFormer, TalkingStyle, PTalker, CodeTalker, FaceDiffuser, and of a plug-in's network.

    A network is made of its config alone, which has `audio_dim` A, `motion_dim` M, `width` D, `subjects` N and
    `steps_per_frame` w. Features are (B, T * w, A), motion coordinates (B, T, M), style embeddings (B, D). Beside
    `forward(features, past, style, lengths=None) -> (B, T, M)`, which only training calls with the true motion as past,
    a network has

        style_embedding(weights)                        weights (B, N) of the training speakers -> (B, D)
        generate(features, style, *, lengths=None)      -> (B, T, M); lengths (B,) frames of each clip
        session(style)                                  an object whose push(features) answers the next frames (B, n, M)

    and with `solver_steps` above 0 the last two also take `template`, `steps` and `generator`.
    """

    config: Any
    style_embedding: Any
    generate: Any
    session: Any
    whole_clips: ClassVar[bool] = False
    """Whether the frames of a clip are decoded all at once, so that speech is not taken in blocks."""
    searches_styles: ClassVar[bool] = False
    """Whether a stranger's style can be searched on a mesh of its own, with gradients through `forward`."""
    costly: ClassVar[bool] = False
    """Whether such a search takes minutes, so that it is given fewer steps."""

    reference_options: ClassVar[Mapping[str, Any]] = {}
    """Keywords of `generate` that give the numbers of the authors' code."""

    @property
    def solver_steps(self) -> int:
        """Most steps of its solver; 0: it has none."""
        return 0

    def voice_style(self, features: Tensor, real: Tensor | None = None) -> Tensor | None:
        """(B, D) to add to the style, from features of the voice (B, S, E); real (B, S): which are no padding.

        None: this family takes no style from the voice.
        """
        return None
