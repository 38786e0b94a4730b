"""Speech in, an animation out, in one call. The class behind these functions is `parlante.Talker`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from parlante.animation.talker import AudioLike, Talker
from parlante.core import Animation, Identity, Style
from parlante.core.checks import output_list
from parlante.core.frames import AnimationInfo, FrameBlock
from parlante.core.options import Liveliness, Picture
from parlante.core.renames import notice
from parlante.export.frames import FrameSink
from parlante.models.talker import SpeechModel

Model = SpeechModel | str | Path | None
"""A shipped model's name (none: TexTalker), a checkpoint or run folder, or a model."""


def animate(
    speech: AudioLike,
    *,
    outputs: Sequence[Path | str] | Path | str = (),
    model: Model = None,
    device: str = "cpu",
    identity: str | Identity | None = None,
    style: str | Style | None = None,
    motion_style: str | Style | None = None,
    wrinkle_style: str | Style | None = None,
    emotion: Mapping[str, float] | None = None,
    motion_strength: float = 1.0,
    wrinkle_strength: float = 1.0,
    seed: int = 0,
    steps: int | None = None,
    fps: float | None = None,
    texture: bool = True,
    liveliness: bool | str | Liveliness = True,
    picture: Picture | None = None,
    progress: Callable[[int, int], None] | None = None,
    source: Model = None,
) -> Animation:
    """A face that says `speech`, kept in memory; also written to `outputs`, whose suffixes choose the formats.

    The keywords are those of `parlante.Talker`, plus model and device of `Talker.from_pretrained`, and picture: how
    outputs that show pictures show them. source: the old name of model. For recordings of many minutes use
    `Talker.write`, whose memory stays flat. Raises InputError for anything in the arguments that cannot be used.
    """
    from parlante.animation.talker import in_memory

    kept: list[FrameBlock] = []
    info = animate_to(
        speech, outputs, model=model, device=device, identity=identity, style=style, motion_style=motion_style,
        wrinkle_style=wrinkle_style, emotion=emotion, motion_strength=motion_strength,
        wrinkle_strength=wrinkle_strength, seed=seed, steps=steps, fps=fps,
        texture=texture, liveliness=liveliness, picture=picture, progress=progress,
        keep=kept.append, source=source,
    )  # fmt: skip
    return in_memory(info, kept)


def animate_to(
    speech: AudioLike,
    outputs: Sequence[Path | str] | Path | str,
    *,
    model: Model = None,
    device: str = "cpu",
    picture: Picture | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[FrameBlock], None] | None = None,
    live: Callable[[AnimationInfo], FrameSink] | None = None,
    identity: str | Identity | None = None,
    style: str | Style | None = None,
    motion_style: str | Style | None = None,
    wrinkle_style: str | Style | None = None,
    emotion: Mapping[str, float] | None = None,
    motion_strength: float = 1.0,
    wrinkle_strength: float = 1.0,
    seed: int = 0,
    steps: int | None = None,
    fps: float | None = None,
    texture: bool = True,
    liveliness: bool | str | Liveliness = True,
    source: Model = None,
) -> AnimationInfo:
    """Write a face that says `speech` to `outputs` as it is made; memory does not grow with the recording.

    picture, progress, keep and live are those of `Talker.write`, the others those of `animate`. Raises InputError
    before any work if an output cannot be written.
    """
    if source is not None:
        notice("python", "source=", "model=")
        model = source if model is None else model
    from parlante.export import check_outputs, shows_skin

    outputs = output_list(outputs)
    check_outputs(outputs)
    talker = Talker.from_pretrained(model, device=device)
    skin = keep is not None or shows_skin(outputs)
    casting = talker.cast(
        skin=skin, identity=identity, style=style, motion_style=motion_style, wrinkle_style=wrinkle_style,
        emotion=emotion, motion_strength=motion_strength, wrinkle_strength=wrinkle_strength, seed=seed, steps=steps,
        fps=fps, texture=texture, liveliness=liveliness,
    )  # fmt: skip
    return talker.write(speech, outputs, casting, picture=picture, progress=progress, keep=keep, live=live)
