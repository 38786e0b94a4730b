"""Writing SynthTalk: audio, weights and truth of many synthetic speakers. `parlante.data.datasets.synthtalk` reads it.

Layout: `corpus.json` (what was asked for), `clips/SUBJECT/NNN.npz` (one utterance each) and, once all is there,
`index.json` (subjects, splits, lengths). The same settings give the same bytes, however the work is divided or resumed.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.phones import PHONES, Phone, Utterance
from parlante.core import InputError, atomic_path, claim_folder, read_npz
from parlante.core.timing import FPS, SAMPLE_RATE, frame_times, num_frames
from parlante.synth.articulation import articulate
from parlante.synth.prosody import liveliness
from parlante.synth.subjects import Subject, make_subjects
from parlante.synth.text import sentences

FORMAT = 1
CLIP_ARRAYS = ("audio", "curves", "head_pose", "phone_symbols", "phone_times", "text")
UNSEEN_SHARE = 0.12  # of identities, kept for test_unseen
HELD_OUT_SHARE = 1 / 12  # of a seen subject's sentences, each for val and test_seen
_COMMON_SHARE = 0.25  # of the training sentences are said by everybody, so that styles can be compared
_VOICE_TRIES = 5


@dataclass(frozen=True)
class Line:
    """One sentence that one subject says."""

    subject: Subject
    number: int
    text: str
    split: str

    @property
    def key(self) -> str:
        """`SUBJECT/NNN`: the name of the clip."""
        return f"{self.subject.name}/{self.number:03d}"


def plan(subjects: Sequence[Subject], per_subject: int, seed: int = 0) -> list[list[Line]]:
    """Who says what, for each subject `per_subject` lines. Texts of train, val and test never meet.

    About 12 % of the identities (at least one of two or more) are test_unseen, whoever wears them: unseen people,
    unseen sentences. Of the others' sentences one in twelve (at least one of four or more) is val, another one
    test_seen. Raises InputError if per_subject < 1.
    """
    if per_subject < 1:
        raise InputError(f"each subject must say at least one sentence, got {per_subject}")
    unseen = _unseen(list(dict.fromkeys(subject.identity for subject in subjects)))
    held = max(1, round(HELD_OUT_SHARE * per_subject)) if per_subject >= 4 else 0
    train = per_subject - 2 * held
    common = max(1, round(_COMMON_SHARE * train))
    pool = iter(sentences(common + 2 * held + len(subjects) * per_subject, seed))

    def take(count: int) -> list[str]:
        return [next(pool) for _ in range(count)]

    shared, val, test = take(common), take(held), take(held)
    lines = []
    for subject in subjects:
        if subject.identity in unseen:
            texts = [(text, "test_unseen") for text in test + take(per_subject - held)]
        else:
            texts = [(text, "train") for text in shared + take(train - common)]
            texts += [(text, "val") for text in val] + [(text, "test_seen") for text in test]
        lines.append([Line(subject, number, text, split) for number, (text, split) in enumerate(texts)])
    return lines


def _unseen(identities: list[str]) -> set[str]:
    """The identities kept for test_unseen, evenly spread over the list."""
    count = len(identities)
    kept = max(1, round(UNSEEN_SHARE * count)) if count > 1 else 0
    return {identities[(turn + 1) * count // kept - 1] for turn in range(kept)}


def record_clip(utterance: Utterance, subject: Subject, number: int = 0) -> dict[str, NDArray[Any]]:
    """The arrays of one clip: `subject` says `utterance` with some silence before and after.

    Returns `audio` (N,) int16, `curves` (T, 52) float16, `head_pose` (T, 6) float32, `phone_symbols` (P,) uint8
    (numbers into PHONES), `phone_times` (P, 2) float32 seconds, `text`.
    """
    rng = np.random.default_rng([subject.seed, number])
    audio, phones = _with_silence(utterance, rng)
    count = num_frames(len(audio), SAMPLE_RATE)
    weights, pose = liveliness(audio, SAMPLE_RATE, subject.profile, seed=int(rng.integers(2**31)))
    mouth = articulate(phones, frame_times(count), subject.profile)
    return {
        "audio": np.round(audio * 32767).astype(np.int16),
        "curves": np.clip(weights + mouth, 0, 1).astype(np.float16),
        "head_pose": pose,
        "phone_symbols": np.array([PHONES.index(p.symbol) for p in phones], np.uint8),
        "phone_times": np.array([(p.start, p.end) for p in phones], np.float32),
        "text": np.array(utterance.text),
    }


def _with_silence(utterance: Utterance, rng: np.random.Generator) -> tuple[NDArray[np.float32], list[Phone]]:
    """Silence around the speech, a level of a real recording, and a noise floor instead of digital zero."""
    lead, tail = (round(s * SAMPLE_RATE) for s in rng.uniform(0.20, 0.55, 2))
    peak = float(np.abs(utterance.audio).max()) or 1.0
    level = rng.uniform(0.35, 0.85) / peak
    audio = np.pad(utterance.audio * level, (lead, tail)).astype(np.float32)
    audio += rng.normal(0, 10 ** rng.uniform(-3.9, -3.1), len(audio)).astype(np.float32)
    shift = lead / SAMPLE_RATE
    phones = [Phone("sil", 0.0, shift)]
    phones += [Phone(symbol, start + shift, end + shift) for symbol, start, end in utterance.phones]
    phones.append(Phone("sil", phones[-1].end, len(audio) / SAMPLE_RATE))
    merged: list[Phone] = []
    for phone in phones:
        if merged and merged[-1].symbol == phone.symbol == "sil":
            merged[-1] = Phone("sil", merged[-1].start, phone.end)
        elif phone.end > phone.start:
            merged.append(phone)
    return np.clip(audio, -1, 1), merged


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """`np.savez` with fixed time stamps: the same arrays give the same bytes. Written whole or not at all."""
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def write_corpus(
    root: Path | str,
    num_subjects: int,
    per_subject: int,
    seed: int = 0,
    jobs: int = 1,
    on_subject: Callable[[int, int], None] | None = None,
    identities: Sequence[str] | None = None,
) -> Path:
    """Write, or go on writing, a corpus at `root`; returns the path of its `index.json`.

    `on_subject(done, total)` is called after each subject; `identities` (default: the embedded head's) are the faces to
    give out. Raises InputError if `root` holds something else or another
    corpus, or for counts below one; MissingExtra without a speech synthesiser.
    """
    root = Path(root)
    subjects = make_subjects(num_subjects, seed, identities)
    lines = plan(subjects, per_subject, seed)
    names = [subject.name for subject in subjects]
    settings = {"format": FORMAT, "subjects": names, "sentences": per_subject, "seed": seed}
    claim_folder(root, "corpus.json", settings, made="written", kind="SynthTalk corpus")
    rows: list[dict[str, Any]] = []
    speakers = []
    for done, (own, voice, own_rows) in enumerate(_run(root, lines, jobs), 1):
        person = own[0].subject
        speakers.append(
            {
                "name": person.name,
                "identity": person.identity,
                "voice": voice,
                "manner": asdict(person.profile),
                "seen": own[0].split != "test_unseen",
            }
        )
        rows += own_rows
        if on_subject:
            on_subject(done, len(lines))
    index = {"format": FORMAT, "seed": seed, "fps": FPS, "sample_rate": SAMPLE_RATE, "phones": list(PHONES)}
    target = root / "index.json"
    with atomic_path(target) as partial:
        partial.write_text(json.dumps({**index, "subjects": speakers, "clips": rows}, indent=1) + "\n")
    return target


_Done = tuple[list[Line], str, list[dict[str, Any]]]


def _run(root: Path, lines: list[list[Line]], jobs: int) -> Iterator[_Done]:
    if jobs <= 1:
        for own in lines:
            yield _write_subject(root, own)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_subject, [root] * len(lines), lines)


def _write_subject(root: Path, lines: list[Line]) -> _Done:
    """All clips of one subject. The voice runs in a process of its own, so the bytes depend on this subject alone."""
    folder = root / "clips"
    subject = lines[0].subject
    paths = [folder / f"{line.key}.npz" for line in lines]
    record = folder / subject.name / "voice.txt"
    if record.is_file() and all(path.is_file() for path in paths):
        clips = [read_npz(path, CLIP_ARRAYS) for path in paths]
        return lines, record.read_text().strip(), [_row(*pair) for pair in zip(lines, clips, strict=True)]
    voice, spoken = _speak(subject, [line.text for line in lines])
    rows = []
    for line, path, utterance in zip(lines, paths, spoken, strict=True):
        arrays = record_clip(utterance, subject, line.number)
        write_npz(path, arrays)
        rows.append(_row(line, arrays))
    with atomic_path(record) as partial:
        partial.write_text(voice + "\n")
    return lines, voice, rows


def _speak(subject: Subject, texts: list[str]) -> tuple[str, list[Utterance]]:
    """The subject's voice, or the next that can say all of `texts`."""
    from parlante.synth.voice import random_voice, speak_many

    rng = np.random.default_rng([subject.seed, 0x701CE])
    voice = subject.voice
    for attempt in range(_VOICE_TRIES):
        try:
            return voice, speak_many([(text, voice) for text in texts])
        except InputError:
            if attempt == _VOICE_TRIES - 1:
                raise
            voice = random_voice(rng)
    raise AssertionError("unreachable")


def _row(line: Line, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {
        "key": line.key,
        "subject": line.subject.name,
        "split": line.split,
        "text": line.text,
        "frames": len(arrays["curves"]),
        "samples": len(arrays["audio"]),
    }
