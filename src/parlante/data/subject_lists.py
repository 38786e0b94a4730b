"""Speakers chosen by hand: whose clips train, validate and test, instead of the published ones.

As in the published scripts, a list says who, and the dataset says which sentences: VOCASET trains on 1 to 40 and
validates and tests on 21 to 40, BIWI on 1 to 32, 33 to 36 and 37 to 40. In other datasets a speaker of one list gives
it all clips; one of several gives each the clips that the corpus's own split has for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from parlante.core.errors import InputError
from parlante.core.options import option
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.splits import TESTS, sentence_number

SENTENCES = {
    "vocaset": {"train": range(1, 41), "val": range(21, 41), "test": range(21, 41)},
    "BIWI": {"train": range(1, 33), "val": range(33, 37), "test": range(37, 41)},
}
"""Dataset -> part -> numbers of its sentences, FaceFormer's."""
PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SubjectLists:
    """Names of speakers; empty: those of the published split."""

    train_subjects: tuple[str, ...] = option((), "speakers to train on; default: those of the published split", "A,B")
    val_subjects: tuple[str, ...] = option((), "speakers to validate on; default: those of the published split", "A,B")
    test_subjects: tuple[str, ...] = option((), "speakers to test on; default: those of the published split", "A,B")

    @property
    def given(self) -> dict[str, tuple[str, ...]]:
        """The lists that are not empty, by the name of their field."""
        every = {f"{part}_subjects": getattr(self, f"{part}_subjects") for part in PARTS}
        return {name: chosen for name, chosen in every.items() if chosen}


def with_subjects(corpus: Corpus, lists: SubjectLists) -> Corpus:
    """The corpus with the splits that the lists ask for; clips of nobody named become unused. The same object.

    Raises InputError for a speaker that the corpus does not have, and where a clip would be in two parts.
    """
    if lists.given:
        corpus.clips = resplit(corpus.clips, lists, corpus.dataset)
    return corpus


def resplit(clips: Sequence[ClipInfo], lists: SubjectLists, dataset: str) -> list[ClipInfo]:
    """Clips with the splits that the lists ask for. Raises InputError as `with_subjects`."""
    known = sorted({info.subject for info in clips})
    for name, chosen in lists.given.items():
        for subject in chosen:
            if subject not in known:
                raise InputError(f"{name}: the corpus has no speaker {subject!r}; it has {', '.join(known)}")
    people = {
        part: set(getattr(lists, f"{part}_subjects")) or {info.subject for info in clips if _part(info.split) == part}
        for part in PARTS
    }
    return [replace(info, split=_split(info, people, dataset)) for info in clips]


def _part(split: str) -> str:
    return "test" if split in TESTS else split


def _split(info: ClipInfo, people: dict[str, set[str]], dataset: str) -> str:
    """Of one clip, for whoever is in each part."""
    parts = [part for part in PARTS if info.subject in people[part]]
    if dataset in SENTENCES:
        number = sentence_number(info.sentence)
        parts = [part for part in parts if number in SENTENCES[dataset][part]]
        if len(parts) > 1:
            raise InputError(
                f"{info.key} would be in {parts[0]} and {parts[1]}: {info.subject} is in both lists, whose sentences "
                f"overlap in {dataset}; name {info.subject} in one of them"
            )
    elif len(parts) > 1:
        parts = [part for part in parts if part == _part(info.split)]
    if not parts:
        return "unused"
    seen = info.subject in people["train"]
    return parts[0] if parts[0] != "test" else "test_seen" if seen else "test_unseen"
