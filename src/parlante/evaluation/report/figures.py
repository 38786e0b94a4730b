"""Pictures of a report: charts as SVG, errors on the face, truth beside prediction as a small video."""

import base64
import html
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante import metrics
from parlante.core import Topology
from parlante.evaluation.clip import EvalClip, Rules
from parlante.evaluation.evaluate import ShownClip

COLOURS = ("#222222", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7a7a7a")
"""Colours that most people can distinguish (after Okabe and Ito 2008); the first is the truth's."""
_RAMP = ((0, (38, 52, 120)), (0.25, (40, 130, 170)), (0.5, (110, 190, 120)), (0.75, (245, 210, 80)), (1, (200, 40, 35)))
SIZE = 256
"""Edge of a drawn face, pixels."""
HEAD_M = 0.25
"""Height to which a mesh of unknown unit is scaled for drawing."""


def ramp(width: int = 256) -> NDArray[np.uint8]:
    """(8, width, 3) the colour map from no error, left, to the largest."""
    place = np.linspace(0, 1, width)
    stops = np.array([stop for stop, _ in _RAMP])
    colours = np.array([colour for _, colour in _RAMP], float)
    row = np.stack([np.interp(place, stops, colours[:, k]) for k in range(3)], -1)
    return np.repeat(np.rint(row)[None], 8, 0).astype(np.uint8)


def coloured(topology: Topology, values: NDArray[np.floating]) -> Topology:
    """The mesh with texture coordinates that read `values` (V,) 0..1 off the colour map; without regions, so that teeth
    and eyes are coloured like skin."""
    across = np.clip(values, 0, 1) * (255 / 256) + 0.5 / 256
    uv = np.stack([across, np.full_like(across, 0.5)], -1).astype(np.float32)
    return Topology(topology.name, topology.num_vertices, topology.triangles, uv, topology.triangles)


def heat_map(rules: Rules, neutral: NDArray[np.float32], error: NDArray[np.floating], top: float) -> NDArray[np.uint8]:
    """(SIZE, 2 SIZE, 3) the face from the front and from the side, coloured by error (V,) up to `top`.

    Raises InputError if the mesh cannot be drawn; ValueError if its triangles are not known.
    """
    from parlante.render import Renderer

    if not len(rules.topology.triangles):
        raise ValueError("the mesh has no triangles")
    mesh = coloured(rules.topology, np.asarray(error) / max(top, 1e-12))
    points, views = _to_metres(neutral, rules.unit), []
    for view in ("front", "three-quarter"):
        with Renderer(mesh, points, size=SIZE, view=view, albedo=ramp(), backend="soft") as renderer:
            views.append(renderer.draw(points))
    return np.concatenate(views, 1)


def _to_metres(vertices: NDArray[np.floating], unit: str, neutral: NDArray[np.floating] | None = None) -> NDArray:
    if unit == "m":
        return np.asarray(vertices, np.float32)
    height = np.ptp(vertices if neutral is None else neutral, axis=0)[1]
    return np.asarray(vertices * (HEAD_M / max(float(height), 1e-9)), np.float32)


def png(picture: NDArray[np.uint8]) -> str:
    """A picture as a data address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def side_by_side(rules: Rules, shown: ShownClip, names: Sequence[str], size: int = SIZE, seconds: float = 6.0) -> str:
    """Truth, then the named predictions, as an MP4 data address (H.264, with the clip's sound)."""
    motions = [shown.clip.vertices, *(shown.predictions[name].vertices for name in names)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, rules, shown.clip, motions, size=size, seconds=seconds)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def write_video(
    path: Path,
    rules: Rules,
    clip: EvalClip,
    motions: Sequence[NDArray[np.float32]],
    *,
    size: int = SIZE,
    seconds: float = np.inf,
) -> None:
    """Motions (T, V, 3) of a clip side by side with its sound, as far as the shortest one reaches or for `seconds`.

    Raises InputError if the mesh cannot be drawn.
    """
    from parlante.render import Renderer, VideoWriter

    longest = min(float(len(clip.vertices)), np.rint(seconds * clip.fps))
    frames = int(min(longest, *(len(motion) for motion in motions)))
    neutral = _to_metres(clip.neutral, rules.unit)
    samples = round(frames / clip.fps * clip.sample_rate)
    shape = size * len(motions), size
    with (
        Renderer(rules.topology, neutral, size=size, albedo=clip.rest, sample_poses=None) as renderer,
        VideoWriter(path, clip.fps, shape, audio=clip.audio[:samples], sample_rate=clip.sample_rate) as video,
    ):
        for frame in range(frames):
            points = [_to_metres(motion[frame], rules.unit, clip.neutral) for motion in motions]
            video.write(np.concatenate([renderer.draw(point) for point in points], 1))


def tracks(rules: Rules, shown: ShownClip) -> dict[str, dict[str, NDArray[np.floating]]]:
    """Title -> name -> (T,) of a clip: how far the mouth is open, and the error over time."""
    clip, scale = shown.clip, 1e3 if rules.unit == "m" else 1.0
    unit = "mm" if rules.unit == "m" else "data units"
    found: dict[str, dict[str, NDArray[np.floating]]] = {}
    opening = rules.mouth_opening(clip.vertices)
    if opening is not None:
        found[f"opening of the mouth, {unit}"] = {"truth": opening * scale}
        for name, prediction in shown.predictions.items():
            own = rules.mouth_opening(prediction.vertices)
            assert own is not None
            found[f"opening of the mouth, {unit}"][name] = own[: len(clip.vertices)] * scale
    title = f"distance of the worst lip vertex, {unit}" if rules.lips is not None else f"mean vertex distance, {unit}"
    found[title] = {}
    for name, prediction in shown.predictions.items():
        frames = min(len(prediction.vertices), len(clip.vertices))
        predicted, true = prediction.vertices[:frames], clip.vertices[:frames]
        if rules.lips is not None:
            found[title][name] = metrics.frame_lip_error(predicted, true, rules.lips) * scale
        else:
            found[title][name] = np.linalg.norm(predicted - true, axis=-1).mean(-1) * scale
    return found


def chart(title: str, lines: Mapping[str, NDArray[np.floating]], fps: float, colours: Mapping[str, str]) -> str:
    """An SVG chart of tracks (T,) over seconds."""
    wide, high, left, bottom, top = 860, 220, 46, 34, 24
    end = max(len(line) for line in lines.values()) / fps
    values = np.concatenate(list(lines.values()))
    low, peak = min(0.0, float(values.min())), max(float(values.max()), 1e-9)

    def x(seconds: float) -> float:
        return left + (wide - left - 8) * seconds / end

    def y(value: float) -> float:
        return high - bottom - (high - bottom - top) * (value - low) / (peak - low)

    step = _step(peak - low, 4)
    parts = [f'<svg viewBox="0 0 {wide} {high}" role="img"><title>{html.escape(title)}</title>']
    parts.append(f'<text x="{left}" y="14" class="t">{html.escape(title)}</text>')
    for value in np.arange(np.ceil(low / step) * step, peak + step / 1e3, step):
        parts.append(f'<line x1="{left}" x2="{wide - 8}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="g"/>')
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    tick = _step(end, 8)
    for second in np.arange(0, end, tick):
        parts.append(f'<text x="{x(second):.1f}" y="{high - 12}" text-anchor="middle">{second:g} s</text>')
    for name, line in lines.items():
        points = " ".join(f"{x(k / fps):.1f},{y(float(value)):.1f}" for k, value in enumerate(line))
        style = f'stroke="{colours[name]}"' + (' stroke-width="2.4"' if name == "truth" else "")
        parts.append(f'<polyline points="{points}" fill="none" {style}><title>{html.escape(name)}</title></polyline>')
    return "".join([*parts, "</svg>"])


def _step(span: float, about: int) -> float:
    """A round distance between ticks."""
    raw = max(span, 1e-12) / about
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw))
