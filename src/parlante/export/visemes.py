"""Mouth shapes over time as Rhubarb Lip Sync writes them: `.tsv` (start and shape per line) and `.visemes.json`.

Shapes: A lips closed (p b m), B teeth near (s t k ee), C open (eh ae), D wide open (aa), E rounded (ao er), F puckered
(oo w), G teeth on lip (f v), H tongue up (l), X idle. They are read off the weights, not off the audio.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.sink import FileSink

SHAPES = "ABCDEFGHX"
NEEDED = ("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel", "mouthRollLower")
SHORTEST_S = 0.06
"""A shape shorter than this gives its time to a neighbour; A and G, which are seen, only below half of it."""
IDLE_S = 0.25
"""The mouth idles when it has stood still and shut for this long."""


class _VisemeSink(FileSink):
    def __init__(self, path: Path, info: AnimationInfo) -> None:
        missing = [name for name in NEEDED if name not in info.weight_names]
        if missing:
            raise InputError(f"cannot write {path}: mouth shapes need ARKit weights ({', '.join(missing)} missing)")
        super().__init__(path, info)
        self._shapes: list[NDArray[np.int8]] = []

    def finish(self) -> None:
        cues = mouth_cues(np.concatenate(self._shapes), self.info.fps)
        self.partial.write_text(self._text(cues), encoding="utf-8")

    def write(self, block: FrameBlock) -> None:
        """Keep one shape per frame."""
        assert block.weights is not None
        self._shapes.append(mouth_shapes(block.weights, self.info.weight_names))

    def _text(self, cues: list[tuple[float, float, str]]) -> str:
        raise NotImplementedError


class VisemeTsv(_VisemeSink):
    """Sink for `.tsv`: seconds, tab, shape; the last line is X at the end. Raises InputError without weights."""

    def _text(self, cues: list[tuple[float, float, str]]) -> str:
        return "".join(f"{start:.2f}\t{shape}\n" for start, _, shape in cues) + f"{self.info.duration:.2f}\tX\n"


class VisemeJson(_VisemeSink):
    """Sink for `.visemes.json`: metadata and mouthCues of start, end, value. Raises InputError without weights."""

    def _text(self, cues: list[tuple[float, float, str]]) -> str:
        facts = {"soundFile": str(self.info.provenance.get("speech", "")), "duration": round(self.info.duration, 2)}
        rows = [{"start": round(start, 2), "end": round(end, 2), "value": shape} for start, end, shape in cues]
        return json.dumps({"metadata": facts, "mouthCues": rows}, indent=1) + "\n"


def mouth_shapes(weights: NDArray[np.floating], names: Sequence[str]) -> NDArray[np.int8]:
    """(T,) numbers into `SHAPES` of ARKit weights (T, K)."""
    index = {name: number for number, name in enumerate(names)}

    def weight(name: str) -> Any:
        if name in index:
            return weights[:, index[name]]
        sides = [weights[:, index[name + side]] for side in ("Left", "Right") if name + side in index]
        return sum(sides) / len(sides) if sides else np.zeros(len(weights))

    jaw, close, roll = weight("jawOpen"), weight("mouthClose"), weight("mouthRollLower")
    parted = 0.5 * (weight("mouthLowerDown") + weight("mouthUpperUp"))
    opening = jaw - close + 0.5 * parted + 0.4 * weight("mouthFunnel")
    round_ = weight("mouthPucker") + 0.7 * weight("mouthFunnel")
    shut = (opening < 0.05) & ((close > 0.02) | (weight("mouthPress") > 0.06) | (roll > 0.05))
    still = (opening < 0.045) & (round_ < 0.2) & (roll < 0.05)
    shape = np.full(len(weights), SHAPES.index("B"), np.int8)
    for name, where in (
        ("C", opening > 0.22),
        ("D", opening > 0.37),
        ("E", (round_ > 0.26) & (opening > 0.18)),
        ("F", (round_ > 0.3) & (opening <= 0.18)),
        ("H", weight("tongueOut") > 0.035),
        ("X", still & ~shut),
        ("A", shut),
        ("G", roll > 0.25),
    ):
        shape[where] = SHAPES.index(name)
    return shape


def mouth_cues(shapes: NDArray[np.int8], fps: float) -> list[tuple[float, float, str]]:
    """(start, end, shape) in seconds, contiguous; what is too short to be seen is given to its neighbours."""
    if not len(shapes):
        return []
    edges = np.r_[0, np.flatnonzero(np.diff(shapes)) + 1, len(shapes)]
    runs = [[int(a), int(b), int(shapes[a])] for a, b in itertools.pairwise(edges)]
    idle, shut = SHAPES.index("X"), SHAPES.index("A")
    for number, run in enumerate(runs):  # a short rest between sounds is a closed mouth
        inside = 0 < number < len(runs) - 1
        if run[2] == idle and inside and (run[1] - run[0]) / fps < IDLE_S:
            run[2] = shut
    runs = _merged(runs)
    while len(runs) > 1:
        short = min(range(len(runs)), key=lambda n: _length(runs[n], fps))
        if _length(runs[short], fps) >= SHORTEST_S - 1e-9:
            break
        start, end, _ = runs.pop(short)
        if short == 0:
            runs[0][0] = start
        else:
            runs[short - 1][1] = end
        runs = _merged(runs)
    return [(start / fps, end / fps, SHAPES[shape]) for start, end, shape in runs]


def _length(run: list[int], fps: float) -> float:
    return (run[1] - run[0]) / fps * (2 if SHAPES[run[2]] in "AG" else 1)


def _merged(runs: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for run in runs:
        if merged and merged[-1][2] == run[2]:
            merged[-1][1] = run[1]
        else:
            merged.append(run)
    return merged
