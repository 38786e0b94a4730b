"""A protocol judges its published list, whole and nothing else; what is missing stands first in the report."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from small_corpora import write_layout, write_predictions

from parlante.cli import main
from parlante.core import Identity, Topology
from parlante.data import splits
from parlante.data.contract import ClipInfo, Corpus, subjects_of
from parlante.data.meshes import bare_topology
from parlante.evaluation import evaluation as module
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.protocols import PROTOCOLS
from parlante.geometry.regions import VERTICES

SEEN = ["F2", "F3", "F4", "M3", "M4", "M5"]
UNSEEN = ["F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6"]
BIWI_A = [f"{name}_e{n}" for name in SEEN for n in (37, 38, 39, 40)]
BIWI_B = [f"{name}_e{n}" for name in UNSEEN for n in (37, 38, 39, 40)]
VOCASET = [
    f"{name}_sentence{n}" for name in ("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA") for n in range(21, 41)
]
MULTIFACE = [f"{name}_{n}" for name in (2, 3, 6, 7, 9, 10, 11, 12, 13) for n in range(46, 51)]
PUBLISHED = {
    "codetalker-biwi-a": BIWI_A,
    "codetalker-biwi-b": BIWI_B,
    "talkingstyle-biwi-a": BIWI_A,
    "ptalker-biwi-a": BIWI_A,
    "facediffuser-biwi-a": BIWI_A,
    "facediffuser-vocaset": VOCASET,
    "ptalker-vocaset": VOCASET,
    "facediffuser-multiface": MULTIFACE,
}
"""What the authors' test scripts loop over."""


class Listed(Corpus):
    """The clips of a dataset by name, as its reader gives them; nothing can be read."""

    fps, root = 25.0, "listed"

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        self.clips = [*{"BIWI": _biwi, "vocaset": _vocaset, "multiface": _multiface}[dataset]()]
        self.subjects = subjects_of(self.clips)

    @property
    def topology(self) -> Topology:
        return bare_topology(self.dataset, VERTICES[self.dataset])

    def identity(self, subject: str) -> Identity:
        return Identity(subject, self.topology, np.zeros((VERTICES[self.dataset], 3), np.float32))


def _biwi() -> Iterable[ClipInfo]:
    for name in (*SEEN, *UNSEEN):
        for sentence in (*(f"e{n:02}" for n in range(1, 41)), *(f"{n:02}" for n in range(1, 41))):
            split = splits.biwi_split(name, sentence)
            yield ClipInfo(key=f"{name}_{sentence}", subject=name, sentence=sentence, split=split)


def _vocaset() -> Iterable[ClipInfo]:
    for name in (*splits.VOCASET_TRAIN, *splits.VOCASET_VAL, *splits.VOCASET_TEST):
        for sentence in (f"sentence{n:02}" for n in range(1, 41)):
            split = splits.vocaset_split(name, sentence)
            yield ClipInfo(key=f"{name}_{sentence}", subject=name, sentence=sentence, split=split)


def _multiface() -> Iterable[ClipInfo]:
    for name in range(1, 14):
        for number in range(1, 51):
            split = splits.multiface_split(number)
            yield ClipInfo(key=f"{name}_{number:02}", subject=str(name), sentence=f"{number:02}", split=split)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_corpus", lambda data, texture_size: Listed(str(data)))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.usefixtures("listed")
def test_a_protocol_judges_its_published_list(name: str) -> None:
    evaluation = Evaluation(EvalConfig(data=PROTOCOLS[name].dataset, protocol=name))
    assert sorted(evaluation.keys) == sorted(PUBLISHED[name]) and evaluation.notice == ""
    kept = [number for numbers in evaluation.reference_clips.values() for number in numbers]
    assert all(evaluation.corpus.clips[number].split in ("train", "unused") for number in kept)
    assert all(evaluation.reference_clips.values())


@pytest.mark.usefixtures("listed")
def test_fewer_clips_are_a_wish_that_the_report_names() -> None:
    evaluation = Evaluation(EvalConfig(data="BIWI", protocol="codetalker-biwi-a", clips=23))
    assert len(evaluation.judged) == 23
    assert evaluation.notice.startswith("Not the whole of codetalker-biwi-a: 1 of 24 clips are missing: ")
    other = Evaluation(EvalConfig(data="BIWI", protocol="codetalker-biwi-a", split="val"))
    assert len(other.judged) == 48 and other.notice.endswith("; 48 judged clips are not in its list.")


def test_multiface_as_published_has_names_for_the_numbers_of_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Listed("multiface")
    names = ["SEN_alfalfa_is_healthy_for_you", "SEN_youre_boiling_milk_aint_you"]
    corpus.clips = [
        ClipInfo(key=f"6795937_{name}", subject="6795937", sentence=name, split=split)
        for name, split in zip(names, ("train", "test_seen"))
    ]
    monkeypatch.setattr(module, "open_corpus", lambda data, texture_size: corpus)
    evaluation = Evaluation(EvalConfig(data="multiface", protocol="facediffuser-multiface"))
    assert evaluation.keys == [f"6795937_{names[1]}"]
    assert "by numbers that this data does not have" in evaluation.notice


def test_what_is_missing_stands_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    biwi = write_layout(tmp_path / "biwi", ("F2",), 23370, 25, 2, frames=3)
    made, out = write_predictions(tmp_path / "made", biwi, 1e-3), tmp_path / "report"
    words = ["evaluate", str(made), "--data", str(biwi), "--protocol", "codetalker-biwi-a", "-o", str(out)]
    assert main([*words, "--no-video", "--no-baselines", "--show", "0"]) == 0
    notice = "Not the whole of codetalker-biwi-a: 22 of 24 clips are missing: F2_e39, F2_e40, F3_e37, "
    assert capsys.readouterr().out.startswith(notice)
    results = json.loads((out / "report.json").read_text())
    assert results["notice"].startswith(notice) and list(results["clips"]) == ["F2_e37", "F2_e38"]
    page = (out / "report.html").read_text()
    assert page.index("22 of 24 clips are missing") < page.index("<h1>")
