"""On real recordings: the lip-sync judge, an outside program that compares lip aperture with recognised mouth cues.

The judge and the recordings are not part of this repository; see docs/models/quality.md for what they are. The judge
runs as a separate process. Beside each measure it gives the chance level and the value of a mouth that follows
loudness.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core import InputError

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
"""What the judge prints and what we ask of it."""


def shared_folder() -> Path | None:
    """Where the material that may not be shipped lies, if it is there."""
    default = Path(__file__).parents[4] / "shared"
    folder = Path(os.environ.get("PARLANTE_SHARED", default))
    return folder if (folder / "tools" / "lipsync_real.py").is_file() else None


def judge_recordings(
    shared: Path, progress: Callable[[str], None] | None = None, shuffles: int = 200, **how: Any
) -> dict[str, Any]:
    """Animate every recording of `shared/data/speech` and judge all together. how: `Talker.cast`'s, and `model`.

    Raises InputError if there is nothing to judge or the judge fails.
    """
    from parlante.animation import Talker
    from parlante.head.mouth import lip_aperture, lip_width

    speech = sorted((shared / "data" / "speech").glob("*.wav"))
    if not speech:
        raise InputError(f"no recordings in {shared / 'data' / 'speech'}; set PARLANTE_SHARED")
    talker = Talker.from_pretrained(how.pop("model", None))
    casting = talker.cast(texture=False, **how)
    with tempfile.TemporaryDirectory() as folder:
        for path in speech:
            if progress:
                progress(path.stem)
            take, chunks = talker.stream(path, casting)
            vertices = np.concatenate([chunk.vertices for chunk in chunks])
            np.savez(
                Path(folder) / f"{path.stem}.npz",
                lip_aperture=lip_aperture(vertices, take.topology),
                lip_width=lip_width(vertices, take.topology),
                fps=take.fps,
            )
        report = Path(folder) / "report.json"
        command = [sys.executable, str(shared / "tools" / "lipsync_real.py"), "--anim-dir", folder]
        command += ["--cues-dir", str(shared / "data" / "speech" / "cues"), "--audio-dir", str(speech[0].parent)]
        command += ["--min-closure", "0.03", "--shuffles", str(shuffles), "--json", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"the lip-sync judge failed: {done.stderr.strip()[-400:]}")
        result: dict[str, Any] = json.loads(report.read_text())
    return result
