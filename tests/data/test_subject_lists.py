"""Speakers chosen by hand: which clips they give each part, dataset by dataset."""

import pytest

from parlante.core import InputError
from parlante.data.contract import ClipInfo
from parlante.data.splits import biwi_split, vocaset_split
from parlante.data.subject_lists import SubjectLists, resplit

VAL, TEST, TRAIN = "FaceTalk_170811_03275_TA", "FaceTalk_170809_00138_TA", "FaceTalk_170725_00137_TA"


def clips(subjects, split_of, name="sentence{:02d}"):
    return [
        ClipInfo(key=f"{s}_{n}", subject=s, sentence=name.format(n), split=split_of(s, name.format(n)))
        for s in subjects
        for n in range(1, 41)
    ]


def parts(clips, subject):
    """Split -> numbers of the first and the last sentence, and how many."""
    found = {}
    for info in clips:
        if info.subject == subject:
            found.setdefault(info.split, []).append(int(info.sentence[-2:]))
    return {split: (numbers[0], numbers[-1], len(numbers)) for split, numbers in found.items()}


def test_nothing_given_changes_nothing() -> None:
    every = clips((TRAIN, VAL, TEST), vocaset_split)
    assert resplit(every, SubjectLists(), "vocaset") == every


def test_vocaset_trains_on_all_sentences_and_tests_on_the_latter_half() -> None:
    every = clips((TRAIN, VAL, TEST), vocaset_split)
    lists = SubjectLists(train_subjects=(VAL,), val_subjects=(TEST,), test_subjects=(TRAIN,))
    found = resplit(every, lists, "vocaset")
    assert parts(found, VAL) == {"train": (1, 40, 40)}
    assert parts(found, TEST) == {"unused": (1, 20, 20), "val": (21, 40, 20)}
    assert parts(found, TRAIN) == {"unused": (1, 20, 20), "test_unseen": (21, 40, 20)}
    with pytest.raises(InputError, match=r"would be in train and test.*overlap in vocaset"):
        resplit(every, SubjectLists(test_subjects=(TRAIN,)), "vocaset")


def test_biwi_splits_a_speaker_by_its_sentences() -> None:
    every = clips(("F1", "F2", "M3"), biwi_split, "e{:02d}")
    found = resplit(
        every, SubjectLists(train_subjects=("F1",), val_subjects=("F1",), test_subjects=("F1", "M3")), "BIWI"
    )
    assert parts(found, "F1") == {"train": (1, 32, 32), "val": (33, 36, 4), "test_seen": (37, 40, 4)}
    assert parts(found, "M3") == {"unused": (1, 36, 36), "test_unseen": (37, 40, 4)}
    assert parts(found, "F2") == {"unused": (1, 40, 40)}
    fewer = resplit(every, SubjectLists(train_subjects=("F2",)), "BIWI")
    assert parts(fewer, "M3") == {"unused": (1, 32, 32), "val": (33, 36, 4), "test_unseen": (37, 40, 4)}


def test_other_corpora_keep_their_own_parts_of_a_speaker_in_several() -> None:
    own = [ClipInfo(key=f"{s}{n}", subject=s, split=n) for s in "ab" for n in ("train", "val", "test_seen")]
    found = resplit(own, SubjectLists(train_subjects=("a",), test_subjects=("a", "b")), "own")
    assert [info.split for info in found] == ["train", "val", "test_seen", "unused", "val", "test_unseen"]


def test_an_unknown_speaker_is_named() -> None:
    with pytest.raises(InputError, match="val_subjects: the corpus has no speaker 'F9'; it has F1, F2"):
        resplit(clips(("F1", "F2"), biwi_split, "e{:02d}"), SubjectLists(val_subjects=("F9",)), "BIWI")
