"""Who and what is for training: the splits that the published experiments share.

A split is train, val, test_seen (seen subjects, unseen sentences), test_unseen (unseen subjects), or unused.
Sources: the data loaders of FaceFormer, CodeTalker and FaceDiffuser; EMOTE (CVPR 2023) for MEAD's speakers.
"""

from collections.abc import Iterable, Mapping, Sequence

from parlante.core.renames import notice, renamed

TESTS = ("test_seen", "test_unseen")
SPLITS = ("train", "val", *TESTS)

VOCASET_TRAIN = (
    "FaceTalk_170728_03272_TA",
    "FaceTalk_170904_00128_TA",
    "FaceTalk_170725_00137_TA",
    "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA",
    "FaceTalk_170913_03279_TA",
    "FaceTalk_170904_03276_TA",
    "FaceTalk_170912_03278_TA",
)
"""In the order of the released models' one-hot codes."""
VOCASET_VAL = ("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA")
VOCASET_TEST = ("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA")
BIWI_SEEN = ("F2", "F3", "F4", "M3", "M4", "M5")
"""In the order of the released models' one-hot codes."""
BIWI_UNSEEN = ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6")
MEAD_TRAIN = (
    "M003", "M005", "M007", "M009", "M011", "M012", "M013", "M019", "M022", "M023", "M024", "M025", "M026", "M027",
    "M028", "M029", "M030", "M031", "W009", "W011", "W014", "W015", "W016", "W018", "W019", "W021", "W023", "W024",
    "W025", "W026", "W028", "W029",
)  # fmt: skip
MEAD_VAL = ("M032", "M033", "M034", "M035", "W033", "W035", "W036")


def current_name(split: str) -> str:
    """The name that a split has today; corpora written by earlier versions call the tests test_a and test_b."""
    return renamed("split", split) or split


def wanted_splits(split: str) -> tuple[str, ...]:
    """The splits that a user's word stands for: `test` for both tests. An old name works, with a notice."""
    name = current_name(split)
    if name != split:
        notice("split", split, name)
    return TESTS if name == "test" else (name,)


def sentence_number(sentence: str) -> int | None:
    """The number that the last two characters of a sentence's name are, as in sentence07, e07 or 07; else none."""
    return int(sentence[-2:]) if sentence[-2:].isdecimal() else None


def vocaset_split(subject: str, sentence: str) -> str:
    """FaceFormer's: eight subjects with all sentences to train; of two and two others sentences 21 to 40."""
    number = sentence_number(sentence)
    if number is None or not 1 <= number <= 40:
        return "unused"
    if subject in VOCASET_TRAIN:
        return "train"
    if number < 21:
        return "unused"
    return "val" if subject in VOCASET_VAL else "test_unseen" if subject in VOCASET_TEST else "unused"


def biwi_split(subject: str, sentence: str) -> str:
    """FaceFormer's: of six subjects sentences 1-32, 33-36 and 37-40 (Test-A); of eight others 37-40 (Test-B)."""
    number = sentence_number(sentence)
    if number is None or not 1 <= number <= 40:
        return "unused"
    if subject in BIWI_SEEN:
        return "train" if number <= 32 else "val" if number <= 36 else "test_seen"
    return "test_unseen" if subject in BIWI_UNSEEN and number >= 37 else "unused"


def multiface_split(number: int | None) -> str:
    """FaceDiffuser's: of all subjects sentences 1-40, 41-45 and 46-50."""
    if number is None or not 1 <= number <= 50:
        return "unused"
    return "train" if number <= 40 else "val" if number <= 45 else "test_seen"


def mead_split(subject: str, sentence: str = "") -> str:
    """EMOTE's speakers: 32 to train, 7 to validate, the others unseen."""
    return "train" if subject in MEAD_TRAIN else "val" if subject in MEAD_VAL else "test_unseen"


def own_splits(keys: Iterable[tuple[str, str]]) -> dict[str, str]:
    """key: split, for (key, subject) pairs of a dataset that has no published split.

    Of each subject's clips by name the last tenth is test_seen, the tenth before val: one each at least, from three on.
    """
    by_subject: dict[str, list[str]] = {}
    for key, subject in keys:
        by_subject.setdefault(subject, []).append(key)
    splits = {}
    for names in by_subject.values():
        held = max(1, len(names) // 10) if len(names) >= 3 else 0
        for place, key in enumerate(sorted(names)):
            left = len(names) - place
            splits[key] = "test_seen" if left <= held else "val" if left <= 2 * held else "train"
    return splits


def listed_splits(lists: Mapping[str, Sequence[str]], keys: Iterable[tuple[str, str]]) -> dict[str, str]:
    """key: split, for lists of keys or subjects by split; keys win, and what is in no list is unused.

    Raises ValueError if a key or a subject stands in two lists.
    """
    places: dict[str, str] = {}
    for listed, names in lists.items():
        split = current_name(listed)
        for name in names:
            if places.setdefault(name, split) != split:
                raise ValueError(f"{name} stands in {places[name]} and in {split}")
    return {key: places.get(key, places.get(subject, "unused")) for key, subject in keys}
