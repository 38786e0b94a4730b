"""Between two styles and beyond them: every family, from Python and from the command line."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")

from published_files import VERTICES, tiny_talker
from stand_in import spoken

from parlante import animate
from parlante.cli import main
from parlante.export.folder import write_wav
from parlante.export.npz import load
from parlante.models.registry import load_model, motion_families
from parlante.models.templates import Templates

SPEECH = (spoken(0.4), 16000)


def model(family: str, path: Path) -> str:
    """What --model takes: a small random checkpoint of seven vertices; TexTalker is the shipped one."""
    if family == "textalker":
        return family
    talker = tiny_talker(family)
    face = np.random.default_rng(0).normal(size=(VERTICES, 3)).astype(np.float32)
    talker.templates = Templates({"Ann": face}, np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]], np.int32))
    return str(talker.save(path))


@pytest.mark.parametrize("family", [*motion_families(), "textalker"])
def test_two_styles_are_mixed_and_exaggerated(family: str, tmp_path: Path) -> None:
    name = model(family, tmp_path / "talker")
    source = load_model(name)
    first, second = source.abilities.styles[:2]
    a, b = source.style(first), source.style(second)
    write_wav(tmp_path / "line.wav", *SPEECH)
    own = {"texture": False, "liveliness": False} if family == "textalker" else {}

    def commanded(style: str) -> np.ndarray:
        words = ["animate", str(tmp_path / "line.wav"), "--model", name, "--style", style, "-q"]
        words += ["--no-texture", "--life", "none"] if own else []
        assert main([*words, "-o", str(tmp_path / "talk.npz")]) == 0
        return load(tmp_path / "talk.npz").vertices

    made = {amount: animate(SPEECH, model=name, style=a.mix(b, amount), **own).vertices for amount in (0, 0.5, 1, 2)}
    heard = animate(str(tmp_path / "line.wav"), model=name, style=a.mix(b, 2), **own).vertices
    assert all(np.isfinite(vertices).all() for vertices in made.values())
    ends = [animate(SPEECH, model=name, style=who, **own).vertices for who in (first, second)]
    np.testing.assert_allclose(made[0], ends[0], atol=1e-5)
    np.testing.assert_allclose(made[1], ends[1], atol=1e-5)
    if family != "codetalker":  # whose answer is a choice of codes; its style codes are mixed all the same
        far = [np.abs(made[x] - made[y]).max() for x, y in ((0, 0.5), (0.5, 1), (1, 2))]
        assert min(far) > 1e-6
    np.testing.assert_allclose(source.style(first).mix(b, 2).motion, 2 * b.motion - a.motion, atol=1e-5)

    np.testing.assert_allclose(commanded(f"{first}:-1,{second}:2"), heard, atol=1e-5)
    mixed = tmp_path / "beyond.style"
    assert main(["style", "mix", first, second, "--amount", "2", "--model", name, "-o", str(mixed)]) == 0
    np.testing.assert_allclose(commanded(str(mixed)), heard, atol=1e-5)
