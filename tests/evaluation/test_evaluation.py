"""Which clips of a corpus are judged, and by which rules."""

from pathlib import Path

import pytest

from parlante.core import InputError
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluation import Evaluation


def test_what_does_not_fit_is_said(synthtalk: Path, tmp_path: Path) -> None:
    for config, said in (
        (EvalConfig(data=synthtalk, protocol="codetalker-biwi-a"), "is for BIWI meshes"),
        (EvalConfig(data=synthtalk, protocol="nobody"), "choose from"),
        (EvalConfig(data=synthtalk, split="val"), "no clips to judge"),
        (EvalConfig(data=tmp_path / "nowhere"), "no such folder"),
        (EvalConfig(data=synthtalk, split="test_seen", lpips=tmp_path / "none"), "no LPIPS weights"),
    ):
        with pytest.raises(InputError, match=said):
            Evaluation(config)


def test_judged_clips_are_spread_over_speakers_and_sentences(synthtalk: Path) -> None:
    def keys(split: str, clips: int) -> list[str]:
        return Evaluation(EvalConfig(data=synthtalk, split=split, clips=clips, textures=0)).keys

    assert keys("test_seen", 2) == ["abena/003", "hugo/004"]
    assert keys("test_seen", 3) == ["abena/003", "abena/004", "hugo/004"]
    assert keys("test_unseen", 1) == ["zola/000"]
    assert keys("test_seen", 0) == keys("test_seen", 9) == ["abena/003", "abena/004", "hugo/003", "hugo/004"]
