from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError, renames
from parlante.data.datasets.synthtalk import SynthTalk, weighted_vertices
from parlante.data.splits import SPLITS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    from parlante.synth.corpus import write_corpus

    root = tmp_path_factory.mktemp("corpus") / "talk"
    write_corpus(root, 2, 4, seed=2, identities=("ada", "ben"))
    return root


def test_clips_are_whole(corpus: Path) -> None:
    talk = SynthTalk(corpus)
    assert len(talk) == 8 == sum(len(SynthTalk(corpus, split)) for split in SPLITS)
    clip = talk[0]
    assert clip.weights is not None and clip.head_pose is not None and clip.profile is not None
    assert clip.weights.dtype == np.float32 and clip.weights.shape == (len(clip.vertices), 52)
    assert len(clip.head_pose) == len(clip.weights) and clip.text and clip.face == "ada"
    assert clip.phones[0][0] == "sil" and np.abs(clip.audio).max() > 0.2
    assert clip.profile["jaw_gain"] > 0


def test_vertices_are_neutral_plus_curves_and_lazy() -> None:
    rng = np.random.default_rng(0)
    neutral, shapes = rng.normal(size=(9, 3)).astype(np.float32), rng.normal(size=(52, 9, 3)).astype(np.float32)
    curves = rng.random((7, 52)).astype(np.float32)
    lazy = weighted_vertices(neutral, shapes, curves)
    full = neutral + np.einsum("tk,kvc->tvc", curves, shapes)
    assert lazy.shape == full.shape and len(lazy) == 7
    np.testing.assert_allclose(np.asarray(lazy), full, atol=1e-4)
    for key in (2, -1, slice(1, 5), slice(None, None, 2), np.array([3, 1]), (2, 4), (slice(0, 3), [1, 2]), (..., 0)):
        np.testing.assert_allclose(lazy[key], full[key], atol=1e-4)


def test_clip_moves_the_embedded_head_and_its_lips_meet(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    from parlante.head import load_head
    from parlante.head.mouth import lip_aperture
    from parlante.synth.corpus import write_corpus

    write_corpus(tmp_path / "talk", 2, 1, seed=2)
    talk = SynthTalk(tmp_path / "talk", texture_size=64)
    topology = load_head().topology
    for index in range(2):
        clip = talk[index]
        frames = clip.vertices[:]
        aperture = lip_aperture(frames, topology)
        assert 0.006 < aperture.max() < 0.04
        closures = [(start, end) for symbol, start, end in clip.phones if symbol in "pbm"]
        times = np.arange(len(frames)) / talk.fps
        for start, end in closures:
            inside = (times >= start) & (times < end)
            assert not inside.any() or aperture[inside].min() < 0.001
        assert aperture[times < clip.phones[0][2] - 0.2].max(initial=0) < 0.001  # silence
    skin = clip.textures
    assert skin is not None and skin.shape == (len(frames), 64, 64, 3)
    some = np.asarray(skin[:: max(1, len(frames) // 8)])
    assert some.dtype == np.uint8 and np.ptp(some.astype(int), axis=0).max() > 0


def test_old_names_of_the_tests_work(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(renames, "_said", set())
    assert [row.split for row in SynthTalk(corpus, "test_a").clips] == ["test_seen"]
    assert "the split test_a is now called test_seen" in capsys.readouterr().err
    old = (corpus / "index.json").read_text().replace('"test_seen"', '"test_a"').replace('"test_unseen"', '"test_b"')
    (tmp_path / "index.json").write_text(old)
    (tmp_path / "clips").symlink_to(corpus / "clips")
    assert SynthTalk(tmp_path).clips == SynthTalk(corpus).clips
    assert capsys.readouterr().err == ""


def test_says_what_is_wrong(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match="holds no SynthTalk"):
        SynthTalk(tmp_path)
    with pytest.raises(InputError, match="no split"):
        SynthTalk(corpus, "dev")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(InputError, match="cannot read"):
        SynthTalk(tmp_path)
