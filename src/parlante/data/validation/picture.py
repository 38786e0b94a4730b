"""The check on one page: the template, speed and loudness of a few clips, and how they spread over the corpus."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from parlante.data.validation.run import Report

_PAPER, _INK, _DIM = (250, 250, 248), (30, 32, 36), (190, 192, 196)
_SPEED, _AUDIO = (196, 78, 32), (40, 104, 176)
_MARK = {"ok": (46, 140, 80), "warn": (214, 150, 20), "bad": (200, 40, 40)}
_W, _H, _PAD = 1280, 960, 24


def check_picture(report: Report) -> NDArray[np.uint8]:
    """(960, 1280, 3) uint8 sRGB."""
    page = Image.new("RGB", (_W, _H), _PAPER)
    pen = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(22), ImageFont.load_default(14)
    minutes = sum(m.frames / m.fps for m in report.clips if m.fps) / 60
    title = f"{report.dataset}: {len(report.clips)} clips, {len(report.subject_rows)} subjects, {minutes:.1f} minutes"
    pen.text((_PAD, 14), title, _INK, large)
    pen.text((_W - _PAD, 14), report.verdict, _MARK[report.verdict], large, anchor="ra")
    _face(page, report, (_PAD, 60, 400, 500))
    y = 60
    for finding in sorted(report.findings, key=lambda f: -("ok", "warn", "bad").index(f.verdict))[:19]:
        pen.rectangle((430, y + 3, 440, y + 13), _MARK[finding.verdict])
        pen.text(
            (450, y), _fit(pen, f"{finding.check}: {finding.found or 'fine'}", small, _W - _PAD - 450), _INK, small
        )
        y += 23
    curves = [m for m in report.clips if m.curves][:2]
    for number, m in enumerate(curves):
        left = _PAD + number * (_W - _PAD) // 2
        box = (left, 550, left + (_W - 3 * _PAD) // 2, 730)
        pen.text((box[0], 526), _fit(pen, f"{m.key}: speed and loudness", small, box[2] - box[0]), _INK, small)
        _curve(pen, m.curves["level"], box, _AUDIO, low=-70, high=0)
        _curve(pen, m.curves["speed"], box, _SPEED)
    clips = [m for m in report.clips if m.frames]
    groups = (
        ("mean speed, size a second", [m.step * m.fps / m.extent for m in clips if m.extent], _SPEED),
        ("level of loud frames, dB", [max(m.loud_db, -80) for m in clips], _AUDIO),
        ("tracking noise, % of size", [100 * m.noise / m.extent for m in clips if m.extent], _SPEED),
        ("motion minus audio, s", [m.frames / m.fps - m.audio_s for m in clips], _AUDIO),
    )
    width = (_W - 5 * _PAD) // 4
    for number, (name, values, colour) in enumerate(groups):
        left = _PAD + number * (width + _PAD)
        pen.text((left, 752), name, _INK, small)
        _histogram(pen, values, (left, 776, left + width, 910), colour, small)
    return np.asarray(page)


def _fit(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: int) -> str:
    text = " ".join(text.split())
    if pen.textlength(text, font) <= room:
        return text
    while text and pen.textlength(text + "...", font) > room:
        text = text[: -max(1, len(text) // 20)]
    return text + "..."


def _curve(
    pen: ImageDraw.ImageDraw,
    values: NDArray[np.float32],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    low: float = 0.0,
    high: float | None = None,
) -> None:
    pen.rectangle(box, outline=_DIM)
    if len(values) < 2:
        return
    top = max(float(np.quantile(values, 0.995)), low + 1e-12) if high is None else high
    share = np.clip((values - low) / (top - low), 0, 1)
    x = np.linspace(box[0], box[2], len(values))
    y = box[3] - share * (box[3] - box[1])
    pen.line([(float(a), float(b)) for a, b in zip(x, y)], fill=colour, width=2)


def _histogram(
    pen: ImageDraw.ImageDraw,
    values: Sequence[float],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    pen.line((box[0], box[3], box[2], box[3]), _DIM)
    finite = np.asarray([v for v in values if np.isfinite(v)])
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-6 * max(abs(high), 1):
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(finite, 30, (low, high))
    step = (box[2] - box[0]) / 30
    for number, count in enumerate(counts):
        if count:
            height = (box[3] - box[1]) * count / counts.max()
            left = box[0] + number * step
            pen.rectangle((left, box[3] - height, left + step - 1, box[3]), colour)
    pen.text((box[0], box[3] + 4), f"{low:.3g}", _INK, font)
    pen.text((box[2], box[3] + 4), f"{high:.3g}", _INK, font, anchor="ra")


def _face(page: Image.Image, report: Report, box: tuple[int, int, int, int]) -> None:
    """The template from the front, flat shaded, far triangles first; dots where no triangles are known."""
    pen = ImageDraw.Draw(page)
    pen.rectangle(box, outline=_DIM)
    face = report.face
    if face is None or not np.isfinite(face).all():
        pen.text(((box[0] + box[2]) // 2, (box[1] + box[3]) // 2), "no template", _DIM, anchor="mm")
        return
    place = np.asarray(face, np.float64)
    low, high = place.min(0), place.max(0)
    scale = min(
        (box[2] - box[0] - 20) / max(high[0] - low[0], 1e-12), (box[3] - box[1] - 20) / max(high[1] - low[1], 1e-12)
    )
    middle = (low + high) / 2
    x = (box[0] + box[2]) / 2 + (place[:, 0] - middle[0]) * scale
    y = (box[1] + box[3]) / 2 - (place[:, 1] - middle[1]) * scale
    triangles = report.topology.triangles if report.topology is not None else np.zeros((0, 3), np.int32)
    if not len(triangles) or triangles.max() >= len(place):
        pen.point([(float(a), float(b)) for a, b in zip(x, y)], fill=_INK)
        return
    corners = place[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = np.clip(normals @ np.asarray([0.35, 0.45, 0.82]), 0, 1)
    points = np.stack([x, y], -1)[triangles]
    for number in np.argsort(corners[:, :, 2].mean(1)):
        if normals[number, 2] > 0:
            tone = int(60 + 175 * light[number])
            pen.polygon([tuple(p) for p in points[number].tolist()], fill=(tone, tone, min(255, tone + 6)))
