"""`parlante style extract --model textalker`."""

from pathlib import Path

import numpy as np
from stand_in import spoken

from parlante.animation import animate
from parlante.cli import main
from parlante.core import Style
from parlante.core.style import load_style
from parlante.export import save
from parlante.models.registry import load_model


def test_textalker_style_comes_from_its_clips(tmp_path: Path) -> None:
    """How near such a style is to its person is measured in docs/models/textalker.md, not asserted here."""
    source = load_model("textalker")
    clips, style = [tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "me.style"
    for clip, who in zip(clips, ("ravi", "abena"), strict=True):
        save(animate((spoken(1.2), 16000), style=who, texture=False), clip)

    def extracted(*given: Path) -> Style:
        command = ["style", "extract", *map(str, given), "-o", str(style), "--model", "textalker"]
        assert main(command) == 0
        return load_style(style)

    one, other, both = extracted(clips[0]), extracted(clips[1]), extracted(*clips)
    style.replace(tmp_path / "kept.style")
    assert both.model == "textalker" and both.motion.shape == source.style("ravi").motion.shape
    assert np.abs(one.motion - other.motion).max() > 1e-3
    mean = np.mean([source.style(name).motion for name in source.abilities.styles], axis=0)
    middle, found = (one.motion + other.motion) / 2 - mean, both.motion - mean  # as many frames in each
    assert (middle * found).sum() > 0.8 * np.sqrt(np.square(middle).sum() * np.square(found).sum())
    used = animate((spoken(0.4), 16000), style=str(tmp_path / "kept.style"), texture=False).vertices
    known = animate((spoken(0.4), 16000), style="ravi", texture=False).vertices
    assert np.isfinite(used).all() and np.abs(used - known).max() > 1e-5
