import hashlib
from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError
from parlante.head.speaker_profile import SpeakerProfile, profile_of
from parlante.synth.corpus import plan, write_corpus
from parlante.synth.subjects import Subject, make_subjects

FACES = ("ada", "ben", "cleo")


def people(count: int) -> list[Subject]:
    return [Subject(f"s{i}", f"face{i % 9}", SpeakerProfile(), "espeak/en-us/m3/170/50/50", i) for i in range(count)]


@pytest.mark.parametrize(("count", "each"), [(20, 24), (2, 4), (1, 12), (3, 1)])
def test_splits_are_disjoint(count: int, each: int) -> None:
    lines = [line for own in plan(people(count), each, seed=3) for line in own]
    assert len(lines) == count * each and len({line.key for line in lines}) == len(lines)
    texts = {s: {x.text for x in lines if x.split == s} for s in ("train", "val", "test_seen", "test_unseen")}
    who = {s: {x.subject.name for x in lines if x.split == s} for s in texts}
    assert not texts["train"] & (texts["val"] | texts["test_seen"] | texts["test_unseen"])
    assert not texts["val"] & (texts["test_seen"] | texts["test_unseen"])
    assert not who["test_unseen"] & (who["train"] | who["val"] | who["test_seen"])
    assert who["test_seen"] <= who["train"]
    faces = {s: {x.subject.identity for x in lines if x.split == s} for s in texts}
    assert not faces["test_unseen"] & faces["train"] and (count == 1 or faces["test_unseen"])


def test_subjects_are_seeded_and_identities_keep_their_manner() -> None:
    first, again = make_subjects(7, 1, FACES), make_subjects(9, 1, FACES)
    assert first == again[:7] and len({subject.name for subject in again}) == 9
    for subject in first[:3]:
        assert subject.profile == profile_of(subject.identity)
    assert first[3].identity == "ada" and first[3].profile != first[0].profile
    assert profile_of("ada") != profile_of("ben")
    with pytest.raises(InputError):
        make_subjects(0, 1, FACES)


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_also_when_resumed(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    write_corpus(tmp_path / "a", 2, 4, seed=5, identities=FACES)
    whole = digest(tmp_path / "a")
    write_corpus(tmp_path / "b", 2, 4, seed=5, identities=FACES)
    assert digest(tmp_path / "b") == whole
    (tmp_path / "b" / "index.json").unlink()
    next((tmp_path / "b" / "clips").rglob("001.npz")).unlink()
    write_corpus(tmp_path / "b", 2, 4, seed=5, identities=FACES)
    assert digest(tmp_path / "b") == whole
    with pytest.raises(InputError, match="written with another"):
        write_corpus(tmp_path / "a", 2, 4, seed=6, identities=FACES)


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("precious")
    with pytest.raises(InputError, match="is no SynthTalk corpus"):
        write_corpus(tmp_path, 1, 1, identities=FACES)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_clip_holds_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    from parlante.synth.corpus import record_clip
    from parlante.synth.voice import speak

    subject = people(1)[0]
    clip = record_clip(speak("My mum bought a pump.", subject.voice), subject)
    count = int(np.ceil(len(clip["audio"]) * 30 / 16000))
    assert clip["curves"].shape == (count, 52) and clip["head_pose"].shape == (count, 6)
    spans = clip["phone_times"]
    assert spans[0, 0] == 0 and np.allclose(spans[1:, 0], spans[:-1, 1])
    assert abs(spans[-1, 1] - len(clip["audio"]) / 16000) < 1e-3
    assert np.abs(clip["audio"][:1000]).max() > 0  # never digital zero
