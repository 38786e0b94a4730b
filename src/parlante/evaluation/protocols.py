"""Named evaluation protocols: which vertices, unit, pooling and conditioning a published table used.

    score = PROTOCOLS["codetalker-biwi-a"].score(predicted, truth, templates)

Two numbers may stand in one table only if their protocols agree. `formula` says what the authors' scripts
compute; the functions are those of `parlante.metrics`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.core import InputError
from parlante.data.contract import ClipInfo
from parlante.data.datasets.multiface import sentence_number as segment_number
from parlante.data.splits import BIWI_SEEN, BIWI_UNSEEN, VOCASET_TEST, sentence_number
from parlante.geometry.regions import region
from parlante.metrics import lip_vertex_error_m2, mean_vertex_error, upper_face_dynamics_deviation

BIWI_TEST = tuple(f"e{n}" for n in range(37, 41))
VOCASET_SENTENCES = tuple(f"sentence{n}" for n in range(21, 41))
MULTIFACE_SUBJECTS = ("2", "3", "6", "7", "9", "10", "11", "12", "13")
"""FaceDiffuser's own numbers, in the order of the folders on its authors' machine."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to make a table.

    lips, upper: names of published vertex lists (`parlante.geometry.regions`). measures: which of lve, mve, fdd,
    abs_fdd the script prints. subjects, sentences: the test set is every sentence of every subject. conditioning:
    "own" (each test subject's own style), "every" (each training subject's in turn, then the mean). unit: of lengths.
    longer_only: the authors' script stops at a prediction shorter than its truth; here that is an InputError.
    """

    name: str
    lips: str
    upper: str
    fps: float
    unit: str
    measures: tuple[str, ...] = ("lve", "fdd")
    subjects: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    conditioning: str = "own"
    longer_only: bool = False
    formula: str = ""

    @property
    def dataset(self) -> str:
        """Whose clips are judged, as `Corpus.dataset` names it."""
        return self.lips.partition("/")[0]

    @property
    def test_list(self) -> tuple[tuple[str, str], ...]:
        """Subject and sentence of every clip of the test set."""
        return tuple((subject, sentence) for subject in self.subjects for sentence in self.sentences)

    def place(self, info: ClipInfo) -> tuple[str, str]:
        """Subject and sentence of a clip of the protocol's dataset, as the test set names them."""
        sentence = info.sentence or info.key.rpartition("_")[2]
        if self.dataset == "BIWI":  # e37 and the neutral recording 37 are two sentences
            return info.subject, sentence
        number = segment_number(sentence) if sentence.startswith("SEN_") else sentence_number(sentence)
        name = f"sentence{number:02}" if self.dataset == "vocaset" and number is not None else str(number)
        return info.subject, name

    def score(
        self,
        predicted: Mapping[str, ArrayLike],
        truth: Mapping[str, ArrayLike],
        templates: Mapping[str, ArrayLike],
        *,
        lips: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> dict[str, float]:
        """The protocol's measures and `frames`, the number of frames compared.

        predicted, truth: sequence name (`subject_sentence`, or `subject_sentence_condition_other` for predictions)
        to (T, V, 3) or (T, 3V). templates: subject to (V, 3). lips, upper: vertex numbers that replace the lists.
        Raises InputError for a sequence without truth or template, or one of another mesh.
        """
        pairs = [self._pair(name, motion, truth, templates) for name, motion in sorted(predicted.items())]
        if not pairs:
            raise InputError(f"{self.name}: nothing to compare; give predictions named subject_sentence")
        p, t, rest = ([pair[k] for pair in pairs] for k in range(3))
        lip_index = region(self.lips) if lips is None else np.asarray(lips)
        upper_index = region(self.upper) if upper is None else np.asarray(upper)
        if max(int(lip_index.max()), int(upper_index.max())) >= t[0].shape[1]:
            raise InputError(f"{self.name}: its vertex lists do not fit a mesh of {t[0].shape[1]} vertices")
        found = {"frames": float(sum(min(len(a), len(b)) for a, b in zip(p, t)))}
        for measure in self.measures:
            if measure == "lve":
                found["lve"] = lip_vertex_error_m2(p, t, lip_index)
            elif measure == "mve":
                found["mve"] = mean_vertex_error(p, t)
            else:
                found[measure] = upper_face_dynamics_deviation(p, t, rest, upper_index, absolute=measure == "abs_fdd")
        return found

    def _pair(
        self, name: str, motion: ArrayLike, truth: Mapping[str, ArrayLike], templates: Mapping[str, ArrayLike]
    ) -> tuple[NDArray, NDArray, NDArray]:
        own = name.split("_condition_")[0]
        subject = own.rsplit("_", 1)[0]
        if own not in truth:
            raise InputError(f"{self.name}: no truth for {name}; wanted a sequence called {own}")
        if subject not in templates:
            raise InputError(f"{self.name}: no template for {subject}; have {', '.join(sorted(templates)) or 'none'}")
        rest = np.asarray(templates[subject]).reshape(-1, 3)
        p, t = (np.asarray(m).reshape(len(np.asarray(m)), -1, 3) for m in (motion, truth[own]))
        if p.shape[1:] != rest.shape or t.shape[1:] != rest.shape:
            raise InputError(
                f"{self.name}: {name} has {p.shape[1]} vertices, its truth {t.shape[1]}, the template {len(rest)}"
            )
        if self.longer_only and len(p) < len(t):
            raise InputError(f"{self.name}: {name} has {len(p)} frames, its truth {len(t)}; predict all of them")
        return p, t, rest


_SCALED = "faces centred and divided by the root of their own area"
_CODETALKER_BIWI = Protocol(
    name="codetalker-biwi-a",
    lips="BIWI/lip_talkingstyle",
    upper="BIWI/fdd",
    fps=25.0,
    unit=_SCALED,
    subjects=BIWI_SEEN,
    sentences=BIWI_TEST,
    longer_only=True,
    formula="squared worst lip vertex over all frames together; signed FDD, mean of sequences",
)
_FACEDIFFUSER_VOCASET = Protocol(
    name="facediffuser-vocaset",
    lips="vocaset/lve_facediffuser",
    upper="vocaset/fdd_facediffuser",
    fps=30.0,
    unit="m",
    measures=("mve", "lve", "fdd", "abs_fdd"),
    subjects=VOCASET_TEST,
    sentences=VOCASET_SENTENCES,
    conditioning="every",
    formula="as codetalker-biwi-a, and the mean vertex error (plain length) and absolute FDD per sequence",
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _CODETALKER_BIWI,
        replace(_CODETALKER_BIWI, name="codetalker-biwi-b", subjects=BIWI_UNSEEN, conditioning="every"),
        replace(_CODETALKER_BIWI, name="talkingstyle-biwi-a", lips="BIWI/lve", longer_only=False),
        replace(_CODETALKER_BIWI, name="ptalker-biwi-a", lips="BIWI/lve", longer_only=False),
        replace(
            _FACEDIFFUSER_VOCASET,
            name="facediffuser-biwi-a",
            lips="BIWI/lve",
            upper="BIWI/fdd",
            fps=25.0,
            unit=_SCALED,
            subjects=BIWI_SEEN,
            sentences=BIWI_TEST,
            conditioning="own",
        ),
        _FACEDIFFUSER_VOCASET,
        replace(_FACEDIFFUSER_VOCASET, name="ptalker-vocaset", lips="vocaset/lve_ptalker", measures=("lve", "fdd")),
        replace(
            _FACEDIFFUSER_VOCASET,
            name="facediffuser-multiface",
            lips="multiface/lve",
            upper="multiface/fdd",
            unit="each axis scaled to -1..1",
            subjects=MULTIFACE_SUBJECTS,
            sentences=tuple(str(n) for n in range(46, 51)),
            conditioning="own",
        ),
    )
}


def protocol(name: str) -> Protocol:
    """A protocol by name. Raises InputError for an unknown one."""
    if name not in PROTOCOLS:
        raise InputError(f"no protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
