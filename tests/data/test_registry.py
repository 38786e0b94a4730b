"""The door for datasets of other packages: they are listed, recognised, opened, prepared and checked like ours."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.data.open import open_corpus, open_with_weights
from parlante.data.registry import datasets

MODULE = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parlante.core import Clip, Identity
from parlante.core.options import option
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.meshes import bare_topology
from parlante.data.registry import DatasetSpec

FACE = np.arange(15, dtype=np.float32).reshape(5, 3) / 50


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    loud: bool = option(False, "shout")


class Toy(Corpus):
    dataset, fps, unit = "toy", 25.0, "m"
    topology = bare_topology("toy", 5)

    def __init__(self, root, split=None, *, loud=False):
        self.root, self.loud = Path(root), loud
        clips = [ClipInfo(key=name, subject=name[:3], split="train", frames=50)
                 for name in (self.root / "toys.txt").read_text().split()]
        self.subjects, self.clips = subjects_of(clips), select(clips, split, root)

    def read(self, index):
        info = self.clips[index]
        audio = np.full(32000, 0.5 if self.loud else 0.1, np.float32)
        frames = FACE + 0.01 * np.sin(np.arange(50))[:, None, None].astype(np.float32)
        return Clip(audio, 16000, frames, 25.0, info.subject, info.key)

    def identity(self, subject):
        return Identity(subject, self.topology, FACE)


DATASET = DatasetSpec(name="toy", title="toys that talk", open="toy_corpus:Toy", options="toy_corpus:ToyOptions",
                      signs=("toys.txt",))
AGAIN = DatasetSpec(name="vocaset", title="takes a name", open="toy_corpus:Toy")
OTHER = DatasetSpec(name="other", title="is not what its entry point says", open="toy_corpus:Toy")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a package `toy-corpora` whose entry point is what is given."""
    site = tmp_path / "site"

    def put(value: str) -> None:
        facts = site / "toy_corpora-1.0.dist-info"
        facts.mkdir(parents=True)
        (site / "toy_corpus.py").write_text(MODULE)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-corpora\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[parlante.datasets]\ntoy = {value}\n")
        monkeypatch.syspath_prepend(str(site))
        datasets.cache_clear()

    yield put
    sys.modules.pop("toy_corpus", None)
    datasets.cache_clear()


def test_every_dataset_of_ours_is_complete() -> None:
    for name, spec in datasets().items():
        assert spec.name == name and spec.title and spec.signs
        if spec.options:
            assert spec.fitting({"nothing": 1}) == {} and spec.option_class()()


def test_a_dataset_of_another_package_is_opened_prepared_and_checked(
    install: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("zarr")
    install("toy_corpus:DATASET")
    source = tmp_path / "toys"
    source.mkdir()
    (source / "toys.txt").write_text("ann_1 ann_2 bob_1")
    corpus = open_corpus(source)
    assert (corpus.dataset, len(corpus), corpus.fps) == ("toy", 3, 25.0)
    assert len(open_corpus(source, dataset="toy")[0].vertices) == 50
    with pytest.raises(InputError, match="no blendshape weights"):
        open_with_weights(source)
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    assert "toys that talk" in capsys.readouterr().out
    assert main(["prepare", "toy", str(source), str(tmp_path / "store"), "--loud", "-q"]) == 0
    packed = open_corpus(tmp_path / "store")
    assert packed.dataset == "toy" and packed.clips[2].subject == "bob"
    np.testing.assert_array_equal(packed[1].vertices[:], corpus[1].vertices[:])
    assert packed[0].audio.max() == np.float32(0.5) and corpus[0].audio.max() == np.float32(0.1)
    assert main(["check", str(source), "-q"]) in (0, 3) and "toy" in capsys.readouterr().out
    assert main(["prepare", "toy", str(source), str(tmp_path / "store"), "-q"]) == 2
    assert "prepared with another options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("toy_corpus:NOTHING", "of toy-corpora (parlante.datasets) cannot be loaded"),
        ("toy_corpus:Toy", "wanted a DatasetSpec"),
        ("toy_corpus:OTHER", "calls itself 'other'; give its entry point that name"),
        ("toy_corpus:AGAIN", "takes the name 'vocaset', which is taken"),
    ],
)
def test_a_broken_plug_in_is_one_clear_line(
    install: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, told: str
) -> None:
    install(value)
    assert main(["prepare", "vocaset", str(tmp_path), str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error and len(error.splitlines()) == 1


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no dataset named 'vocast'; did you mean 'vocaset'\?"):
        open_corpus(Path(__file__).parent, dataset="vocast")


def test_the_old_name_of_folders_works_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from parlante.core import renames

    monkeypatch.setattr(renames, "_said", set())
    assert main(["prepare", "own", str(tmp_path), str(tmp_path / "store")]) == 2
    notice, error = capsys.readouterr().err.strip().splitlines()
    assert "prepare own is now called prepare folder" in notice and "has no clips" in error
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    assert "own" not in capsys.readouterr().out.replace("own ", "").split()
