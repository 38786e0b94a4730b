"""Measure every clip of a corpus, by many processes if wanted, and gather the verdicts."""

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.open import open_corpus
from parlante.data.validation import findings as judge
from parlante.data.validation.findings import ORDER, Facts, Finding, Verdict
from parlante.data.validation.measure import Measures, Ruler
from parlante.data.validation.meshes import topology_finding

Progress = Callable[[int, int], object]
"""Told the frames of each clip that is done, and of all clips."""
_CURVES = 4
"""Clips whose curves are kept for the picture."""


@dataclass
class Report:
    """What `check_corpus` found."""

    path: str
    dataset: str
    unit: str
    findings: list[Finding]
    clips: list[Measures]
    """One per clip, in the corpus's order; curves are kept of a few."""
    facts: Facts
    topology: Topology | None = None
    face: NDArray[np.float32] | None = None
    """(V, 3) of one subject at rest, if the corpus knows one."""
    subject_rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings: bad means: repair the corpus before training."""
        return max((f.verdict for f in self.findings), key=ORDER.__getitem__, default="ok")

    def clip_verdict(self, m: Measures) -> tuple[Verdict, str]:
        """The worst that is said of a clip, and all of it in words."""
        found = judge.judge_clip(m, self.facts)
        verdict: Verdict = max((v for _, v, _ in found), key=ORDER.__getitem__, default="ok")
        return verdict, "; ".join(text for _, _, text in found)


def check_corpus(
    path: Path | str, *, fps: float | None = None, jobs: int = 1, progress: Progress | None = None
) -> Report:
    """Look at every frame of every clip that `open_corpus(path, fps=fps)` opens, a block at a time.

    jobs: processes. Raises InputError if the corpus cannot be opened; a clip that cannot be read is a finding.
    """
    corpus = open_corpus(path, fps=fps)
    clips: list[Measures] = []
    kept, total = 0, sum(map(_length, corpus.clips))
    with closing(_measured(corpus, str(path), fps, jobs)) as stream:
        for m in stream:
            if kept >= _CURVES or not m.curves:
                m.curves = {}
            kept += bool(m.curves)
            clips.append(m)
            if progress is not None:
                progress(_length(corpus.clips[m.index]), total)
    facts = judge.facts_of(clips)
    report = Report(str(path), corpus.dataset, corpus.unit, [], clips, facts)
    report.face = _a_face(corpus)
    report.findings += _overall(report, corpus)
    report.subject_rows = _by_subject(report)
    return report


def _length(info: ClipInfo) -> int:
    return info.frames or 1


def _a_face(corpus: Corpus) -> NDArray[np.float32] | None:
    for subject in corpus.subjects:
        try:
            return corpus.neutral(subject)
        except InputError:
            continue
    return None


def _overall(report: Report, corpus: Corpus) -> Iterator[Finding]:
    clips, facts = report.clips, report.facts
    yield from judge.clip_findings(clips, facts)
    readable = [m for m in clips if m.frames]
    if readable:
        yield judge.rate_finding(readable, facts)
        yield from judge.unit_finding(readable, facts, corpus.unit)
        yield from judge.duplicate_finding(readable)
    yield from judge.split_finding(corpus.clips, corpus.fps)
    if corpus.problems:
        text = f"{len(corpus.problems)} files were skipped, such as {corpus.problems[0]}"
        yield Finding("files", "warn", text, "complete the pairs or remove what is left over")
    if report.face is None:
        todo = "give templates: models start from the subject at rest"
        yield Finding("templates", "warn", "no subject has a template", todo)
    try:
        report.topology = corpus.topology
    except InputError as error:
        yield Finding("topology", "bad", str(error), "prepare the corpus again")
        return
    yield from topology_finding(report.topology, report.face)


def _by_subject(report: Report) -> list[dict[str, Any]]:
    groups: dict[str, list[Measures]] = defaultdict(list)
    for m in report.clips:
        groups[m.subject].append(m)
    rows = []
    for subject, clips in groups.items():
        verdicts = [report.clip_verdict(m)[0] for m in clips]
        rows.append(
            {
                "subject": subject,
                "splits": " ".join(sorted({m.split for m in clips})),
                "clips": len(clips),
                "minutes": round(sum(m.frames / m.fps for m in clips) / 60, 2),
                "extent": round(report.facts.extents.get(subject, 0.0), 5),
                "speed": round(float(np.mean([m.step * m.fps for m in clips])), 6),
                "noise": round(float(np.median([m.noise for m in clips])), 7),
                "loud_db": round(float(np.median([m.loud_db for m in clips])), 1),
                "warn": verdicts.count("warn"),
                "bad": verdicts.count("bad"),
            }
        )
    return rows


# -- by many processes

_ruler: Ruler | None = None


def _start(path: str, fps: float | None) -> None:
    global _ruler
    _ruler = Ruler(open_corpus(path, fps=fps))


def _measure(index: int) -> Measures:
    assert _ruler is not None
    return _ruler.measure(index)


def _measured(corpus: Corpus, path: str, fps: float | None, jobs: int) -> Generator[Measures, None, None]:
    count = len(corpus)
    jobs = min(jobs, count)
    if jobs <= 1:
        ruler = Ruler(corpus)
        for index in range(count):
            yield ruler.measure(index)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _start, (path, fps)) as pool:
        yield from pool.imap(_measure, range(count))
