"""On real recordings: the lip-sync judge, an outside program that compares lip aperture with recognised mouth cues.

The judge and the recordings are not part of this repository; see docs/models/quality.md for what they are. The judge
runs as a separate process. Beside each measure it gives the chance level and the value of a mouth that follows
loudness.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parlante.animation import Talker
from parlante.core import InputError
from parlante.core.typed import read_json
from parlante.head.mouth import lip_aperture, lip_width

MEASURES = {
    "closure_auc": (0.88, "at least"),
    "closure_tight": (0.65, "at least"),
    "openness_rho_speech": (0.50, "at least"),
    "silence_ratio": (0.25, "at most"),
    "closure_recall": (None, ""),
    "openness_rho": (None, ""),
    "round_auc": (None, ""),
    "silence_motion_ratio": (None, ""),
}
"""Measure of the judge -> the value that is wanted, and on which side of it; none: it is shown only."""


def shared_folder() -> Path | None:
    """Where the judge and the recordings lie, if they are there: `$PARLANTE_SHARED`, or beside the repository."""
    default = Path(__file__).parents[4] / "shared"
    folder = Path(os.environ.get("PARLANTE_SHARED", default))
    return folder if (folder / "tools" / "lipsync_real.py").is_file() else None


def recordings_in(shared: Path) -> list[Path]:
    """The recordings of people, by name."""
    return sorted((shared / "data" / "speech").glob("*.wav"))


def judge_recordings(
    shared: Path,
    talker: Talker,
    *,
    identity: str | None = None,
    style: str | None = None,
    shuffles: int = 200,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Animate every recording with a talker on the embedded head, and judge all together.

    identity, style: who speaks and how, by default the talker's first person in its own style. shuffles: shifts in time
    that the chance level is made of. progress: called with a recording's name as its turn begins. Raises InputError if
    there is nothing to judge or the judge fails.
    """
    speech = recordings_in(shared)
    if not speech:
        raise InputError(f"no recordings in {shared / 'data' / 'speech'}; set PARLANTE_SHARED")
    casting = talker.cast(identity=identity, style=style, texture=False)
    with tempfile.TemporaryDirectory() as folder:
        for path in speech:
            if progress:
                progress(path.stem)
            info, blocks = talker.stream(path, casting)
            vertices = np.concatenate([block.vertices for block in blocks])
            np.savez(
                Path(folder) / f"{path.stem}.npz",
                lip_aperture=lip_aperture(vertices, info.topology),
                lip_width=lip_width(vertices, info.topology),
                fps=info.fps,
            )
        report = Path(folder) / "report.json"
        command = [sys.executable, str(shared / "tools" / "lipsync_real.py"), "--anim-dir", folder]
        command += ["--cues-dir", str(shared / "data" / "speech" / "cues"), "--audio-dir", str(speech[0].parent)]
        command += ["--min-closure", "0.03", "--shuffles", str(shuffles), "--json", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"the lip-sync judge failed: {done.stderr.strip()[-400:]}")
        result: dict[str, Any] = read_json(report, "the judge's report")
    return result
