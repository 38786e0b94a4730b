"""Speech to finished frames: listen, perform, solve curves, close the mouth in silence, blink; piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.animation.liveliness.layer import NONE, Life, LifeLayer
from parlante.animation.postprocess import Motion, Resampler, close_mouth, mouth_gain
from parlante.animation.prefetch import ahead
from parlante.animation.source import MeshSource, Request, Source, unknown_name
from parlante.animation.sources import find_source
from parlante.animation.styles import find_style
from parlante.audio.recording import Speech, hear
from parlante.core import Animation, Identity, InputError, Style, Topology
from parlante.core.timing import num_frames
from parlante.export import AnimationInfo, FrameBlock, check_outputs, open_sinks
from parlante.export.frames import Sink
from parlante.export.outputs import Picture
from parlante.geometry.blendshape_solver import CurveSolver
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.speaker_profile import NEUTRAL, SpeakerProfile

RIGID = ("teeth_upper", "teeth_lower", "gum_upper", "gum_lower", "tongue", "eyeball_left", "eyeball_right", "lashes")
"""Regions that are posed by the curves alone, so that they keep their shape."""
DEFAULT_SEED = 0


def animate(
    speech: Path | str | tuple[NDArray[np.floating], int],
    *,
    outputs: Sequence[Path | str] = (),
    picture: Picture | None = None,
    progress: Callable[[int, int], None] | None = None,
    **how: Any,
) -> Animation:
    """A face that says `speech`, kept in memory; also written to `outputs`, whose suffixes choose the formats.

    `how`: the keywords of `stream`. For recordings of many minutes use `animate_to`, whose memory stays flat.
    Raises InputError for anything in the arguments that cannot be used.
    """
    kept: list[FrameBlock] = []
    take = animate_to(speech, outputs, picture=picture, progress=progress, keep=kept.append, **how)

    def joined(name: str) -> NDArray[Any] | None:
        parts = [getattr(chunk, name) for chunk in kept]
        return None if parts[0] is None else np.concatenate(parts)

    vertices = joined("vertices")
    assert vertices is not None
    return Animation(
        topology=take.topology,
        fps=take.fps,
        neutral=take.neutral,
        vertices=vertices,
        audio=np.array(take.audio),
        sample_rate=take.sample_rate,
        wrinkle=joined("wrinkle"),
        weights=joined("weights"),
        weight_names=take.weight_names,
        head_pose=joined("head_pose"),
        albedo=take.albedo,
        provenance=take.provenance,
    )


def animate_to(
    speech: Path | str | tuple[NDArray[np.floating], int],
    outputs: Sequence[Path | str],
    *,
    picture: Picture | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[FrameBlock], None] | None = None,
    live: Callable[[AnimationInfo], Sink] | None = None,
    **how: Any,
) -> AnimationInfo:
    """Write a face that says `speech` to `outputs` as it is made; memory does not grow with the recording.

    `progress(done, total)` is called in frames; `keep` sees every chunk; `live` makes one more sink, such as an
    `export.livelink_udp.LiveLinkSender`, which is left when the files are in place. Returns the facts of the take.
    Raises InputError before any work if an output cannot be written.
    """
    check_outputs(outputs)
    seen = keep is not None or not all(str(output).lower().endswith(SKINLESS) for output in outputs)
    take, chunks = stream(speech, skin=seen, **how)
    check_fit(outputs, take)
    with also(live, take) as extra, open_sinks(outputs, take, picture) as sinks:
        fill(take, chunks, [*extra, *sinks], progress, keep)
    return take


@contextmanager
def also(make: Callable[[AnimationInfo], Sink] | None, take: AnimationInfo) -> Iterator[list[Sink]]:
    """The sink that `make` makes, open, or none."""
    if make is None:
        yield []
        return
    with make(take) as sink:
        yield [sink]


def fill(
    take: AnimationInfo,
    chunks: Iterator[FrameBlock],
    sinks: Sequence[Sink],
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[FrameBlock], None] | None = None,
) -> None:
    """Write every chunk to every sink, while the next one is being made."""
    done = 0
    with ahead(chunks) as made:
        for chunk in made:
            for sink in sinks:
                sink.write(chunk)
            if keep is not None:
                keep(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, take.num_frames)


SKINLESS = (".csv", ".tsv", ".a2f.json", ".keys.json", ".visemes.json", ".vrma", ".pc2", ".mdd", ".mc")
"""Outputs that show no skin."""
FACELESS = (".npz", ".pc2", ".mdd", ".mc")
"""Outputs that need no triangles."""


def check_fit(outputs: Sequence[Path | str], take: AnimationInfo) -> None:
    """Raises InputError where a talker does not make what an output shows."""
    for output in map(str, outputs):
        if not take.weight_names and output.lower().endswith(".csv"):
            raise InputError(
                f"cannot write {output}: {take.provenance['model']} on {take.topology.name} makes no curves; choose "
                ".npz, .obj/, .ply/ or .mp4"
            )
        if not len(take.topology.triangles) and not output.lower().endswith(FACELESS):
            raise InputError(
                f"cannot write {output}: the checkpoint knows {take.topology.num_vertices} vertices and no triangles; "
                f"choose {', '.join(FACELESS)}, give --identity FACE.ply, or convert again with --topology FACE.ply"
            )


def stream(
    speech: Path | str | tuple[NDArray[np.floating], int],
    *,
    identity: str | Identity | None = None,
    style: str | Style | None = None,
    motion_style: str | Style | None = None,
    wrinkle_style: str | Style | None = None,
    motion_strength: float = 1.0,
    wrinkle_strength: float = 1.0,
    seed: int = DEFAULT_SEED,
    fps: float | None = None,
    texture: bool = True,
    liveliness: bool | str | Life = True,
    steps: int | None = None,
    source: Source | str | Path | None = None,
    skin: bool = True,
) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
    """The facts of a take and an iterator that makes its frames, a window of the model at a time.

    speech: a file, or (samples (N,) or (N, channels), sample rate). identity: a name of the embedded head (its first if
    absent), or of a converted checkpoint's faces, or a mesh file of its topology. style: whose manner; motion_style and
    wrinkle_style override it for motion and skin; by default the identity's own; each a name, a mixture such as
    `ada:0.7,bo:0.3`, a `.style` file or a `Style`.
    Strengths: 0..3, 1 leaves the model's. seed: the same one gives the same frames. fps: 1..240, none: the talker's
    own.
    texture: False leaves out wrinkles and skin. steps: of the solver.
    liveliness: blinks, gaze, head movement and breath; False or `none`: exactly the talker's own; or some of them, such
    as `blinks,head:0.5`, or a `Life`.
    source: another talker than the shipped TexTalker: a name of `pipeline.sources.SHIPPED`, a checkpoint folder, or any
    `Source`. skin: False saves painting the albedo, where nobody looks at it.
    """
    for name, value in (("motion_strength", motion_strength), ("wrinkle_strength", wrinkle_strength)):
        if not 0 <= value <= 3:
            raise InputError(f"{name} must lie in 0..3, got {value:g}; 1 leaves the model's own")
    if fps is not None and not 1 <= fps <= 240:
        raise InputError(f"fps must lie in 1..240, got {fps:g}; 30 is the model's own")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed}")
    life = Life.parse(liveliness)
    source = find_source(source)
    _check_talents(source, steps, wrinkle_style, wrinkle_strength)
    shapes: NDArray[np.float32] | None = None
    if isinstance(source, MeshSource):
        if not isinstance(liveliness, bool) and life != NONE:
            raise InputError(
                f"{source.provenance.get('model', 'this talker')} moves a mesh of its own without eyes or head pose; "
                "leave the liveliness out"
            )
        person, pivot, life = source.person(identity, paint=skin and texture), (0.0, 0.0, 0.0), NONE
    else:
        person, shapes, pivot = _person(identity, paint=skin and texture)
    fps = source.fps if fps is None else fps
    request = Request(
        identity=person,
        motion_style=find_style(motion_style if motion_style is not None else style, source),
        wrinkle_style=find_style(wrinkle_style if wrinkle_style is not None else style, source),
        motion_strength=motion_strength,
        wrinkle_strength=wrinkle_strength,
        seed=seed,
        steps=steps,
        texture=texture,
    )
    heard = hear(speech)
    total = num_frames(len(heard.audio), heard.sample_rate, fps)
    provenance = {
        **source.provenance,
        "identity": person.name,
        "motion_style": _style_name(request.motion_style, person),
        "wrinkle_style": _style_name(request.wrinkle_style, person),
        "motion_strength": motion_strength,
        "wrinkle_strength": wrinkle_strength,
        "seed": seed,
        "steps": steps,
        "liveliness": str(life),
        "speech": heard.name,
    }
    take = AnimationInfo(
        topology=person.topology,
        fps=fps,
        num_frames=total,
        neutral=person.neutral,
        audio=heard.audio,
        sample_rate=heard.sample_rate,
        albedo=person.albedo if texture else None,
        weight_names=() if shapes is None else ARKIT_NAMES,
        shapes=shapes,
        pivot=pivot,
        wrinkle_size=source.wrinkle_size if texture else None,
        has_pose=life.moves_head,
        provenance=provenance,
    )
    if shapes is None:
        return take, _mesh_frames(take, heard, request, source)
    return take, _frames(take, heard, request, source, life)


def _check_talents(source: Source, steps: int | None, wrinkle_style: Any, wrinkle_strength: float) -> None:
    """Raises InputError where a talker is asked for what it does not have."""
    model = source.provenance.get("model", "this talker")
    if steps is not None and not source.max_steps:
        raise InputError(f"{model} has no solver, so that steps={steps} means nothing; leave it out")
    if steps is not None and not 1 <= steps <= source.max_steps:
        raise InputError(f"steps of {model} must lie in 1..{source.max_steps}, got {steps}; leave it out for its own")
    if source.wrinkle_size is None and (wrinkle_style is not None or wrinkle_strength != 1):
        raise InputError(f"{model} makes no wrinkles; leave wrinkle style and wrinkle strength out")


def _mesh_frames(take: AnimationInfo, heard: Speech, request: Request, source: Source) -> Iterator[FrameBlock]:
    """What a talker of its own mesh says, as it says it."""
    source.listen(heard.audio_16k)
    pieces = (
        Motion(np.zeros((len(window.offsets), 0), np.float32), window.offsets, window.wrinkle)
        for window in source.windows(request)
    )
    start = 0
    for motion in _at_rate(pieces, source.fps, take):
        motion = motion[: take.num_frames - start]
        if len(motion):
            yield FrameBlock(start, (take.neutral + motion.residual).astype(np.float32, copy=False), motion.wrinkle)
            start += len(motion)
    assert start == take.num_frames, f"made {start} of {take.num_frames} frames"


def _at_rate(pieces: Iterator[Motion], fps: float, take: AnimationInfo) -> Iterator[Motion]:
    """The same motion at the rate of the take."""
    if abs(fps - take.fps) < 1e-9:
        yield from pieces
        return
    stretch = Resampler(fps, take.fps, take.num_frames)
    held: Motion | None = None
    for motion in pieces:
        if held is not None:
            yield stretch.feed(held)
        held = motion
    if held is not None:
        yield stretch.finish(held)


def _frames(take: AnimationInfo, heard: Speech, request: Request, source: Source, life: Life) -> Iterator[FrameBlock]:
    assert take.shapes is not None
    alive = LifeLayer(heard.audio_16k, 16000, life, _manner(request), request.seed, take.fps)
    compose = _Composer(take.neutral, take.shapes, take.topology)
    start = 0
    for motion in _at_rate(_motions(take, heard, request, source), source.fps, take):
        count = min(len(motion), take.num_frames - start)
        if not count:
            continue
        motion = motion[:count]
        weights, pose = alive(motion.weights, start)
        yield FrameBlock(start, compose(weights, motion.residual), motion.wrinkle, weights, pose)
        start += count
    assert start == take.num_frames, f"made {start} of {take.num_frames} frames"


def _motions(take: AnimationInfo, heard: Speech, request: Request, source: Source) -> Iterator[Motion]:
    """Curves and residuals, the mouth closed in silence."""
    assert take.shapes is not None
    silence = np.maximum(source.listen(heard.audio_16k), heard.digital_silence(source.fps))
    gain = mouth_gain(silence, source.fps)
    lower = np.array([name.startswith(("jaw", "mouth", "tongue", "cheekPuff")) for name in ARKIT_NAMES])
    mask = _lower_face(take.shapes[lower])
    basis = take.shapes.reshape(len(take.shapes), -1)
    solver = CurveSolver(take.shapes, _observed(take.topology))
    start = 0
    for window in source.windows(request):
        weights = solver.solve(window.offsets)
        residual = window.offsets - (weights @ basis).reshape(window.offsets.shape)
        factor = gain[np.minimum(np.arange(start, start + len(weights)), len(gain) - 1)]
        start += len(weights)
        yield close_mouth(Motion(weights, residual, window.wrinkle), factor, lower, mask)


class _Composer:
    """neutral + weights @ shapes + residual, with no residual where a part must stay rigid."""

    def __init__(self, neutral: NDArray[np.float32], shapes: NDArray[np.float32], topology: Topology) -> None:
        self._neutral = neutral
        self._basis = shapes.reshape(len(shapes), -1)
        rigid = [np.asarray(topology.regions[name], np.int64) for name in RIGID if name in topology.regions]
        self._soft = np.ones((len(neutral), 1), np.float32)
        if rigid:
            self._soft[np.concatenate(rigid)] = 0.0

    def __call__(self, weights: NDArray[np.float32], residual: NDArray[np.float32]) -> NDArray[np.float32]:
        vertices = (weights @ self._basis).reshape(residual.shape)
        vertices += residual * self._soft
        vertices += self._neutral
        return vertices.astype(np.float32, copy=False)


def _observed(topology: Topology) -> NDArray[np.int64] | None:
    """Vertices to fit: skin, eyeballs (they show the gaze) and tongue; all where these are not named."""
    names = [name for name in ("skin", "eyeball_left", "eyeball_right", "tongue") if name in topology.regions]
    if "skin" not in names:
        return None
    return np.unique(np.concatenate([np.asarray(topology.regions[name], np.int64) for name in names]))


def _lower_face(shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(V,) 0..1: how far the lower-face shapes reach each vertex; 1 from a millimetre of movement on."""
    reach = np.linalg.norm(shapes, axis=-1).max(axis=0)
    amount = np.clip(reach / 1e-3, 0.0, 1.0)
    return np.asarray(amount * amount * (3 - 2 * amount), np.float32)


def _person(
    identity: str | Identity | None, *, paint: bool
) -> tuple[Identity, NDArray[np.float32], tuple[float, float, float]]:
    from parlante.head import load_head

    head = load_head()
    name = head.identity_names[0] if identity is None else identity if isinstance(identity, str) else identity.name
    if name not in head.identity_names:
        raise unknown_name("identity", name, tuple(head.identity_names))
    x, y, z = (float(value) for value in head.neck_pivot(name))
    if isinstance(identity, Identity):
        person = identity
    else:
        person = head.identity(name) if paint else Identity(name, head.topology, head.neutral(name))
    return person, np.asarray(head.shapes(name), np.float32), (x, y, z)


def _manner(request: Request) -> SpeakerProfile:
    """The manner of blinking and nodding that goes with the motion style."""
    from parlante.head.speaker_profile import profile_of

    wish = request.motion_style
    if isinstance(wish, Style):
        return NEUTRAL
    manner = profile_of(wish if wish is not None else request.identity.name)
    return replace(manner, blink_rate=min(max(manner.blink_rate, 0.25), 0.4))


def _style_name(wish: str | Style | None, person: Identity) -> str:
    return person.name if wish is None else wish if isinstance(wish, str) else wish.name
