"""From numbers to verdicts: what of a corpus is fine, what deserves a look, and what would spoil a training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from parlante.core.timing import num_samples
from parlante.data.contract import ClipInfo
from parlante.data.validation.measure import Measures

Verdict = Literal["ok", "warn", "bad"]
ORDER = {"ok": 0, "warn": 1, "bad": 2}
FEW = 0.05
"""Clips with a fault that only makes them useless are a warning up to this share, for training can do without them."""


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    check: str
    verdict: Verdict
    found: str
    """What was found, with numbers."""
    todo: str = ""
    """What to do about it."""
    clips: tuple[str, ...] = ()
    """Keys of the clips it is about."""


@dataclass
class Facts:
    """What a clip is compared with."""

    extents: dict[str, float] = field(default_factory=dict)
    """Median extent of each subject's clips."""
    rate: float | None = None
    """Frames per second that the audio's length tells, if all clips agree that the stated rate is wrong."""


Judge = Callable[[Measures, Facts], tuple[Verdict, str] | None]


@dataclass(frozen=True)
class ClipCheck:
    """A question asked of every clip."""

    name: str
    judge: Judge
    todo: str
    fatal: bool = False
    """Whether a single clip spoils the training, not only itself."""


def _unreadable(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    return ("bad", m.problem) if m.problem else None


def _numbers(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.bad_frames:
        return "bad", f"frame {m.bad_frames[0]} holds numbers that are not finite"
    return ("bad", f"{m.bad_samples} samples are not finite") if m.bad_samples else None


def _spikes(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if not m.spikes:
        return None
    some = ", ".join(map(str, m.spikes[:3]))
    return ("bad" if len(m.spikes) > 2 else "warn"), f"the mesh jumps and returns at frame {some}"


def _static(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.frames and not m.extent and not m.bad_frames:
        return "bad", "all vertices are at one point"
    if m.frames > 1 and m.spread < 1e-3 * m.extent:
        return "bad", f"the face hardly moves: {m.spread / m.extent:.2%} of its size"
    if m.frozen > 0.3:
        return "bad", f"{m.frozen:.0%} of the speaking frames repeat the one before"
    return ("warn", f"{m.frozen:.0%} of the speaking frames repeat the one before") if m.frozen > 0.08 else None


def _jitter(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.noise <= 1e-3 * m.extent:
        return None
    verdict: Verdict = "bad" if m.noise > 3e-3 * m.extent else "warn"
    return verdict, f"vertices shake by {m.noise / m.extent:.2%} of the face's size"


def _length(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if not m.frames or facts.rate is not None:
        return None
    motion = m.frames / m.fps
    differ = abs(motion - m.audio_s)
    if differ <= max(0.1, 3 / m.fps):
        return None
    verdict: Verdict = "bad" if differ > max(0.5, 0.1 * max(motion, m.audio_s)) else "warn"
    return verdict, f"{motion:.2f} s of motion, {m.audio_s:.2f} s of audio"


def _silent(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.loud_db < -55:
        return "bad", f"silent: loud frames have {max(m.loud_db, -99):.0f} dB"
    if m.loud_db < -42:
        return "warn", f"very quiet: loud frames have {m.loud_db:.0f} dB"
    if m.speaking < 0.15 and m.frames / m.fps > 1:
        return "warn", f"only {m.speaking:.0%} of it is speech"
    return ("warn", f"the audio has an offset of {m.offset:+.3f}") if abs(m.offset) > 0.02 else None


def _clipped(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.clipped <= 0.001:
        return None
    return ("bad" if m.clipped > 0.02 else "warn"), f"{m.clipped:.1%} of the samples at full scale"


def _template(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if m.likeness is not None and m.likeness[0] > 1.25 * m.likeness[1] and m.likeness[0] > 1e-3 * m.extent:
        return "bad", f"its face is that of {m.likeness[2]}, not of {m.subject}"
    if m.from_template is None or not m.extent:
        return None
    share = m.from_template / m.extent
    if share <= 0.02:
        return None
    verdict: Verdict = "bad" if share > 0.06 else "warn"
    return verdict, f"never nearer to the template than {share:.1%} of the face's size"


def _scale(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    usual = facts.extents.get(m.subject, 0)
    if not usual or not m.extent or 1 / 1.25 < m.extent / usual < 1.25:
        return None
    return "bad", f"{m.extent / usual:.3g} times the size of its subject's other clips"


def _pose(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    if not m.extent or (m.turn_deg <= 6 and m.shift <= 0.05 * m.extent):
        return None
    return "warn", f"the whole head turns by {m.turn_deg:.0f} degrees and moves by {m.shift / m.extent:.0%} of its size"


def _short(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    seconds = m.frames / m.fps
    return ("warn", f"{seconds:.2f} s") if m.frames and seconds < 0.5 else None


def _dark(m: Measures, facts: Facts) -> tuple[Verdict, str] | None:
    return ("bad", "its pictures are of one colour") if m.dark else None


CLIP_CHECKS = (
    ClipCheck("readable", _unreadable, "copy or prepare these clips again, or leave them out", fatal=True),
    ClipCheck("finite numbers", _numbers, "repair these frames or leave the clips out: one is enough for NaN", True),
    ClipCheck("spikes", _spikes, "interpolate these frames or leave the clips out"),
    ClipCheck("moving faces", _static, "leave these clips out; look whether frames were doubled to reach the rate"),
    ClipCheck("jitter", _jitter, "smooth the tracking (a low pass at 10 Hz) or leave the clips out"),
    ClipCheck("audio and motion length", _length, "trim both to the same span; if all differ, the frame rate is wrong"),
    ClipCheck("audible speech", _silent, "find the right recordings or leave these clips out"),
    ClipCheck("clipped audio", _clipped, "record again at a lower level, or leave the clips out"),
    ClipCheck("template", _template, "give each subject its own template, at the clips' position and in their unit"),
    ClipCheck("clip scale", _scale, "bring all clips to one unit"),
    ClipCheck("head pose", _pose, "align the frames to the template rigidly (keep the pose apart); models learn lips"),
    ClipCheck("clip length", _short, "join these clips or leave them out"),
    ClipCheck("pictures", _dark, "copy the textures again"),
)


def judge_clip(m: Measures, facts: Facts) -> list[tuple[ClipCheck, Verdict, str]]:
    """What is wrong with one clip; of an unreadable one nothing else is said."""
    found = []
    for check in CLIP_CHECKS:
        verdict = check.judge(m, facts)
        if verdict is not None:
            found.append((check, *verdict))
            if check.name == "readable":
                break
    return found


def clip_findings(measures: Sequence[Measures], facts: Facts) -> Iterator[Finding]:
    """One line per question; the example is the first of the worst clips."""
    by_check: dict[str, list[tuple[Verdict, str, str]]] = defaultdict(list)
    for m in measures:
        for check, verdict, text in judge_clip(m, facts):
            by_check[check.name].append((verdict, m.key, text))
    for check in CLIP_CHECKS:
        rows = by_check[check.name]
        if not rows:
            yield Finding(check.name, "ok", "")
            continue
        bad = [row for row in rows if row[0] == "bad"]
        serious = bad and (check.fatal or len(bad) > FEW * len(measures))
        rows.sort(key=lambda row: -ORDER[row[0]])
        _, key, text = rows[0]
        found = f"{len(rows)} of {len(measures)} clips, such as {key}: {text}"
        yield Finding(check.name, "bad" if serious else "warn", found, check.todo, tuple(row[1] for row in rows))


# -- of the corpus as a whole


_UNITS = ((1.0, "metres"), (1000.0, "millimetres"), (100.0, "centimetres"), (10.0, "decimetres"))


def facts_of(measures: Sequence[Measures]) -> Facts:
    """Medians that single clips are compared with."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for m in measures:
        if m.extent:
            sizes[m.subject].append(m.extent)
    rates = [m.frames / m.audio_s for m in measures if m.frames and m.audio_s > 0.5]
    fps = measures[0].fps if measures else 0.0
    found = None
    if rates:
        middle = float(np.median(rates))
        agree = np.mean(np.abs(np.asarray(rates) / middle - 1) < 0.06) >= 0.7
        if agree and abs(middle / fps - 1) > 0.05 and (len(rates) >= 3 or abs(middle / fps - 1) > 0.15):
            found = middle
    return Facts({name: float(np.median(values)) for name, values in sizes.items()}, found)


def rate_finding(measures: Sequence[Measures], facts: Facts) -> Finding:
    fps = measures[0].fps
    if facts.rate is None:
        return Finding("frame rate", "ok", f"{fps:g} frames per second")
    return Finding(
        "frame rate",
        "bad",
        f"{facts.rate:.2f} frames per second of audio, the corpus states {fps:g}",
        "state the rate that the capture has; a wrong one moves the lips out of step",
    )


def unit_finding(measures: Sequence[Measures], facts: Facts, unit: str) -> Iterator[Finding]:
    sizes = list(facts.extents.values())
    if not sizes:
        return
    size = float(np.median(sizes))
    likely = next((name for factor, name in _UNITS if 0.1 <= size / factor <= 0.6), "")
    told = f"faces are {size:.3g} units long; stated unit: {unit}"
    if not likely or (unit == "m" and likely != "metres"):
        what = f"{told}; looks like {likely or 'no unit of length'}"
        worry: Verdict = "bad" if unit == "m" else "ok" if unit == "normalised" else "warn"
        todo = "" if worry == "ok" else "prepare again with the right unit; lengths in mm and step sizes rely on it"
        yield Finding("unit", worry, told if worry == "ok" else what, todo)
    elif unit == "unknown" and likely != "metres":
        yield Finding("unit", "warn", f"{told}; looks like {likely}", "state the unit, so that metres come out")
    else:
        yield Finding("unit", "ok", told)
    far = {name: value for name, value in facts.extents.items() if not 1 / 1.4 < value / size < 1.4}
    if far:
        name, value = max(far.items(), key=lambda item: abs(np.log(item[1] / size)))
        text = f"{len(far)} of {len(sizes)} subjects, such as {name}: {value / size:.3g} times the usual size"
        keys = tuple(m.key for m in measures if m.subject in far)
        yield Finding("subject scale", "bad", text, "bring all subjects to one unit", keys)
    else:
        yield Finding("subject scale", "ok", "")


def duplicate_finding(measures: Iterable[Measures]) -> Iterator[Finding]:
    """Clips with the very same audio or the very same motion."""
    for what, places in (
        ("same audio", _groups(measures, lambda m: m.audio_hash if m.loud_db > -55 else "")),
        ("same motion", _groups(measures, lambda m: m.motion_hash if m.spread > 1e-3 * m.extent else "")),
    ):
        if not places:
            yield Finding(what, "ok", "")
            continue
        leak = next((group for group in places if _leaks({m.split for m in group})), None)
        group = leak or places[0]
        names = " and ".join(f"{m.key} ({m.split})" for m in group[:2])
        todo = "keep one of each; the same clip in train and test makes the test worthless"
        text = f"{len(places)} sets of clips, such as {names}"
        yield Finding(what, "bad" if leak else "warn", text, todo, tuple(m.key for g in places for m in g))


def _groups(measures: Iterable[Measures], key: Callable[[Measures], str]) -> list[list[Measures]]:
    sets: dict[str, list[Measures]] = defaultdict(list)
    for m in measures:
        if key(m):
            sets[key(m)].append(m)
    return [group for group in sets.values() if len(group) > 1]


def _leaks(splits: set[str]) -> bool:
    return len(splits - {"unused"}) > 1


def split_finding(clips: Sequence[ClipInfo], fps: float) -> Iterator[Finding]:
    """Whether what is held out was really not seen. clips: of the corpus, all splits."""
    counts = Counter(clip.split for clip in clips)
    told = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
    missing = [name for name in ("train", "val") if not counts[name]]
    absent = missing and not (len(counts) == 1 and "test_unseen" in counts)
    todo = "hold some clips back, or no one will see when the model stops learning" if absent else ""
    text = f"{told}; no {' and no '.join(missing)}" if absent else told
    yield Finding("splits", "warn" if absent else "ok", text, todo)
    problems: list[tuple[Verdict, str, tuple[str, ...]]] = []
    keys: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        keys[clip.key].add(clip.split)
    twice = [key for key, splits in keys.items() if _leaks(splits)]
    if twice:
        problems.append(("bad", f"{len(twice)} clips stand in two splits, such as {twice[0]}", tuple(twice)))
    problems += _subject_leak(clips)
    problems += _sentence_leak(clips)
    problems += _span_leak(clips, fps)
    if not problems:
        yield Finding("split overlap", "ok", "")
        return
    verdict = max((p[0] for p in problems), key=ORDER.__getitem__)
    text = "; ".join(p[1] for p in sorted(problems, key=lambda p: -ORDER[p[0]]))
    todo = "split again so that nothing of train is in test; numbers on this test would flatter"
    yield Finding("split overlap", verdict, text, todo, tuple(dict.fromkeys(k for p in problems for k in p[2])))


def _subject_leak(clips: Sequence[ClipInfo]) -> Iterator[tuple[Verdict, str, tuple[str, ...]]]:
    seen = {clip.subject for clip in clips if clip.split == "train"}
    both = [clip for clip in clips if clip.split == "test_unseen" and clip.subject in seen]
    if both:
        keys = tuple(clip.key for clip in both)
        yield "bad", f"{both[0].subject} is in train and in test_unseen, which is for unseen subjects", keys


def _sentence_leak(clips: Sequence[ClipInfo]) -> Iterator[tuple[Verdict, str, tuple[str, ...]]]:
    """Names of sentences are compared within a subject only: datasets number them anew for each; texts anywhere."""
    trained = {(clip.subject, clip.sentence) for clip in clips if clip.split == "train"}
    tests = [clip for clip in clips if clip.split.startswith(("test", "val"))]
    again = [clip for clip in tests if clip.sentence and (clip.subject, clip.sentence) in trained]
    again = [clip for clip in again if clip.first is None]  # parts of one recording, judged by their frames
    if again:
        text = f"{again[0].subject} says {again[0].sentence} in train and in {again[0].split}"
        yield "bad", text, tuple(clip.key for clip in again)
    texts = {_plain(clip) for clip in clips if clip.split == "train"} - {""}
    repeated = [clip for clip in tests if _plain(clip) in texts]
    if repeated:
        share = f"{len(repeated)} of {len(tests)} held-out clips say what is said in train"
        yield "warn", f"{share}, such as {repeated[0].key}", tuple(clip.key for clip in repeated)


def _plain(clip: ClipInfo) -> str:
    return " ".join(clip.text.lower().split())


def _span_leak(clips: Sequence[ClipInfo], fps: float) -> Iterator[tuple[Verdict, str, tuple[str, ...]]]:
    """Clips that are stretches of one recording: their frames must not overlap."""
    spans: dict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for clip in clips:
        if clip.first is not None:
            spans[clip.subject].append((clip.first, clip.first + clip.frames, clip.split, clip.key))
    for subject, places in spans.items():
        places.sort()
        one = places[0]  # of those before, the one that ends last
        for other in places[1:]:
            if other[0] < one[1] and _leaks({one[2], other[2]}):
                seconds = num_samples(one[1] - other[0], fps=fps) / 16000
                yield "bad", f"{seconds:.1f} s of {subject} are in {one[2]} and in {other[2]}", (one[3], other[3])
                return
            one = max(one, other, key=lambda place: place[1])
