"""What a talker is given, checked; and vertices as it is heard."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from parlante.core import InputError

if TYPE_CHECKING:
    from parlante.models.talker import VertexTalker


def check_speech(speech: Tensor, width: int | None) -> None:
    """Raises InputError unless this is finite sound (B, N), or finite features (B, S, width) where a width is given."""
    if speech.ndim != (2 if width is None else 3):
        raise InputError(f"speech must be sound (B, N) or features (B, S, A), got {tuple(speech.shape)}")
    if width is not None and speech.shape[-1] != width:
        raise InputError(f"features are {speech.shape[-1]} wide, this model hears {width}")
    if not speech.isfinite().all():
        raise InputError("the speech holds values that are no finite numbers")


def check_face(neutral: Tensor, num_vertices: int) -> None:
    """Raises InputError unless this is a face (..., V, 3) of so many vertices."""
    if neutral.shape[-2:] != (num_vertices, 3):
        raise InputError(
            f"the face has shape {tuple(neutral.shape)}, this model moves {num_vertices} vertices: "
            f"({num_vertices}, 3); give a template of its topology"
        )


class TalkerSession:
    """Vertices as features arrive."""

    def __init__(self, talker: "VertexTalker", session: Any, neutral: Tensor) -> None:
        self._talker, self._session, self._neutral = talker, session, neutral

    def push(self, features: Tensor) -> Tensor:
        """The next n * steps_per_frame features (1, n * w, A) -> the frames that are ready, (n, V, 3).

        Raises InputError for features of another width, of several clips, or that end inside a frame; what was pushed
        before stays.
        """
        sizes = self._talker.config.family
        check_speech(features, sizes.audio_dim)
        if len(features) != 1 or features.shape[1] % sizes.steps_per_frame:
            raise InputError(
                f"push whole frames of one clip: (1, n * {sizes.steps_per_frame}, {sizes.audio_dim}), got "
                f"{tuple(features.shape)}"
            )
        return self._neutral + self._talker.decode(self._session.push(features.to(self._neutral))[0])
