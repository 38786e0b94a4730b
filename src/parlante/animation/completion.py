"""Wrinkles for any motion of the embedded head, motion for any wrinkles, with its sound or without."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.audio.recording import load_audio
from parlante.core import Animation, InputError, Style
from parlante.core.timing import num_frames
from parlante.export.frames import AnimationInfo, FrameBlock, animation_info
from parlante.export.npz import load
from parlante.export.outputs import check_outputs, open_sinks
from parlante.geometry.uv.motion_map import offsets_from_maps
from parlante.geometry.uv.table import bake_table
from parlante.models.head_talker import HeadTalker
from parlante.models.registry import load_model
from parlante.models.talker import unknown_name
from parlante.models.textalker.completion import STEPS, complete_latents
from parlante.models.textalker.head_generator import DECODE_FRAMES, TexTalkerGenerator, stored_maps
from parlante.models.textalker.model import LatentWindow, TexTalker

MEAN_SECONDS = 3.0
"""A clip shorter than this does not say what a person's mean face is."""


def wrinkles(
    animation: Animation | Path | str,
    *outputs: Path | str,
    audio: Path | str | tuple[NDArray[np.floating], int] | bool = True,
    style: str | Style | None = None,
    seed: int = 0,
    steps: int = STEPS,
    model: HeadTalker | None = None,
    progress: Callable[[int], object] = lambda frames: None,
) -> None:
    """Write an animation to `outputs` with wrinkle maps that fit its motion, any format of `parlante.export`.

    animation: of the embedded head's topology, at any frame rate; maps it has are replaced. audio: the speech, True for
    the animation's own sound, False for none: then motion alone decides. style: whose skin; by default the identity's,
    where the model knows it, else the average skin with the mean of the motion as its centre. seed: all randomness.
    steps: levels of noise. progress: told the number of frames after each piece. Raises InputError for input that
    cannot be used.
    """
    model = model or default_model()
    given = _read(animation)
    pieces = wrinkle_maps(given, audio=audio, style=style, seed=seed, steps=steps, model=model)
    blocks = (_rows(given, start, len(maps), wrinkle=maps) for start, maps in pieces)
    _write(replace(animation_info(given), wrinkle_size=model.abilities.wrinkle_size), outputs, blocks, progress)


def motion(
    animation: Animation | Path | str,
    *outputs: Path | str,
    audio: Path | str | tuple[NDArray[np.floating], int] | bool = True,
    style: str | Style | None = None,
    seed: int = 0,
    steps: int = STEPS,
    model: HeadTalker | None = None,
    progress: Callable[[int], object] = lambda frames: None,
) -> None:
    """Write an animation to `outputs` with motion that fits its wrinkle maps, any format of `parlante.export`.

    How it moved before is replaced, and curves are left out, for they would tell of the old motion; maps and head pose
    stay. style: in whose manner; the rest as for `wrinkles`. Raises InputError for input that cannot be used, such as
    an animation without maps.
    """
    model = model or default_model()
    given = replace(_read(animation), weights=None, weight_names=())
    pieces = motion_offsets(given, audio=audio, style=style, seed=seed, steps=steps, model=model)
    blocks = (_rows(given, start, len(offsets), vertices=given.neutral + offsets) for start, offsets in pieces)
    _write(animation_info(given), outputs, blocks, progress)


def wrinkle_maps(
    animation: Animation,
    *,
    audio: Path | str | tuple[NDArray[np.floating], int] | bool | None = True,
    style: str | Style | None = None,
    seed: int = 0,
    steps: int = STEPS,
    model: HeadTalker | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(first frame, stored maps (n, h, w, 3)) of the whole animation in pieces; arguments as for `wrinkles`."""
    model = model or default_model()
    given = _read(animation)
    known = encode_motion(model, given.vertices - given.neutral)
    wrinkle = _completed(model, "motion", known, given, style, audio, steps, seed).wrinkle
    for start in range(0, len(wrinkle), DECODE_FRAMES):
        maps = _network(model).decode_wrinkle(wrinkle[start : start + DECODE_FRAMES])
        yield start, stored_maps(maps)


def motion_offsets(
    animation: Animation,
    *,
    audio: Path | str | tuple[NDArray[np.floating], int] | bool | None = True,
    style: str | Style | None = None,
    seed: int = 0,
    steps: int = STEPS,
    model: HeadTalker | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first frame, offsets from neutral (n, V, 3) metres) in pieces, from the animation's wrinkle maps alone; its
    vertices are not looked at. Arguments as for `motion`."""
    model = model or default_model()
    given = _read(animation)
    if given.wrinkle is None:
        raise InputError("the animation has no wrinkle maps, from which motion is made; parlante animate writes them")
    known = encode_wrinkles(model, given.wrinkle)
    latents = _completed(model, "wrinkle", known, given, style, audio, steps, seed).motion
    table = bake_table(_topology(), _network(model).config.motion.img_size)
    for start in range(0, len(latents), DECODE_FRAMES):
        maps = _network(model).decode_motion(latents[start : start + DECODE_FRAMES])
        yield start, offsets_from_maps(maps, table, _generator(model).stats).numpy()


def _completed(
    model: HeadTalker,
    kind: str,
    known: Tensor,
    given: Animation,
    style: str | Style | None,
    audio: Any,
    steps: int,
    seed: int,
) -> LatentWindow:
    """Both latents (T, C, h, w) of an animation's frames, of which `known` (T, C, h, w) are those of `kind`."""
    frames = len(known)
    seconds = frames / given.fps
    count = max(1, num_frames(round(seconds * 16000), fps=model.fps))
    known = _stretched(known, count)
    chosen = _style(model, given, style, kind, known, seconds)
    features = _features(model, given, audio)
    if features is not None:  # sound and motion may differ in length by a frame or two, or by far more
        needed = int(np.ceil(seconds * _network(model).config.feature_rate)) + 1
        features = torch.nn.functional.pad(features, (0, 0, 0, max(0, needed - features.shape[1])))
    generator = torch.Generator().manual_seed(seed)
    made = list(complete_latents(_network(model), kind, known, chosen, features, steps=steps, generator=generator))
    both = (torch.cat([getattr(window, name)[0] for window in made]) for name in ("motion", "wrinkle"))
    return LatentWindow(0, *(_stretched(latents, frames) for latents in both))


def _rows(given: Animation, start: int, count: int, **made: NDArray[Any]) -> FrameBlock:
    """`count` frames of the animation with some of their fields made anew."""
    kept = {name: getattr(given, name) for name in ("vertices", "wrinkle", "weights", "head_pose")}
    rows: dict[str, Any] = {name: None if x is None else x[start : start + count] for name, x in kept.items()}
    return FrameBlock(start, **(rows | made))


def _write(
    info: AnimationInfo, outputs: Sequence[Path | str], blocks: Iterable[FrameBlock], progress: Callable[[int], object]
) -> None:
    check_outputs(outputs)
    with open_sinks(outputs, info) as sinks:
        for block in blocks:
            for sink in sinks:
                sink.write(block)
            progress(len(block))


def animation_of_curves(
    curves: NDArray[np.floating], identity: str, fps: float = 30.0, names: Sequence[str] | None = None
) -> Animation:
    """A silent animation of the embedded head from ARKit curves (T, K), 0..1, in the order of `names` (the head's by
    default). Raises InputError for an unknown identity or name."""
    from parlante.head import load_head
    from parlante.head.arkit import ARKIT_NAMES

    head = load_head()
    names = tuple(ARKIT_NAMES if names is None else names)
    if identity not in head.identity_names:
        raise unknown_name("identity", identity, tuple(head.identity_names))
    if curves.ndim != 2 or curves.shape[1] != len(names):
        raise InputError(f"curves must be (T, {len(names)}), got {curves.shape}; one column per name")
    weights = np.zeros((len(curves), len(ARKIT_NAMES)), np.float32)
    for column, name in enumerate(names):
        if name not in ARKIT_NAMES:
            raise unknown_name("curve", name, tuple(ARKIT_NAMES))
        weights[:, ARKIT_NAMES.index(name)] = curves[:, column]
    person = head.identity(identity)
    return Animation(
        topology=head.topology,
        fps=fps,
        neutral=person.neutral,
        vertices=head.deform(identity, weights),
        audio=np.zeros(round(len(curves) / fps * 16000), np.float32),
        sample_rate=16000,
        weights=weights,
        weight_names=tuple(ARKIT_NAMES),
        albedo=person.albedo,
        provenance={"identity": identity},
    )


@torch.inference_mode()
def encode_motion(model: HeadTalker, offsets: NDArray[np.floating]) -> Tensor:
    """Offsets from neutral (T, V, 3) metres of the embedded head -> motion latents (T, C, h, w)."""
    talker, stats = _network(model), _generator(model).stats
    table = bake_table(_topology(), talker.config.motion.img_size)
    made = []
    for start in range(0, len(offsets), DECODE_FRAMES):
        values = stats.normalise(np.asarray(offsets[start : start + DECODE_FRAMES], np.float32))
        made.append(talker.motion.encode(table.bake(torch.from_numpy(values))))
    return torch.cat(made)


@torch.inference_mode()
def encode_wrinkles(model: HeadTalker, stored: NDArray[np.uint8]) -> Tensor:
    """Stored wrinkle maps (T, h, w, 3) of any size -> wrinkle latents (T, C, h', w')."""
    made = []
    for start in range(0, len(stored), DECODE_FRAMES):
        maps = torch.from_numpy(stored[start : start + DECODE_FRAMES].astype(np.float32) / 255).permute(0, 3, 1, 2)
        if maps.shape[2:] != model.abilities.wrinkle_size:
            maps = torch.nn.functional.interpolate(maps, model.abilities.wrinkle_size, mode="bilinear", antialias=True)
        made.append(_network(model).wrinkle.encode(maps))
    return torch.cat(made)


def _read(animation: Animation | Path | str) -> Animation:
    given = animation if isinstance(animation, Animation) else load(animation)
    where = "the animation" if isinstance(animation, Animation) else str(animation)
    topology = _topology()
    if given.topology.num_vertices != topology.num_vertices:
        raise InputError(
            f"{where} has {given.topology.num_vertices} vertices, the embedded head {topology.num_vertices}; "
            "the shipped model knows that head"
        )
    if not len(given.vertices):
        raise InputError(f"{where} has no frames")
    if not np.isfinite(given.vertices).all():
        raise InputError(f"{where} holds vertices that are no finite numbers")
    return given


def _features(model: HeadTalker, given: Animation | None, audio: Any) -> Tensor | None:
    """(1, S, D) features of the speech, or none where nothing is to be heard."""
    if audio is None or audio is False:
        return None
    if audio is True:
        if given is None or not np.any(given.audio):
            return None
        audio = (np.asarray(given.audio), given.sample_rate)
    return model.encode_audio(np.asarray(load_audio(audio).audio_16k))


def _style(
    model: HeadTalker, given: Animation, wish: str | Style | None, kind: str, known: Tensor, seconds: float
) -> Style:
    if wish is not None:
        return model.style(wish)
    name = given.provenance.get("style") or given.provenance.get("identity")
    if isinstance(name, str) and name in model.abilities.styles:
        return model.style(name)
    average = model.style(None)
    if seconds < MEAN_SECONDS:
        return average
    mean = known.mean(0).numpy()
    return replace(average, name="clip", **{kind: mean})  # type: ignore[arg-type]


def _stretched(latents: Tensor, count: int) -> Tensor:
    """(T, ...) at another number of frames over the same time, linearly."""
    if len(latents) == count:
        return latents
    flat = latents.flatten(1).mT[None]
    return torch.nn.functional.interpolate(flat, count, mode="linear", align_corners=True)[0].mT.unflatten(
        1, latents.shape[1:]
    )


def default_model(device: torch.device | str = "cpu") -> HeadTalker:
    """The shipped TexTalker."""
    return cast(HeadTalker, load_model("textalker", device))


def _generator(model: HeadTalker) -> TexTalkerGenerator:
    """Raises InputError for a talker that makes no wrinkle maps of its own."""
    if not model.abilities.completes:
        raise InputError(f"wrinkles and motion are completed by a textalker that makes both, got a {model.name}")
    return cast(TexTalkerGenerator, model.generator)


def _network(model: HeadTalker) -> TexTalker:
    return _generator(model).network


def _topology() -> Any:
    from parlante.head import load_head

    return load_head().topology
