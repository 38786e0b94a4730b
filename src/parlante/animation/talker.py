"""The public face of a talker: speech in, a finished animation out.

>>> talker = Talker.from_pretrained("textalker")  # doctest: +SKIP
>>> animation = talker("line.wav", identity="amara", style="mateo:0.7,giulia:0.3", seed=1)  # doctest: +SKIP
>>> animation.save("line.glb", "line.mp4")  # doctest: +SKIP
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from parlante.animation.liveliness.layer import LivelinessLayer
from parlante.animation.postprocess import Composer, MouthCloser, WeightSolver, at_rate
from parlante.animation.prefetch import prefetch
from parlante.audio.io import mono
from parlante.audio.recording import Recording, load_audio
from parlante.core import Animation, Identity, InputError, Style
from parlante.core.checks import NUMBER, check_type, output_list
from parlante.core.frames import AnimationInfo, FrameBlock
from parlante.core.notes import gathered, note
from parlante.core.options import NO_LIVELINESS, Liveliness, Picture, Sampling
from parlante.core.style import combined
from parlante.core.timing import num_frames
from parlante.export import check_fit, check_outputs, open_sinks
from parlante.export.frames import FrameSink
from parlante.geometry.blendshape_solver import kept_apart
from parlante.head.speaker_profile import NEUTRAL, SpeakerProfile, profile_of
from parlante.models.registry import load_model
from parlante.models.talker import Audio, Session, SpeechModel, check_look_ahead

AudioLike = Path | str | tuple[NDArray[np.floating], int]
"""A file, or (samples (N,) or (N, channels), sample rate)."""
Edit = Callable[[AnimationInfo, Iterator[FrameBlock]], tuple[AnimationInfo, Iterator[FrameBlock]]]
"""What changes an animation on its way."""


@dataclass(frozen=True, eq=False)
class Casting:
    """Who speaks, how, and with what liveliness: everything about an animation but the recording."""

    face: Identity
    style: Style
    sampling: Sampling
    liveliness: Liveliness
    profile: SpeakerProfile
    """How the person of the motion style blinks and nods."""
    fps: float
    facts: dict[str, Any]
    """For the provenance."""
    notes: tuple[str, ...] = ()
    """What was assumed or dropped, a line each."""


class Talker:
    """A speech model, and what turns its frames into an animation. Sessions share no state, so threads may share it."""

    def __init__(self, model: SpeechModel) -> None:
        self.model = model

    @classmethod
    def from_pretrained(
        cls, model: "SpeechModel | Path | str | None" = None, *, device: torch.device | str = "cpu"
    ) -> "Talker":
        """A shipped model by name (none: TexTalker), or a folder of `parlante train` or `parlante convert`.

        Raises InputError for an unknown name, a damaged folder, or a device that is not there.
        """
        return cls(load_model(model, device))

    # -- whole recordings

    def __call__(
        self,
        speech: AudioLike,
        *,
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
        audio_track: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Animation:
        """A face that says `speech`, in memory. For recordings of many minutes use `write`, whose memory stays flat.

        speech: a file, or (samples (N,) or (N, channels), sample rate). identity: a name of the embedded head (its
        first if absent), or of a converted checkpoint's faces, or a mesh file of its topology. style: whose speaking
        style; motion_style and wrinkle_style override it for motion and skin; by default the identity's own; each a
        name, a mixture such as `ada:0.7,bo:0.3`, a `.style` file or a `Style`. emotion: amounts 0..1 by name, for
        models that show some. motion_strength, wrinkle_strength: 0..3, 1 leaves the model's. seed: the same one gives
        the same frames. steps: of the solver. fps: 1..240, none: the model's own. texture: False leaves out wrinkles
        and skin. liveliness: blinks, gaze, head movement and breath; False or `none`: exactly the model's own; or some
        of them, such as `blinks,head:0.5`. audio_track: which track of a file with several, from 1 on; none: the first
        with sound. progress(done, total) is called in frames. What was assumed or dropped is in `Animation.notes`.
        Raises InputError for anything that cannot be used.
        """
        casting = self.cast(
            identity=identity, style=style, motion_style=motion_style, wrinkle_style=wrinkle_style, emotion=emotion,
            motion_strength=motion_strength, wrinkle_strength=wrinkle_strength, seed=seed, steps=steps, fps=fps,
            texture=texture, liveliness=liveliness,
        )  # fmt: skip
        kept: list[FrameBlock] = []
        with self.noted(speech, casting, audio_track) as (info, blocks):
            fill(info, blocks, (), progress, kept.append)
        return in_memory(info, kept)

    def write(
        self,
        speech: AudioLike,
        outputs: Sequence[Path | str] | Path | str,
        casting: Casting | None = None,
        *,
        picture: Picture | None = None,
        progress: Callable[[int, int], None] | None = None,
        keep: Callable[[FrameBlock], None] | None = None,
        live: Callable[[AnimationInfo], FrameSink] | None = None,
        audio_track: int | None = None,
        edit: Edit | None = None,
    ) -> AnimationInfo:
        """Write a face that says `speech` to `outputs` as it is made; memory does not grow with the recording.

        outputs: one or more. casting: of `cast`, the default if none. picture: how outputs that show pictures show
        them. progress: as in a call. `keep` sees every block; `live` makes one more sink, such as an
        `export.livelink_udp.LiveLinkSender`, which is left when the files are in place. audio_track: as in a call.
        edit: changes facts and frames on their way, such as a function of `export.edit`. What was assumed or dropped is
        in `provenance["notes"]`. Raises InputError before any work if an output cannot be written.
        """
        outputs = output_list(outputs)
        check_type("casting", casting, (Casting, NoneType), "what Talker.cast gives, or none")
        check_outputs(outputs)
        with self.noted(speech, casting or self.cast(), audio_track, edit) as (info, blocks):
            check_fit(outputs, info)
            with also(live, info) as extra, open_sinks(outputs, info, picture) as sinks:
                fill(info, blocks, [*extra, *sinks], progress, keep)
        return info

    @contextmanager
    def noted(
        self, speech: AudioLike, casting: Casting, audio_track: int | None = None, edit: Edit | None = None
    ) -> Iterator[tuple[AnimationInfo, Iterator[FrameBlock]]]:
        """As `stream`, changed by `edit`; the notes of `casting` and of the block are in the provenance."""
        with gathered(casting.notes) as lines:
            info, blocks = self.stream(speech, casting, audio_track=audio_track)
            if edit is not None:
                info, blocks = edit(info, blocks)
            info.provenance["notes"] = lines
            yield info, blocks

    def cast(
        self,
        *,
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
        skin: bool = True,
    ) -> Casting:
        """Who speaks and how, checked against what the model can do; the keywords are those of a call.

        skin: False saves painting the albedo, where nobody looks at it. Raises InputError.
        """
        with gathered() as lines:
            casting = self._cast(
                identity, style, motion_style, wrinkle_style, emotion, fps, liveliness, skin,
                Sampling(
                    seed=seed, steps=steps, motion_strength=motion_strength, wrinkle_strength=wrinkle_strength,
                    wrinkles=texture,
                ),
            )  # fmt: skip
        return replace(casting, notes=tuple(lines))

    def _cast(
        self,
        identity: str | Identity | None,
        style: str | Style | None,
        motion_style: str | Style | None,
        wrinkle_style: str | Style | None,
        emotion: Mapping[str, float] | None,
        fps: float | None,
        liveliness: bool | str | Liveliness,
        skin: bool,
        sampling: Sampling,
    ) -> Casting:
        model, texture = self.model, sampling.wrinkles
        identity = _wish("identity", identity, Identity, "a name, a mesh file")
        style, motion_style, wrinkle_style = (
            _wish(what, wish, Style, "a name, a mixture such as ada:0.7,bo:0.3, a .style file")
            for what, wish in (("style", style), ("motion_style", motion_style), ("wrinkle_style", wrinkle_style))
        )
        check_type("fps", fps, (*NUMBER, NoneType), "a number in 1..240 or none")
        check_type("emotion", emotion, (Mapping, NoneType), "amounts by name such as {'joy': 0.5} or none")
        if fps is not None and not 1 <= fps <= 240:
            raise InputError(f"fps must lie in 1..240, got {fps:g}; 30 is the model's own")
        if emotion:
            raise InputError(
                f"no model shows emotions yet, got {', '.join(emotion)} for {model.name}; leave emotion out"
            )
        if model.abilities.wrinkle_size is None and wrinkle_style is not None:
            raise InputError(f"{model.name} makes no wrinkles; leave wrinkle style and wrinkle strength out")
        face = model.face(identity, paint=skin and texture)
        life = Liveliness.parse(liveliness)
        if face.shapes is None:
            if not isinstance(liveliness, bool) and life != NO_LIVELINESS:
                raise InputError(
                    f"{model.name} moves a mesh of its own without eyes or head pose; leave the liveliness out"
                )
            life = NO_LIVELINESS
        wishes = [style if wish is None else wish for wish in (motion_style, wrinkle_style)]
        moves = model.style(wishes[0], face)
        wrinkles = moves if wishes[1] is wishes[0] else model.style(wishes[1], face)
        if wrinkle_style is not None:
            self._tell_of_wrinkles(wrinkles, face, texture)
        if wishes[0] is None and model.abilities.styles and face.own_style is None and moves.name != face.name:
            how = "the average style" if moves.name == "mean" else f"the style {moves.name!r}"
            note(f"{model.name} knows no style of {face.name}, which speaks in {how}; name another as its style")
        facts = {
            **face.facts,
            "identity": face.name,
            "motion_style": _style_name(wishes[0], moves),
            "wrinkle_style": _style_name(wishes[1], wrinkles),
            "motion_strength": float(sampling.motion_strength),
            "wrinkle_strength": float(sampling.wrinkle_strength),
            "seed": int(sampling.seed),
            "steps": None if sampling.steps is None else int(sampling.steps),
            "liveliness": str(life),
            **({} if fps is None else {"asked_fps": float(fps)}),
        }
        profile = _profile(wishes[0], model, face)
        rate = model.fps if fps is None else fps
        return Casting(face, combined(moves, wrinkles), sampling, life, profile, rate, facts)

    def _tell_of_wrinkles(self, style: Style, face: Identity, texture: bool) -> None:
        """Say where a wrinkle style that was asked for changes nothing."""
        if not texture:
            note("no wrinkles are made without texture, so that the wrinkle style changes nothing")
        elif not style.wrinkle.size and not style.wrinkle_name:
            note(
                f"{self.model.name} takes wrinkles from persons and {style.name!r} is none, so that they are those of "
                f"{face.name}; name one person as the wrinkle style"
            )

    def stream(
        self, speech: AudioLike, casting: Casting, *, audio_track: int | None = None
    ) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
        """The facts of an animation, and an iterator that makes its frames, a window of the model at a time.

        speech, audio_track: as in a call. casting: of `cast`. Raises InputError for speech that cannot be used.
        """
        with gathered() as lines:
            recording, face = load_audio(speech, track=audio_track), casting.face
        info = AnimationInfo(
            topology=face.topology,
            fps=casting.fps,
            num_frames=num_frames(len(recording.audio), recording.sample_rate, casting.fps),
            neutral=face.neutral,
            audio=recording.audio,
            sample_rate=recording.sample_rate,
            albedo=face.albedo if casting.sampling.wrinkles else None,
            weight_names=face.weight_names,
            shapes=face.shapes,
            pivot=face.pivot,
            wrinkle_size=self.model.abilities.wrinkle_size if casting.sampling.wrinkles else None,
            has_pose=casting.liveliness.moves_head,
            provenance={
                **self.model.provenance,
                **casting.facts,
                "speech": recording.name,
                "notes": list(dict.fromkeys([*casting.notes, *lines])),
            },
        )
        session = self.model.session(face, casting.style, sampling=casting.sampling)
        return info, finished_frames(info, recording, casting, said(session, recording.audio_16k), self.model.fps)

    # -- sessions

    def session(
        self,
        *,
        look_ahead: float | None = None,
        identity: str | Identity | None = None,
        style: str | Style | None = None,
        motion_style: str | Style | None = None,
        wrinkle_style: str | Style | None = None,
        motion_strength: float = 1.0,
        wrinkle_strength: float = 1.0,
        seed: int = 0,
        steps: int | None = None,
        fps: float | None = None,
        texture: bool = True,
        liveliness: bool | str | Liveliness = True,
    ) -> "TalkerSession":
        """An utterance whose sound comes in pieces: `push`, `finish`, `reset`; a context manager.

        Frames come when the sound has ended. look_ahead: must be none, for no session gives frames before that. Other
        keywords as in a call. Raises InputError as a call does.
        """
        if look_ahead is not None:
            check_type("look_ahead", look_ahead, NUMBER, "a number of seconds or none")
            check_look_ahead(self.model, look_ahead)
            raise InputError(
                f"a look-ahead of {look_ahead:g} s is not possible: these sessions give their frames when the sound "
                "has ended; leave it out, or use the model's own session"
            )
        casting = self.cast(
            identity=identity, style=style, motion_style=motion_style, wrinkle_style=wrinkle_style,
            motion_strength=motion_strength, wrinkle_strength=wrinkle_strength, seed=seed, steps=steps, fps=fps,
            texture=texture, liveliness=liveliness,
        )  # fmt: skip
        self.model.session(casting.face, casting.style, sampling=casting.sampling)
        return TalkerSession(self, casting)


class TalkerSession:
    """One utterance at 16 kHz, mono, -1..1, in pieces of any size. Frames are those of the whole recording."""

    def __init__(self, talker: Talker, casting: Casting) -> None:
        self._talker, self.casting = talker, casting
        self._pieces: list[Audio] = []
        self._closed = False
        self.info: AnimationInfo | None = None
        """Facts of the animation; known after `finish`."""

    def push(self, audio_16k: ArrayLike) -> Iterator[FrameBlock]:
        """Take the next sound (n,), an array or a list; integers are divided by their full scale. Gives the frames
        that are ready: none before `finish`. Raises InputError for another shape, and after the `with` has ended."""
        self._check_open()
        try:
            samples = np.array(audio_16k)  # a copy: the caller may fill the same buffer again
        except ValueError:
            samples = np.array(None)
        if samples.ndim != 1 or samples.dtype.kind not in "iuf":
            got = f"an array of shape {samples.shape}" if samples.dtype.kind in "iuf" else repr(audio_16k)[:60]
            raise InputError(f"push mono audio (n,) at 16 kHz, got {got}")
        self._pieces.append(mono(samples, "the sound"))
        return iter(())

    def finish(self) -> Iterator[FrameBlock]:
        """The sound has ended: all frames that are left. The session is then ready for another utterance.

        Raises InputError after the `with` has ended.
        """
        self._check_open()
        pieces, self._pieces = self._pieces, []
        if not any(len(piece) for piece in pieces):
            return iter(())
        self.info, blocks = self._talker.stream((np.concatenate(pieces), 16000), self.casting)
        return blocks

    def reset(self) -> None:
        """Forget what was pushed."""
        self._pieces = []

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this session has ended with its `with` block; begin another with talker.session()")

    def __enter__(self) -> "TalkerSession":
        self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.reset()
        self._closed = True


def said(session: Session, audio: Audio) -> Iterator[FrameBlock]:
    """All frames of a recording that is pushed at once."""
    yield from session.push(audio)
    yield from session.finish()


def finished_frames(
    info: AnimationInfo, recording: Recording, casting: Casting, blocks: Iterator[FrameBlock], fps: float
) -> Iterator[FrameBlock]:
    """A talker's blocks at `fps` as finished frames of an animation, with its rig where the face has one."""
    face, start = casting.face, 0
    if face.shapes is None:
        compose, alive = None, None
    else:
        quiet = recording.digital_silence(fps)
        blocks = map(WeightSolver(face.shapes, face.topology, face.weight_names), blocks)
        blocks = MouthCloser(face.shapes, face.weight_names, fps, quiet)(blocks)
        compose = Composer(face)
        alive = LivelinessLayer(
            recording.audio_16k, 16000, casting.liveliness, casting.profile, casting.sampling.seed, info.fps
        )
    for block in at_rate(blocks, fps, info.fps, info.num_frames):
        count = min(len(block), info.num_frames - start)
        if not count:
            continue
        block = block[:count]
        assert block.motion is not None
        if compose is None or alive is None or block.weights is None:
            vertices = (info.neutral + block.motion).astype(np.float32, copy=False)
            yield FrameBlock(start, vertices, block.wrinkle, notes=block.notes)
        else:
            weights, pose = alive(block.weights, start)
            weights = kept_apart(weights, face.weight_names)
            yield FrameBlock(start, compose(weights, block.motion), block.wrinkle, weights, pose, notes=block.notes)
        start += count
    assert start == info.num_frames, f"made {start} of {info.num_frames} frames"


def in_memory(info: AnimationInfo, blocks: Sequence[FrameBlock]) -> Animation:
    """An animation from its facts and all its frames."""

    def joined(name: str) -> NDArray[Any] | None:
        parts = [getattr(block, name) for block in blocks]
        return None if not parts or parts[0] is None else np.concatenate(parts)

    vertices = joined("vertices")
    return Animation(
        topology=info.topology,
        fps=info.fps,
        neutral=info.neutral,
        vertices=np.zeros((0, *info.neutral.shape), np.float32) if vertices is None else vertices,
        audio=np.array(info.audio),
        sample_rate=info.sample_rate,
        wrinkle=joined("wrinkle"),
        weights=joined("weights"),
        weight_names=info.weight_names,
        head_pose=joined("head_pose"),
        albedo=info.albedo,
        provenance=info.provenance,
    )


@contextmanager
def also(make: Callable[[AnimationInfo], FrameSink] | None, info: AnimationInfo) -> Iterator[list[FrameSink]]:
    """The sink that `make` makes, open, or none."""
    if make is None:
        yield []
        return
    with make(info) as sink:
        yield [sink]


def fill(
    info: AnimationInfo,
    blocks: Iterator[FrameBlock],
    sinks: Sequence[FrameSink],
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[FrameBlock], None] | None = None,
) -> None:
    """Write every block to every sink, while the next one is being made."""
    done = 0
    with prefetch(blocks) as made:
        for block in made:
            for sink in sinks:
                sink.write(block)
            if keep is not None:
                keep(block)
            done += len(block)
            if progress is not None:
                progress(done, info.num_frames)


Noun = TypeVar("Noun", Identity, Style)


def _wish(what: str, wish: Any, noun: type[Noun], wanted: str) -> str | Noun | None:
    """A name or file as text, an `Identity` or `Style`, or none. Raises InputError for anything else."""
    check_type(what, wish, (str, Path, noun, NoneType), f"{wanted}, or an instance of {noun.__name__}")
    return str(wish) if isinstance(wish, Path) else wish


def _style_name(wish: str | Style | None, found: Style) -> str:
    """How the provenance names a style."""
    return wish if isinstance(wish, str) else found.name


def _profile(wish: str | Style | None, model: SpeechModel, face: Identity) -> SpeakerProfile:
    """How the person of a motion style blinks and nods; neutral for a mixture or an extracted style."""
    if isinstance(wish, Style) or (wish is not None and wish not in model.abilities.styles):
        return NEUTRAL
    profile = profile_of(face.name if wish is None else wish)
    return replace(profile, blink_rate=min(max(profile.blink_rate, 0.25), 0.4))
